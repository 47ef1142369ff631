"""A member to stand behind a proxy, what it has been asked for, and the proxy."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from quorate.api.pb import rpc_pb2 as pb
from quorate.client import Client
from quorate.client.methods import WATCH
from quorate.embed import Etcd
from quorate.proxy.config import ProxyConfig
from quorate.proxy.proxy import GrpcProxy
from quorate.testing.process import MemberProcess, real_binary
from quorate.transport.grpc import Channel, ClientStream

PATIENCE = 20.0
BACKENDS = ("quorate", "etcd")


@dataclass
class Backend:
    """One member, of Quorate in this process or of real etcd, with empty data."""

    endpoint: str
    etcd: Etcd | None = None

    async def watchers(self) -> int:
        """Watches that are open at the member."""
        if self.etcd is not None:
            assert self.etcd.server is not None
            return int(self.etcd.server.store.watcher_count)
        return int(await self.number("etcd_debugging_mvcc_watcher_total"))

    async def messages(self, method: str) -> int:
        """Messages that a method was sent."""
        return int(await self.number("grpc_server_msg_received_total", f'grpc_method="{method}"'))

    async def number(self, name: str, label: str = "") -> float:
        """The sum of the lines of /metrics with that name and label."""
        text = await asyncio.to_thread(lambda: urlopen(f"http://{self.endpoint}/metrics").read().decode())
        lines = [line for line in text.splitlines() if re.match(rf"{name}(\{{| )", line) and label in line]
        return sum(float(line.rpartition(" ")[2]) for line in lines)


@asynccontextmanager
async def serving(kind: str, folder: Path, *flags: str, **settings: Any) -> AsyncIterator[Backend]:
    """`flags` are for real etcd, `settings` the same for Quorate."""
    if kind == "quorate":
        async with Etcd(in_memory=True, bcrypt_cost=4, **settings) as etcd:
            yield Backend(etcd.endpoints[0], etcd)
        return
    binary = real_binary("etcd")
    if binary is None:
        pytest.skip("no real etcd here")
    member = MemberProcess(folder / "data", command=(str(binary),), flags=["--bcrypt-cost=4", *flags])
    await asyncio.to_thread(member.start)
    try:
        yield Backend(member.endpoint)
    finally:
        await asyncio.to_thread(member.kill)


@asynccontextmanager
async def proxied(*endpoints: str, port: int = 0, **settings: Any) -> AsyncIterator[GrpcProxy]:
    proxy = GrpcProxy(ProxyConfig(endpoints=list(endpoints), listen_addr=f"127.0.0.1:{port}", **settings))
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()


def at(proxy: GrpcProxy) -> str:
    return f"127.0.0.1:{proxy.port}"


@asynccontextmanager
async def client_of(proxy: GrpcProxy, **settings: Any) -> AsyncIterator[Client]:
    async with Client(at(proxy), **settings) as client:
        yield client


async def until(holds: Callable[[], Any]) -> None:
    """Wait until `holds`, a function or a coroutine function, says something true."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = holds()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert time.monotonic() < deadline, "it does not come to hold"
        await asyncio.sleep(0.01)


class RawWatch:
    """A watch stream, message by message."""

    def __init__(self, channel: Channel, **metadata: str) -> None:
        self.stream: ClientStream = channel.stream(WATCH, metadata=tuple(metadata.items()))

    def create(self, key: bytes, range_end: bytes = b"", **fields: Any) -> None:
        request = pb.WatchCreateRequest(key=key, range_end=range_end, **fields)
        self.stream.send(pb.WatchRequest(create_request=request).SerializeToString())

    def cancel(self, watch_id: int) -> None:
        request = pb.WatchCancelRequest(watch_id=watch_id)
        self.stream.send(pb.WatchRequest(cancel_request=request).SerializeToString())

    def ask_progress(self) -> None:
        self.stream.send(pb.WatchRequest(progress_request=pb.WatchProgressRequest()).SerializeToString())

    async def take(self) -> pb.WatchResponse:
        async with asyncio.timeout(PATIENCE):
            message = await self.stream.receive()
        assert message is not None
        return pb.WatchResponse.FromString(message)

    async def created(self, key: bytes, range_end: bytes = b"", **fields: Any) -> pb.WatchResponse:
        self.create(key, range_end, **fields)
        answer = await self.take()
        assert answer.created
        return answer

    async def values(self, count: int) -> list[bytes]:
        """The values of so many events."""
        found: list[bytes] = []
        while len(found) < count:
            found += [event.kv.value for event in (await self.take()).events]
        return found


async def turn_auth_on(client: Client) -> None:
    """User root with password r, and user u with password u, who may do nothing."""
    auth = client.auth
    await auth.user_add("root", "r")
    await auth.role_add("root")
    await auth.user_grant_role("root", "root")
    await auth.user_add("u", "u")
    await auth.role_add("some")
    await auth.user_grant_role("u", "some")
    await auth.enable()
