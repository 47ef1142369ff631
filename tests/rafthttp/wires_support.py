"""Members that consist of their wires: a Transport, a listener for it, and a host that writes down what it is told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from quorate.api.raftpb import Entry, Message, MessageType
from quorate.rafthttp import Identity, Transport
from quorate.transport import mux
from quorate.transport.http1_client import HttpClient
from quorate.transport.tls import ClientTls, ServerTls

CLUSTER = 0xC1057E4
ELECTION_TIMEOUT = 1.0


class Tls(NamedTuple):
    """What both ends of a connection need to encrypt it."""

    server: ServerTls
    client: ClientTls


class Diary:
    """A Host."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.removed_ids: set[int] = set()
        self.unreachable: list[int] = []
        self.snapshots: list[tuple[int, bool]] = []
        self.told_removed = 0
        self.databases: list[tuple[Message, bytes]] = []
        self.disk_error: Exception | None = None
        self.on_message: Callable[[Message], None] | None = None

    def receive(self, message: Message) -> None:
        self.messages.append(message)
        if self.on_message is not None:
            self.on_message(message)

    def is_removed(self, member_id: int) -> bool:
        return member_id in self.removed_ids

    def report_unreachable(self, member_id: int) -> None:
        self.unreachable.append(member_id)

    def report_snapshot(self, member_id: int, ok: bool) -> None:
        self.snapshots.append((member_id, ok))

    def was_removed(self) -> None:
        self.told_removed += 1

    async def receive_snapshot(self, message: Message, chunks: AsyncIterator[bytes]) -> None:
        data = b"".join([chunk async for chunk in chunks])
        if self.disk_error is not None:
            raise self.disk_error
        self.databases.append((message, data))


class Wires:
    """One member. Its listener can be closed and opened again at the same port."""

    def __init__(
        self,
        member_id: int,
        *,
        cluster_id: int = CLUSTER,
        version: str = "3.7.0",
        tls: Tls | None = None,
        read_timeout: float = 5.0,
        write_timeout: float = 5.0,
    ) -> None:
        self.timeouts = {"read_timeout": read_timeout, "write_timeout": write_timeout}
        self.id = member_id
        self.host = Diary()
        self.tls = tls
        self.client = HttpClient(tls=tls.client if tls else None, connect_timeout=1.0)
        self.cluster_id = cluster_id
        self.version = version
        self.port = 0

    async def start(self) -> None:
        await self.listen()
        self.transport = Transport(
            asyncio.get_running_loop(),
            Identity(self.id, self.cluster_id, (self.url,), self.version),
            self.host,
            self.client,
            election_timeout=ELECTION_TIMEOUT,
            rng=random.Random(self.id),
            **self.timeouts,
        )
        self.transport.start()

    async def listen(self) -> None:
        self.listener = await mux.serve(
            ("127.0.0.1", self.port),
            None,
            lambda request: self.transport.handle(request),
            tls=self.tls.server if self.tls else None,
            streamed=frozenset({"/raft/snapshot"}),
        )
        self.port = self.listener.port

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def knows(self, *others: Wires) -> None:
        for other in others:
            self.transport.add_peer(other.id, [other.url])

    def is_up(self, *others: Wires) -> bool:
        return all(self.transport.active_since(other.id) is not None for other in others)

    async def stop(self) -> None:
        await self.transport.stop()
        self.listener.close()
        await self.client.close()


@asynccontextmanager
async def running(*members: Wires, acquainted: bool = True) -> AsyncIterator[None]:
    """All members started; with `acquainted` each one is a peer of each other, and both kinds of streams are up."""
    for member in members:
        await member.start()
    try:
        if acquainted:
            for member in members:
                member.knows(*(other for other in members if other is not member))
            await until(lambda: all(streams_up(a, b) for a in members for b in members if a is not b))
        yield
    finally:
        for member in members:
            await member.stop()


def streams_up(sender: Wires, receiver: Wires) -> bool:
    """Both streams from `sender` to `receiver` are there."""
    peer = sender.transport.peer(receiver.id)
    return peer is not None and peer._appends.working and peer._messages.working


async def until(condition: Callable[[], object], timeout: float = 10.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


def append(to: Wires, sender: Wires, index: int, entries: int = 1, *, term: int = 3, size: int = 50) -> Message:
    """An append of the leader `sender`, behind entry `index`."""
    batch = [Entry(term, index + 1 + n, bytes((n % 251,)) * size) for n in range(entries)]
    return Message(
        MessageType.APP, to=to.id, from_=sender.id, term=term, log_term=term, index=index, entries=batch, commit=index
    )


def response(to: Wires, sender: Wires, index: int) -> Message:
    return Message(MessageType.APP_RESP, to=to.id, from_=sender.id, term=3, index=index)
