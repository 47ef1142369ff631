"""Requests to the gateway of a member in this process, byte by byte where it matters."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

from quorate.embed import Etcd

PATIENCE = 10.0


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


class Answer:
    """An HTTP/1 answer whose body may still come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}

    async def read_head(self) -> None:
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    async def whole(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            if "content-length" in self.headers:
                return await self.reader.readexactly(int(self.headers["content-length"]))
            chunks = []
            while chunk := await self.chunk():
                chunks.append(chunk)
            return b"".join(chunks)

    async def chunk(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            return (await self.reader.readexactly(size + 2))[:size]

    async def line(self) -> Any:
        """The next line of a stream, without its `header`."""
        found = json.loads(await self.chunk())
        found.get("result", {}).pop("header", None)
        return found

    def hang_up(self) -> None:
        self.writer.transport.abort()


class Web:
    """A member and connections to it."""

    def __init__(self, member: Etcd, port: int) -> None:
        self.member = member
        self.port = port
        self._open: list[Answer] = []

    @property
    def store(self) -> Any:
        assert self.member.server is not None
        return self.member.server.store

    async def connect(self) -> Answer:
        answer = Answer(*await asyncio.open_connection("127.0.0.1", self.port))
        self._open.append(answer)
        return answer

    async def send(self, path: str, body: bytes | None, headers: tuple[str, ...] = (), method: str = "POST") -> Answer:
        """A request on a connection of its own; its answer is not awaited. Without a body it is to come in chunks."""
        answer = await self.connect()
        length = "Transfer-Encoding: chunked" if body is None else f"Content-Length: {len(body)}"
        head = "\r\n".join((f"{method} {path} HTTP/1.1", "Host: h", length, *headers, "", ""))
        answer.writer.write(head.encode() + (body or b""))
        return answer

    async def open(self, path: str, *messages: Any, headers: tuple[str, ...] = ()) -> Answer:
        """A request, and its answer when its head has come."""
        body = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in messages)
        answer = await self.send(path, body.encode(), headers)
        await answer.read_head()
        return answer

    async def ask(self, path: str, *messages: Any, headers: tuple[str, ...] = ()) -> tuple[int, Any]:
        """Status and JSON of a unary call."""
        answer = await self.open(path, *messages, headers=headers)
        return answer.status, json.loads(await answer.whole())

    def close(self) -> None:
        for answer in self._open:
            answer.hang_up()


async def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
    """Wait for `condition`, looking again and again."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
