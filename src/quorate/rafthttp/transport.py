"""The door of the room: peers come and go, messages leave, requests of other members are answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, Protocol

from quorate.api.raftpb import Message, MessageType
from quorate.pkg.jsonlog import get_log
from quorate.rafthttp.handlers import Handlers
from quorate.rafthttp.host import Host, Identity
from quorate.rafthttp.limits import DIAL_TIMEOUT, PROBE_INTERVAL, REMOTES_LIMIT, SILENCE
from quorate.rafthttp.link import Counters, Link, Wiring
from quorate.rafthttp.messages import is_sound
from quorate.rafthttp.peer import Peer, Remote
from quorate.rafthttp.streams import Blocks
from quorate.transport.http1_client import HttpClient
from quorate.transport.web import HttpRequest, HttpResponse

log = get_log(__name__)

_T = MessageType
_SNAP = _T.SNAP
TRAVELLING = frozenset(
    {_T.PROP, _T.APP, _T.APP_RESP, _T.VOTE, _T.VOTE_RESP, _T.HEARTBEAT, _T.HEARTBEAT_RESP}
    | {_T.TRANSFER_LEADER, _T.TIMEOUT_NOW, _T.READ_INDEX, _T.READ_INDEX_RESP, _T.PRE_VOTE, _T.PRE_VOTE_RESP}
)
"""What members say to each other. A snapshot comes with its database or not at all; the rest is between a member and
itself, and never believed when it comes in."""
_TRAVELS = [kind in TRAVELLING for kind in MessageType]


class Dice(Protocol):
    """`random.Random` fits."""

    def uniform(self, a: float, b: float, /) -> float: ...


class Transport:
    """Everything between this member and the others; belongs to one event loop.

    `client` and whoever listens for `handle` are the caller's to close. `election_timeout` is in seconds, and so
    is how long a stream may bring nothing (`read_timeout`), or take nothing.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        identity: Identity,
        host: Host,
        client: HttpClient,
        *,
        election_timeout: float,
        rng: Dice,
        read_timeout: float = SILENCE,
        write_timeout: float = SILENCE,
    ) -> None:
        self._loop = loop
        self._rng = rng
        self._host = host
        self._identity = identity
        self._tasks: set[asyncio.Task[Any]] = set()
        self._peers: dict[int, Peer] = {}
        self._remotes: dict[int, Remote] = {}
        self._stopped = False
        self._is_removed = False
        patience = DIAL_TIMEOUT + election_timeout
        self._wiring = Wiring(
            loop,
            identity,
            host,
            client,
            self.receive,
            self._removed,
            self._spawn,
            patience,
            read_timeout,
            write_timeout,
        )
        self._handlers = Handlers(identity, host, self)

    # Life.

    def start(self) -> None:
        """Nothing to be done: peers are connected as they are added."""

    async def stop(self) -> None:
        """Hang up everywhere."""
        self._stopped = True
        for member_id in list(self._peers):
            self.remove_peer(member_id)
        for member_id in list(self._remotes):
            self._drop_remote(member_id)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # Who there is.

    def add_peer(self, member_id: int, urls: Sequence[str]) -> None:
        """Connect to a member of the cluster; one that is connected already is at these URLs now."""
        if member_id in self._peers:
            self.update_peer(member_id, urls)
            return
        if self._stopped or not urls:
            return
        assert member_id != self._identity.member_id, "a member has no wires to itself"
        self._drop_remote(member_id)
        link = Link(self._wiring, member_id, urls)
        self._peers[member_id] = Peer(link, self._rng.uniform(0, PROBE_INTERVAL))
        log.info("added remote peer", **self._names(member_id), remote_peer_urls=list(urls))

    def add_remote(self, member_id: int, urls: Sequence[str]) -> None:
        """Be able to answer a member that is no peer (yet): one that joins hears of the cluster before it is one."""
        if member_id in self._peers or member_id in self._remotes or member_id in (0, self._identity.member_id):
            return
        if self._stopped or not urls or len(self._remotes) >= REMOTES_LIMIT or self._host.is_removed(member_id):
            return
        self._remotes[member_id] = Remote(Link(self._wiring, member_id, urls))
        log.info("added new remote peer", **self._names(member_id), remote_peer_urls=list(urls))

    def update_peer(self, member_id: int, urls: Sequence[str]) -> None:
        """A peer has moved."""
        peer = self._peers.get(member_id)
        if peer is not None and urls and peer.link.urls != tuple(urls):
            peer.link.set_urls(urls)
            log.info("updated remote peer", **self._names(member_id), updated_remote_peer_urls=list(urls))

    def remove_peer(self, member_id: int) -> None:
        """Hang up on a member, for good."""
        peer = self._peers.pop(member_id, None)
        if peer is not None:
            peer.stop()
            log.info("removed remote peer", **self._names(member_id), removed_remote_peer_id=f"{member_id:x}")

    def has_peer(self, member_id: int) -> bool:
        return member_id in self._peers

    def peers(self) -> list[int]:
        """IDs of all peers."""
        return list(self._peers)

    def active_since(self, member_id: int) -> float | None:
        """`loop.time()` since which the link to a peer is up; None while it is not, or there is no such peer."""
        peer = self._peers.get(member_id)
        return None if peer is None else peer.link.active_since

    def counters(self, member_id: int) -> Counters | None:
        """What was counted on the wires to a peer."""
        peer = self._peers.get(member_id)
        return None if peer is None else peer.link.counters

    # Out.

    def send(self, messages: Sequence[Message]) -> None:
        """Send `messages`, each to the member it is for, now. Never blocks, never raises: what cannot be sent is lost,
        and reported to the host in a later turn. Those for members that are not known vanish. Snapshots leave by
        `send_snapshot`."""
        by_member: dict[int, list[Message]] = {}
        for message in messages:
            assert message.type != _SNAP, "a snapshot leaves with its database"
            if message.to in by_member:
                by_member[message.to].append(message)
            else:
                by_member[message.to] = [message]
        blocks: Blocks = {}
        for member_id, batch in by_member.items():
            target = self._peers.get(member_id) or self._remotes.get(member_id)
            if target is not None:
                target.send(batch, blocks)
            elif member_id:
                log.debug("ignored message send request; unknown remote peer target", **self._names(member_id))

    def send_snapshot(self, message: Message, chunks: AsyncIterator[bytes], size: int) -> None:
        """Send a MsgSnap with the database of `size` bytes that `chunks` gives; the host is told how that went."""
        peer = self._peers.get(message.to)
        if peer is not None:
            peer.send_snapshot(message, chunks, size)
            return
        log.warn("no such peer to send a database snapshot to", **self._names(message.to))
        self._loop.call_soon(self._host.report_snapshot, message.to, False)
        self._spawn(_close(chunks))

    # In.

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer a request under /raft. The listener must stream the bodies of /raft/snapshot."""
        return await self._handlers.handle(request)

    def peer(self, member_id: int) -> Peer | None:
        """The peer, for those in this room."""
        return self._peers.get(member_id)

    def receive(self, message: Message) -> None:
        """A message has come in; those that this member must not hear are left out."""
        if _TRAVELS[message.type] and self.rejects(message) is None:
            self._host.receive(message)

    def rejects(self, message: Message) -> str | None:
        """Why this member must not hear what `message` says, or None."""
        if self._host.is_removed(message.from_):
            log.warn("rejected Raft message from removed member", **self._names(message.from_))
            return "cannot process message from removed member"
        if message.to != self._identity.member_id:
            log.warn("rejected Raft message to mismatch member", mismatch_member_id=f"{message.to:x}")
            return "cannot process message to mismatch member"
        if not is_sound(message):
            log.warn("rejected Raft message that no member sends", type=message.type.text, **self._names(message.from_))
            return "cannot process message that no member sends"
        return None

    # What the wires need.

    def _removed(self) -> None:
        if not self._is_removed and not self._stopped:
            self._is_removed = True
            self._host.was_removed()

    def _drop_remote(self, member_id: int) -> None:
        remote = self._remotes.pop(member_id, None)
        if remote is not None:
            remote.stop()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler(
                {"message": "a wire to another member failed", "exception": error, "task": task}
            )

    def _names(self, member_id: int) -> dict[str, object]:
        return {"local_member_id": f"{self._identity.member_id:x}", "remote_peer_id": f"{member_id:x}"}


async def _close(chunks: AsyncIterator[bytes]) -> None:
    aclose = getattr(chunks, "aclose", None)
    if aclose is not None:
        await aclose()
