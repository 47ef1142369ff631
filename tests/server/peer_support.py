"""Other members for a server under test: as many as it believes in, with what they answer over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from quorate.server import Server
from quorate.storage import schema
from quorate.testing.process import free_port
from quorate.transport.mux import serve
from quorate.transport.web import HttpRequest, HttpResponse

Answers = Callable[[HttpRequest], Awaitable[HttpResponse]]


@asynccontextmanager
async def listening(answer: Answers) -> AsyncIterator[str]:
    """The peer URL of a member that answers so."""
    port = free_port()
    listener = await serve(("127.0.0.1", port), None, answer)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        listener.close()


def add_member(server: Server, member_id: int, *urls: str) -> None:
    """Let `server` know another member; raft does not hear of it."""
    schema.put_member(server.backend, schema.MemberRecord(member_id, urls))
    server.cluster.reload(server.backend)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)
