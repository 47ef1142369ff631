"""What the tests of calls over HTTP/1 share: a client that is closed, and servers that do what they are told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from quorate.transport.http1_client import HttpClient


@contextlib.asynccontextmanager
async def calls(**options: int) -> AsyncIterator[HttpClient]:
    client = HttpClient(connect_timeout=5, **options)
    try:
        async with asyncio.timeout(20):
            yield client
    finally:
        await client.close()


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def stub(answer: Answer) -> AsyncIterator[str]:
    """A server that does what it is told, byte by byte. Gives its URL."""

    serving: set[asyncio.Task[None]] = set()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await answer(reader, writer)
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve_one(reader, writer))
        serving.add(task)
        task.add_done_callback(lambda _: writer.transport.abort() if task.cancelled() else None)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def says(*answers: bytes) -> Answer:
    """Answers the requests of each connection with these, then hangs up."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for text in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(text)
            await writer.drain()

    return answer
