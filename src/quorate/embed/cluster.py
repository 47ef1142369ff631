"""Several members in one process, on one event loop, with free ports on 127.0.0.1 that stay theirs over restarts."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, overload

from quorate.embed.errors import ConfigError
from quorate.embed.member import MEMORY_SEGMENT_BYTES, Etcd
from quorate.embed.memory_dir import MemoryDirectory
from quorate.server.world import World

LINK_POLL = 0.002
"""Seconds between two looks at the links of members that start."""


class Cluster(Sequence[Etcd]):
    """A new cluster of `size` members m0, m1, ..., each with its directory in `data_dir`, or in memory until `stop`.

        async with Cluster(3, in_memory=True) as members: ...

    `config_fields` are fields of `Config` and go to every member. Each is an `Etcd`, and can be stopped or aborted and
    started again on its data while the others go on. Raises ConfigError, OSError.
    """

    def __init__(
        self, size: int, *, data_dir: str | Path | None = None, in_memory: bool = False, **config_fields: Any
    ) -> None:
        if (data_dir is None) is not in_memory:
            raise ConfigError("a cluster needs either data_dir=... or in_memory=True")
        self._memory = MemoryDirectory() if in_memory else None
        self._held: list[socket.socket] = []
        directory = Path(data_dir) if self._memory is None else self._memory.path  # type: ignore[arg-type]
        peers = [f"http://127.0.0.1:{self._port()}" for _ in range(size)]
        clients = [f"http://127.0.0.1:{self._port()}" for _ in range(size)]
        initial = ",".join(f"m{number}={url}" for number, url in enumerate(peers))
        if in_memory:
            config_fields = {"unsafe_no_fsync": True, **config_fields}
        self._members = [
            Etcd(
                data_dir=directory / f"m{number}",
                name=f"m{number}",
                listen_peer_urls=[peer],
                listen_client_urls=[client],
                initial_cluster=initial,
                **config_fields,
            )
            for number, (peer, client) in enumerate(zip(peers, clients, strict=True))
        ]
        if in_memory:
            for member in self._members:
                member.world = World(segment_bytes=MEMORY_SEGMENT_BYTES)

    def __len__(self) -> int:
        return len(self._members)

    @overload
    def __getitem__(self, place: int) -> Etcd: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Etcd]: ...

    def __getitem__(self, place: int | slice) -> Etcd | Sequence[Etcd]:
        return self._members[place]

    async def __aenter__(self) -> Cluster:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def client_urls(self) -> list[str]:
        return [url for member in self for url in member.client_urls]

    @property
    def endpoints(self) -> list[str]:
        return [endpoint for member in self for endpoint in member.endpoints]

    @property
    def leader(self) -> Etcd | None:
        """The member that leads as far as it knows itself, None while there is none."""
        return next((member for member in self if member.server is not None and member.server.is_leader), None)

    async def start(self) -> None:
        """Start every member that does not run; return once all serve clients. Stops everything when one cannot."""
        sleeping = [member for member in self if not member.is_running]
        calls = [member.start() for member in sleeping]
        if len(sleeping) == len(self) > 1:
            calls.append(self._elect())
        try:
            await _all(calls)
        except BaseException:
            await self.stop()
            raise

    async def _elect(self) -> None:
        """Have the first member stand for election as soon as it reaches enough others: nobody leads yet, so there is
        nothing to be learned from the silence that would have to pass otherwise."""
        quorum = len(self) // 2 + 1
        while (server := self[0].server) is None or len(server.connected_members(0.0)) < quorum:  # noqa: ASYNC110
            await asyncio.sleep(LINK_POLL)
        if not server.leader_id:
            server.campaign()

    async def stop(self) -> None:
        """Stop every member, for good; free the ports and what is in memory."""
        try:
            await _all([member.stop(transfer=False) for member in self])
        finally:
            for held in self._held:
                held.close()
            if self._memory is not None:
                self._memory.remove()

    def _port(self) -> int:
        """A free port. It stays bound, and is never listened at, as long as the cluster lives: so nobody else gets it
        while its member is away. But only Linux lets the member bind it a second time."""
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        if sys.platform == "linux":
            self._held.append(held)
        else:
            held.close()
        return port


async def _all(calls: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Await all of them. The first that fails cancels the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(call)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
