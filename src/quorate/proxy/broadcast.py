"""One watch at a member, told to any number of watchers of the same range.

    told          every event up to here was told to its watchers
    next          of a watcher: the first revision that it is to be told of; what is before is left out

Where an upstream watch breaks it is opened again, at whatever member works, at the smallest `next` of its watchers.
Since each leaves out what is before its own, nothing is told twice; since none is ahead of what it was told, nothing is
lost. Events come in whole revisions: their fragments are put together first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from quorate.api import encode, errors
from quorate.api.pb import rpc_pb2 as pb
from quorate.client.methods import WATCH
from quorate.client.retry import OLD_TOKEN, TOKEN_ERRORS, Cause, cause_of
from quorate.client.wire import End
from quorate.pkg.jsonlog import get_log
from quorate.proxy.upstream import Pairs, Upstream
from quorate.transport.grpc import ClientStream, Status

log = get_log(__name__)

STREAM_ID = -1
OPEN_SECONDS = 5.0
"""For which a member may keep silent about a watch that it is asked for."""
PROGRESS_SECONDS = 60.0
"""Between two questions how far everything is told, so that a quiet range does not fall behind compaction."""
_ASK_PROGRESS = pb.WatchRequest(progress_request=pb.WatchProgressRequest()).SerializeToString()

Event = Any
Span = tuple[bytes, bytes, bool]
"""Key and end of a range, as members have it, and whether the key-values before are told, too."""


class Watcher(Protocol):
    """Who is told. Each method but `tell` is told at most once."""

    next: int
    who: Pairs
    started: bool
    """Whether its caller knows that it is there."""

    def start(self, broadcast: Broadcast) -> None:
        """It is served from now on, by this one."""

    def tell(self, batch: Batch) -> bool:
        """Take events of revision `next` and later. False if its caller does not read: it must be left alone."""

    def progress(self, header: bytes, revision: int) -> None:
        """There is nothing to tell up to this revision."""

    def end(self, answer: Any) -> None:
        """The member has ended the watch, for the reason in this answer."""

    def leaderless(self) -> None:
        """No member has a leader."""


class Batch:
    """Events of whole revisions, and their bytes, made once for all that are told."""

    __slots__ = ("_bytes", "events", "first", "header", "last")

    def __init__(self, events: Sequence[Event], header: bytes) -> None:
        self.events = events
        self.first = int(events[0].kv.mod_revision)
        self.last = int(events[-1].kv.mod_revision)
        self.header = header
        self._bytes: list[bytes] | None = None

    def encoded(self) -> list[bytes]:
        """One for each event."""
        if self._bytes is None:
            self._bytes = [event.SerializeToString() for event in self.events]
        return self._bytes


class Owner(Protocol):
    """Who has broadcasts."""

    upstream: Upstream

    def incoming(self, events: Sequence[Event]) -> None:
        """Look at events first, and change them to what callers see."""

    def moved(self, broadcast: Broadcast) -> None:
        """`told` has grown."""

    def over(self, broadcast: Broadcast) -> None:
        """It tells nobody any more."""

    def heard(self, header: Any) -> None:
        """A header came from a member."""


class Broadcast:
    """See the module. It is opened for `first`, with its credentials, and closes when nobody is left."""

    def __init__(self, owner: Owner, span: Span, first: Watcher) -> None:
        self.span = span
        self.watchers: dict[Watcher, None] = {first: None}
        self.told = 0
        self.created_at = 0
        """The store's revision when it was opened; 0 before."""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when it is, or is over."""
        self.closed = False
        self._owner = owner
        self._upstream = owner.upstream
        key, end, prev_kv = span
        self._request = pb.WatchCreateRequest(
            key=key, range_end=end, prev_kv=prev_kv, progress_notify=True, fragment=True
        )
        self._header = encode.HeaderEncoder(0, 0)
        self._term = 0
        self._pieces: list[Event] = []
        self._asked: list[asyncio.Future[int]] = []
        self._last_answer = 0
        """The revision of the last answer about progress. It counts when the next has come: members before 3.5.8 give
        it ahead of events on their way."""
        self._leaderless = 0
        self._stream: ClientStream | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def live(self) -> bool:
        """Whether it has told all that there was when it was opened."""
        return bool(self.created_at) and self.told >= self.created_at

    def join(self, watcher: Watcher) -> None:
        """Tell this one, too; its `next` is after `told`."""
        self.watchers[watcher] = None
        watcher.start(self)

    def leave(self, watcher: Watcher) -> None:
        self.watchers.pop(watcher, None)
        if not self.watchers:
            self.close()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        for future in self._asked:
            future.cancel()
        if not self.opened.done():
            self.opened.set_result(None)
        self._task.cancel()
        self._owner.over(self)

    def ask_progress(self) -> asyncio.Future[int]:
        """The revision up to which everything is told, once the member says so; cancelled when it is over."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._asked.append(future)
        if self._stream is not None and self.opened.done():
            self._stream.send(_ASK_PROGRESS)
        return future

    def header(self, revision: int) -> bytes:
        """A header of the member, of any revision."""
        return self._header.encode(revision, self._term)

    # The task.

    async def _run(self) -> None:
        while self.watchers:
            await self._upstream.wire.rest()
            first = next(iter(self.watchers))
            end, stream = self._upstream.open_led(WATCH, first.who)
            self._stream = stream
            try:
                await self._serve(end, stream, first)
            except Status as status:
                self._broken(end, status)
            except Exception as error:  # ours: nobody shall wait for what does not come
                log.error("a watch failed", error=repr(error))
                self._dismiss(list(self.watchers), pb.WatchResponse(canceled=True, cancel_reason=repr(error)))
            finally:
                self._stream = None
                self._pieces.clear()
                stream.cancel()
        self.close()

    async def _serve(self, end: End, stream: ClientStream, first: Watcher) -> None:
        """Tell what comes on a stream until it ends. Raises Status."""
        self._request.start_revision = min(watcher.next for watcher in self.watchers)
        stream.send(pb.WatchRequest(create_request=self._request).SerializeToString())
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                message = await stream.receive()
        except TimeoutError:
            raise Status(errors.Code.UNAVAILABLE, "the watch is not confirmed") from None
        if message is None:
            raise _cut_off()
        answer = pb.WatchResponse.FromString(message)
        if answer.canceled:
            self._refused(answer, first)
            return
        self._upstream.wire.works(end)
        self._created(answer)
        while (message := await stream.receive()) is not None:
            answer = pb.WatchResponse.FromString(message)
            if answer.canceled:
                self._ended(answer)
                return
            self._take(answer)
        raise _cut_off()

    def _created(self, answer: Any) -> None:
        header = answer.header
        self._header = encode.HeaderEncoder(header.cluster_id, header.member_id)
        self._term = header.raft_term
        self._owner.heard(header)
        self._leaderless = self._last_answer = 0
        start = self._request.start_revision
        if not self.opened.done():
            self.created_at = header.revision
            self.told = start - 1 if start else header.revision
            for watcher in list(self.watchers):
                watcher.next = max(watcher.next, self.told + 1)
                watcher.start(self)
            self.opened.set_result(None)
        if self._asked and self._stream is not None:
            self._stream.send(_ASK_PROGRESS)
        self._arm()
        self._owner.moved(self)

    def _take(self, answer: Any) -> None:
        if answer.events:
            self._pieces += answer.events
            if not answer.fragment:
                events, self._pieces = self._pieces, []
                self._tell(events, answer.header.revision)
        elif answer.watch_id == STREAM_ID:
            self._answered(answer.header.revision)
        else:
            self._idle(answer.header.revision)

    def _idle(self, revision: int) -> None:
        """There was nothing to tell up to a revision; a member that lags behind may say that of an old one."""
        if revision < self.told:
            return
        self._reached(revision)
        header = self.header(revision)
        for watcher in list(self.watchers):
            watcher.progress(header, revision)
        self._owner.moved(self)

    def _reached(self, revision: int) -> None:
        self.told = max(self.told, revision)
        for watcher in self.watchers:
            watcher.next = max(watcher.next, self.told + 1)

    def _tell(self, events: list[Event], revision: int) -> None:
        self._owner.incoming(events)
        batch = Batch(events, self.header(revision))
        for watcher in list(self.watchers):
            if watcher.next <= batch.last and not watcher.tell(batch):
                self.watchers.pop(watcher, None)
        self.told = max(self.told, batch.last)
        if not self.watchers:
            self.close()
            return
        self._owner.moved(self)

    def _answered(self, revision: int) -> None:
        self._reached(self._last_answer)
        self._last_answer = revision
        asked, self._asked = self._asked, []
        for future in asked:
            if not future.done():
                future.set_result(revision)
        self._owner.moved(self)

    # What goes wrong.

    def _refused(self, answer: Any, first: Watcher) -> None:
        """A member does not open the watch."""
        reason = str(answer.cancel_reason)
        personal = any(reason.endswith(text) for text in (errors.PermissionDenied.text, *TOKEN_ERRORS, *OLD_TOKEN))
        if not personal:
            self._ended(answer)
        elif first in self.watchers:
            self._dismiss([first], answer)  # the next one may be let in

    def _ended(self, answer: Any) -> None:
        """A member ends the watch: compacted, or it knows why."""
        if str(answer.cancel_reason).endswith(errors.NoLeader.text):
            raise Status(errors.NoLeader.code, errors.NoLeader.text)
        compacted = answer.compact_revision
        late = [watcher for watcher in self.watchers if watcher.next < compacted]
        self._dismiss(late or list(self.watchers), answer)  # the others go on

    def _dismiss(self, watchers: Sequence[Watcher], answer: Any) -> None:
        for watcher in watchers:
            self.watchers.pop(watcher, None)
            watcher.end(answer)

    def _broken(self, end: End, status: Status) -> None:
        cause = cause_of(status)
        if status.message == errors.NoLeader.text:
            self._leaderless += 1
            if self._leaderless >= len(self._upstream.wire.endpoints):
                for watcher in list(self.watchers):
                    watcher.leaderless()
        elif cause is Cause.TOKEN or status.code in _FINAL:
            reason = f"rpc error: code = {_GO_NAMES.get(status.code, 'Unknown')} desc = {status.message}"
            self._dismiss(list(self.watchers)[:1], pb.WatchResponse(canceled=True, cancel_reason=reason))
            return
        self._upstream.failed(end, Cause.UNKNOWN_OUTCOME)

    def _arm(self) -> None:
        """Ask for progress now and then."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(PROGRESS_SECONDS, self._ask_again)

    def _ask_again(self) -> None:
        if self._stream is not None:
            self._stream.send(_ASK_PROGRESS)
        self._arm()


def _cut_off() -> Status:
    return Status(errors.Code.UNAVAILABLE, "the watch stream ended")


_FINAL = frozenset({errors.Code.INVALID_ARGUMENT, errors.Code.PERMISSION_DENIED, errors.Code.UNIMPLEMENTED})
_GO_NAMES = {
    errors.Code.INVALID_ARGUMENT: "InvalidArgument",
    errors.Code.PERMISSION_DENIED: "PermissionDenied",
    errors.Code.UNAUTHENTICATED: "Unauthenticated",
    errors.Code.UNIMPLEMENTED: "Unimplemented",
}
