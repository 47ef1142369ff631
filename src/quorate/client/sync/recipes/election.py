"""The sync twin of quorate.client.recipes.election. Generated from it by tools/gen_sync.py: do not edit."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.api.pb import rpc_pb2 as pb
from quorate.client.ops import Key
from quorate.client.recipes import election as _source
from quorate.client.results import KeyValue
from quorate.client.sync.base import Twin
from quorate.client.sync.client import Client
from quorate.client.sync.session import Session


class Election(Twin[_source.Election]):
    """One leader at a time. The session is the candidate; it leads until it resigns, or the session ends."""

    def __init__(self, client: Client, session: Session, prefix: Key) -> None:
        self._stand_for(_source.Election(client._inner, session._inner, prefix), client._portal)

    @property
    def key(self) -> bytes:
        """The key that stands for this candidate."""
        return self._inner.key

    @property
    def token(self) -> int:
        """The create revision of the key, which grows from leader to leader; 0 for who does not lead."""
        return self._inner.token

    def is_leader(self) -> pb.Compare:
        """A condition of a transaction: this still leads. Never true of who does not."""
        return self._inner.is_leader()

    def campaign(self, value: Key, timeout: float | None = None) -> None:
        """Wait to be the leader, and say `value` then. A candidate who leads already says the new value at once.

        Raises DeadlineExceeded, SessionLost, EtcdError; whoever fails or is cancelled is no candidate any more."""
        self._portal.run(self._inner.campaign(value, timeout))

    def proclaim(self, value: Key, timeout: float | None = None) -> None:
        """Say something else. Raises ElectionNotLeader when this leads no more, EtcdError."""
        self._portal.run(self._inner.proclaim(value, timeout))

    def resign(self, timeout: float | None = None) -> None:
        """Let the next one lead; who does not lead has resigned already. Raises EtcdError."""
        self._portal.run(self._inner.resign(timeout))

    def leader(self, timeout: float | None = None) -> KeyValue | None:
        """The key of the leader, with what it says; None when nobody leads. Raises EtcdError."""
        return self._portal.run(self._inner.leader(timeout))

    def observe(self, timeout: float | None = None) -> Iterator[KeyValue]:
        """What the leader says now, or the next one to come, and all that leaders say from then on.

        The last word always comes; words of a leader who was followed by another meanwhile may not. With a `timeout`,
        DeadlineExceeded is raised when nobody says anything for so many seconds. Raises EtcdError."""
        return self._portal.iterate(self._inner.observe(timeout))
