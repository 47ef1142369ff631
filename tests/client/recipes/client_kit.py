"""What tests of the client share: the keys that are there, and stock etcdctl as a neighbour."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from quorate.client import Client

PATIENCE = 20.0
"""Seconds until a test gives up on what must happen soon."""
SHORT = 0.2
"""Seconds in which nothing must happen."""


async def keys(client: Client, prefix: bytes) -> list[bytes]:
    """All under a prefix, in the order in which they were made."""
    return [kv.key for kv in await client.get(prefix, prefix=True, sort="create")]


async def queued(client: Client, prefix: bytes, count: int) -> None:
    """Wait until so many keys are there."""
    async with asyncio.timeout(PATIENCE):
        while len(seen := await client.get(prefix, prefix=True, keys_only=True)) != count:
            async with client.watch(prefix, prefix=True, start_revision=seen.header.revision + 1) as watch:
                await watch.next()


class Ctl:
    """A running etcdctl."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> bytes:
        """The next line it prints."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            return (await self._process.stdout.readline()).rstrip(b"\n")

    async def stop(self) -> None:
        """As a Ctrl-C does: it lets go of what it holds."""
        if self._process.returncode is None:
            self._process.terminate()
        async with asyncio.timeout(PATIENCE):
            await self._process.wait()


Etcdctl = Callable[..., AbstractAsyncContextManager[Ctl]]
