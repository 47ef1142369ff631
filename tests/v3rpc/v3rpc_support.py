"""Calls by name, with messages in and out, for the tests of this room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from quorate.api import errors
from quorate.api.pb import rpc_pb2
from quorate.embed import Etcd
from quorate.server import Server
from quorate.transport.grpc import Channel, Status

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
