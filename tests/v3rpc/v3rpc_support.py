"""Calls by name, with messages in and out, for the tests of this room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from quorate.api import errors
from quorate.api.pb import election_pb2, lock_pb2, rpc_pb2
from quorate.embed import Etcd
from quorate.server import Server
from quorate.transport.grpc import Channel, ClientStream, Status

TIMEOUT = 10.0


@dataclass
class Caller:
    """A running member and a channel to it."""

    member: Etcd
    channel: Channel
    peer_port: int

    @property
    def server(self) -> Server:
        assert self.member.server is not None
        return self.member.server

    async def call(self, path: str, metadata: tuple[tuple[str, str], ...] = (), **fields: Any) -> Any:
        """`call("Cluster/MemberAdd", peerURLs=[...])`: the reply. Raises Status."""
        name = path.rpartition("/")[2]
        request = getattr(rpc_pb2, f"{name}Request")(**fields)
        body = await self.channel.unary(
            f"/etcdserverpb.{path}", request.SerializeToString(), timeout=TIMEOUT, metadata=metadata
        )
        return getattr(rpc_pb2, f"{name}Response").FromString(body)

    async def lock(self, name: bytes, lease: int = 0, timeout: float = TIMEOUT) -> Any:
        """Raises Status."""
        return await self._ask(lock_pb2, "Lock", "Lock", timeout, name=name, lease=lease)

    async def unlock(self, key: bytes) -> Any:
        return await self._ask(lock_pb2, "Lock", "Unlock", key=key)

    async def election(self, call: str, /, **fields: Any) -> Any:
        """`election("Campaign", name=b"n", lease=1, value=b"v")`: the reply. Raises Status."""
        return await self._ask(election_pb2, "Election", call, **fields)

    def observe(self, name: bytes) -> ClientStream:
        stream = self.channel.stream("/v3electionpb.Election/Observe")
        stream.send(election_pb2.LeaderRequest(name=name).SerializeToString())
        stream.half_close()
        return stream

    async def _ask(self, package: Any, service: str, call: str, timeout: float = TIMEOUT, /, **fields: Any) -> Any:
        request = getattr(package, f"{call}Request")(**fields)
        path = f"/v3{service.lower()}pb.{service}/{call}"
        body = await self.channel.unary(path, request.SerializeToString(), timeout=timeout)
        return getattr(package, f"{call}Response").FromString(body)

    async def grant(self, *leases: int, ttl: int = 60) -> None:
        for lease in leases:
            await self.call("Lease/LeaseGrant", ID=lease, TTL=ttl)

    async def refused(self, error: type[errors.EtcdError], path: str, **fields: Any) -> None:
        """The call must end with `error`, code and text."""
        with pytest.raises(Status) as caught:
            await self.call(path, **fields)
        assert (caught.value.code, caught.value.message) == (error.code, error.text)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for `condition`, looking again and again."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
