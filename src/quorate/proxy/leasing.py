"""Keys that this proxy owns: one session after another, as long as the proxy lives."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from quorate.client import Client
from quorate.client.errors import EtcdError
from quorate.client.raw import wire_of
from quorate.client.recipes import Leasing
from quorate.client.session import Session
from quorate.client.wire import Wire
from quorate.pkg.jsonlog import get_log

log = get_log(__name__)

TTL = 60
RETRY_SECONDS = 1.0


class OwnedKeys:
    """`wire` is what calls go through. While no session is open it owns nothing, and still asks who owns what is to
    be written."""

    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._stack = AsyncExitStack()
        self._task: asyncio.Task[None] | None = None
        self.wire: Wire

    async def open(self) -> None:
        """Raises EtcdError."""
        session = await self._renew()
        self._task = asyncio.get_running_loop().create_task(self._follow(session))

    async def close(self) -> None:
        """Let go of what is owned."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._stack.aclose()

    async def _renew(self) -> Session:
        """A session, and a wire that owns with it, in place of the last ones."""
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(self._client.session(TTL))
            leasing = await stack.enter_async_context(Leasing(self._client, session, self._prefix))
            self.wire = wire_of(leasing)
            last, self._stack = self._stack, stack.pop_all()
        await last.aclose()
        return session

    async def _follow(self, session: Session) -> None:
        while True:
            await session.lost.wait()
            log.warn("lost the session that owns keys", lease=f"{session.lease:x}", error=str(session.lost.error))
            while True:
                try:
                    session = await self._renew()
                    break
                except EtcdError as error:
                    log.warn("cannot own keys", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
