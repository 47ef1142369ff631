"""What all wires to one member share: where it is, whether it answers, what was counted, who is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from quorate.api.raftpb import Message
from quorate.pkg.histogram import Histogram, doubling
from quorate.pkg.jsonlog import get_log
from quorate.rafthttp.errors import RemovedFromCluster
from quorate.rafthttp.host import Host, Identity
from quorate.rafthttp.limits import FULL_REPORT, SILENCE
from quorate.transport.http1_client import HttpClient

log = get_log(__name__)

SNAPSHOT_SECONDS = doubling(0.1, 10)
ROUND_TRIP_SECONDS = doubling(0.0001, 16)


@dataclass(slots=True)
class Counters:
    """What happened on the wires to one member since it became known."""

    sent_bytes: int = 0
    received_bytes: int = 0
    sent_failures: int = 0
    """Messages dropped because no wire took them, and requests that failed."""
    received_failures: int = 0
    """Streams that ended because of what came on them."""
    disconnects: int = 0
    snapshots_sent: int = 0
    snapshots_failed: int = 0
    """To be sent."""
    snapshots_leaving: int = 0
    """Under way now."""
    snapshot_send_seconds: Histogram = field(default_factory=lambda: Histogram(SNAPSHOT_SECONDS))
    """Of those that were sent."""
    snapshots_received: int = 0
    snapshots_not_received: int = 0
    snapshots_arriving: int = 0
    """Under way now."""
    snapshot_receive_seconds: Histogram = field(default_factory=lambda: Histogram(SNAPSHOT_SECONDS))
    """Of those that were received and kept."""
    round_trip: float = 0.0
    """Seconds of the last probe that was answered."""
    round_trips: Histogram = field(default_factory=lambda: Histogram(ROUND_TRIP_SECONDS))
    """Seconds of all of them."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the wires to all members share.

    `receive` takes the raft messages that come in; `removed` is told when a member says that this one is out of the
    cluster; `spawn` runs a task that ends with the wires; `patience` is how many seconds a member may take to answer a
    request for a stream, `read_timeout` and `write_timeout` how many a stream may bring or take nothing.
    """

    loop: asyncio.AbstractEventLoop
    identity: Identity
    host: Host
    client: HttpClient
    receive: Callable[[Message], None]
    removed: Callable[[], None]
    spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]
    patience: float
    read_timeout: float = SILENCE
    write_timeout: float = SILENCE


class Link:
    """The state of the way to member `peer_id`."""

    def __init__(self, wiring: Wiring, peer_id: int, urls: Sequence[str]) -> None:
        self.wiring = wiring
        self.peer_id = peer_id
        self.counters = Counters()
        self.active_since: float | None = None
        self._urls = tuple(urls)
        self._picked = 0
        self._lost = False
        self._closed = False
        self._full_count = 0
        """Messages that found no place and of which nobody was told."""
        self._full_told_at = float("-inf")

    # Where it is.

    @property
    def urls(self) -> tuple[str, ...]:
        return self._urls

    def set_urls(self, urls: Sequence[str]) -> None:
        self._urls = tuple(urls)
        self._picked = 0

    @property
    def url(self) -> str:
        """The URL to try now."""
        return self._urls[self._picked].rstrip("/")

    def failed(self, url: str) -> None:
        """`url` did not work: it is the next one's turn."""
        if url == self.url:
            self._picked = (self._picked + 1) % len(self._urls)

    # Whether it answers.

    def up(self) -> None:
        """Something has just worked."""
        if self.active_since is None and not self._closed:
            self.active_since = self.wiring.loop.time()
            log.info("peer became active", peer_id=f"{self.peer_id:x}")

    def down(self, action: str, source: str, error: object) -> None:
        """Something has failed."""
        text = f"failed to {action} {self.peer_id:x} on {source} ({error or type(error).__name__})"
        if self.active_since is not None:
            self.active_since = None
            self.counters.disconnects += 1
            log.warn("peer became inactive (message send to peer failed)", peer_id=f"{self.peer_id:x}", error=text)
        else:
            log.debug("peer deactivated again", peer_id=f"{self.peer_id:x}", error=text)

    # Who is told. Always in a turn of its own: raft may be in the middle of the one that sends.

    def dropped(self, messages: Sequence[Message]) -> None:
        """No wire has taken these."""
        self.counters.sent_failures += len(messages)
        self.lost()

    def full(self, messages: Sequence[Message], wire: str) -> None:
        """These found no place on `wire`. A member that is too slow loses many: there is one warning a while."""
        self.dropped(messages)
        self._full_count += len(messages)
        now = self.wiring.loop.time()
        if now - self._full_told_at < FULL_REPORT:
            return
        log.warn(
            "dropped internal Raft message since sending buffer is full (overloaded network)",
            message_type=messages[0].type.text,
            local_member_id=f"{self.wiring.identity.member_id:x}",
            remote_peer_id=f"{self.peer_id:x}",
            remote_peer_active=self.active_since is not None,
            wire=wire,
            messages=self._full_count,
        )
        self._full_count, self._full_told_at = 0, now

    def lost(self) -> None:
        """Something that was sent has probably not arrived."""
        if not self._lost and not self._closed:
            self._lost = True
            self.wiring.loop.call_soon(self._tell_lost)

    def refused(self, error: Exception) -> None:
        """A request was answered with no."""
        if isinstance(error, RemovedFromCluster) and not self._closed:
            self.wiring.removed()

    def close(self) -> None:
        """The member is not known any more: nothing that still comes of it matters."""
        self._closed = True
        self.active_since = None

    def _tell_lost(self) -> None:
        self._lost = False
        if not self._closed:
            self.wiring.host.report_unreachable(self.peer_id)
