"""What the wires must be told about their own member, and what they ask of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from quorate.api.raftpb import Message


@dataclass(frozen=True, slots=True)
class Identity:
    """This member as it shows itself to the others."""

    member_id: int
    cluster_id: int
    peer_urls: tuple[str, ...]
    server_version: str
    min_cluster_version: str = "3.0.0"
    """The oldest release whose members this one talks to."""


class Host(Protocol):
    """The member behind the wires. All calls are made on its event loop."""

    def receive(self, message: Message) -> None:
        """A raft message for this member came in. Never blocks."""

    def is_removed(self, member_id: int) -> bool:
        """True for members that have been removed from the cluster."""

    def report_unreachable(self, member_id: int) -> None:
        """A message to that member was lost."""

    def report_snapshot(self, member_id: int, ok: bool) -> None:
        """A snapshot for that member has been taken by it, or not. Each one that was sent is reported once."""

    def was_removed(self) -> None:
        """The others say that this member is out of the cluster."""

    async def receive_snapshot(self, message: Message, chunks: AsyncIterator[bytes]) -> None:
        """Store the database in `chunks`, then give `message` to raft; any error means that it is not stored."""
