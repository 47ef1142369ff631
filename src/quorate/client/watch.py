"""Watches that go on: over lost connections, members that die, members without a leader.

    opened at revision N ──► events of N, N+1, ... ──► broken ──► opened at the first revision not told ──► ...
                             progress: nothing up to M ──┘ counts as told

Each revision is told whole or not at all, once, in order. What was compacted before it could be told ends the watch
with `Compacted`, whose `revision` is the first that is left. Members are asked for progress now and then, so that a
watch of keys that never change does not fall behind what is compacted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Literal

from quorate.api import errors
from quorate.api.errors import Code
from quorate.api.pb import rpc_pb2 as pb
from quorate.client.errors import CallError, Closed, Compacted, DeadlineExceeded, EtcdError, error_of
from quorate.client.methods import WATCH
from quorate.client.ops import Key, key_range
from quorate.client.results import Event, to_event
from quorate.client.retry import OLD_TOKEN, TOKEN_ERRORS, Cause, cause_of
from quorate.client.twin import on_loop, translated
from quorate.client.wire import End, Wire
from quorate.transport.grpc import ClientStream, Status

PROGRESS_SECONDS = 60.0
"""Silence after which the member is asked how far it has told everything."""
FINAL = frozenset({Code.INVALID_ARGUMENT, Code.PERMISSION_DENIED, Code.UNIMPLEMENTED, Code.FAILED_PRECONDITION})
MAX_LOGINS = 3
_FILTERS = {"put": pb.WatchCreateRequest.NOPUT, "delete": pb.WatchCreateRequest.NODELETE}


class Watch:
    """`async with` opens it, so that all that happens from then on is told; `async for` gives events.

    One task may take from it at a time. `revision` is the last one that is told completely.
    """

    def __init__(
        self,
        wire: Wire,
        key: Key,
        range_end: Key | None = None,
        *,
        prefix: bool = False,
        start_revision: int = 0,
        prev_kv: bool = False,
        without: Iterable[Literal["put", "delete"]] = (),
        progress_seconds: float = PROGRESS_SECONDS,
    ) -> None:
        first, end = key_range(key, range_end, prefix)
        self._wire = wire
        self._request = pb.WatchCreateRequest(
            key=first,
            range_end=end,
            progress_notify=True,
            filters=[_FILTERS[kind] for kind in without],
            prev_kv=prev_kv,
            fragment=True,
        )
        self._next = start_revision
        self._resume = start_revision
        self._told = 0
        """The last revision of which there were events."""
        self._progress = 0
        """The revision of the last answer about progress."""
        self._progress_seconds = progress_seconds
        self._end: End | None = None
        self._stream: ClientStream | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ready: deque[Event] = deque()
        self._fragments: list[Event] = []
        self._over: EtcdError | None = None
        self._closed = False
        self._logins = 0

    @property
    def revision(self) -> int:
        """The last revision that was told, or of which there was nothing to tell; 0 before it is open."""
        return max(self._next - 1, 0)

    @property
    def resumes_at(self) -> int:
        """The revision with which it begins again when its stream breaks; at most `revision` + 1. An answer about
        progress counts only when the next has come: members before 3.5.8 give it ahead of events on their way."""
        return self._resume

    async def __aenter__(self) -> Watch:
        """Raises as `__anext__`, and DeadlineExceeded when no member confirms the watch in the client's `timeout`."""
        try:
            async with asyncio.timeout(self._wire.timeout):
                while self._stream is None and not self._closed:
                    if self._over is not None:
                        raise self._over
                    await self._open()
        except TimeoutError:
            await self.close()
            raise DeadlineExceeded() from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Watch:
        return self

    @translated
    async def __anext__(self) -> Event:
        """The next event, however long it takes. Raises Compacted, PermissionDenied and the like; ends when closed."""
        while (event := self._pop()) is None:
            if self._closed:
                raise StopAsyncIteration
            await self._advance()
        return event

    async def next(self, timeout: float | None = None) -> Event | None:
        """The next event; None when there is none in so many seconds, or the watch is closed. Raises as `__anext__`."""
        try:
            async with asyncio.timeout(timeout):
                return await self.__anext__()
        except (TimeoutError, StopAsyncIteration):
            return None

    async def batch(self) -> list[Event]:
        """All events that are here, of whole revisions, or none if only `revision` has moved; waits for either.

        Raises as `__anext__`, and Closed when the watch is closed.
        """
        before = self._next
        while not self._ready and self._next == before:
            if self._closed:
                raise Closed()
            await self._advance()
        events = list(self._ready)
        self._ready.clear()
        return events

    @on_loop
    def ask_progress(self) -> None:
        """Ask the member how far it has told everything, so that `revision` moves; it may have no stream just now."""
        if self._stream is not None:
            self._stream.send(pb.WatchRequest(progress_request=pb.WatchProgressRequest()).SerializeToString())

    async def close(self) -> None:
        """End it; who waits for an event is told that there are no more."""
        self._closed = True
        self._drop()

    # The stream.

    def _pop(self) -> Event | None:
        """The next event, if it is here."""
        return self._ready.popleft() if self._ready else None

    async def _advance(self) -> None:
        """Read one response, or open the stream anew."""
        if self._over is not None:
            raise self._over
        if self._wire.closed:
            raise Closed()
        if self._stream is None:
            await self._open()
            return
        try:
            message = await self._stream.receive()
        except Status as status:
            self._broken(status)
            return
        if message is None:
            self._broken(Status(Code.UNAVAILABLE, "the watch stream ended"))
            return
        self._take(pb.WatchResponse.FromString(message))

    async def _open(self) -> None:
        """Open the stream at a member and wait until it confirms; nothing happens if it does not."""
        await self._wire.rest()
        if self._closed:
            return
        end, stream = await self._wire.stream(WATCH)
        self._end = end
        self._request.start_revision = self._resume
        stream.send(pb.WatchRequest(create_request=self._request).SerializeToString())
        try:
            async with asyncio.timeout(self._wire.timeout):
                message = await stream.receive()
        except TimeoutError:
            stream.cancel()
            self._broken(Status(Code.UNAVAILABLE, "the watch is not confirmed"))
            return
        except Status as status:
            self._broken(status)
            return
        except BaseException:
            stream.cancel()
            raise
        if message is None:
            self._broken(Status(Code.UNAVAILABLE, "the watch stream ended"))
            return
        self._stream = stream
        if self._closed:
            self._drop()
            return
        self._wire.works(end)
        self._logins = 0
        self._take(pb.WatchResponse.FromString(message))
        self._arm()

    def _take(self, answer: Any) -> None:
        if answer.canceled:
            self._cancelled(answer)
        elif answer.created:
            self._next = self._next or answer.header.revision + 1
            self._resume = self._resume or self._next
        elif answer.events:
            self._fragments += map(to_event, answer.events)
            if not answer.fragment:
                # Not by `_next`: members before 3.5.8 tell of progress ahead of the events that it is the end of.
                self._ready.extend(event for event in self._fragments if event.revision > self._told)
                self._told = max(self._told, self._fragments[-1].revision)
                self._next = max(self._next, self._told + 1)
                self._resume = max(self._resume, self._told + 1)
                self._fragments.clear()
        else:
            self._next = max(self._next, answer.header.revision + 1)
            self._resume = max(self._resume, self._progress + 1)
            self._progress = answer.header.revision

    def _cancelled(self, answer: Any) -> None:
        """The member has ended the watch."""
        self._drop()
        reason = str(answer.cancel_reason)
        if answer.compact_revision:
            self._over = Compacted()
            self._over.revision = answer.compact_revision
        elif any(reason.endswith(text) for text in (*TOKEN_ERRORS, *OLD_TOKEN)) and self._logins < MAX_LOGINS:
            self._logins += 1
            if self._end is not None:
                self._wire.failed(self._end, Cause.TOKEN)
        elif reason.endswith(errors.NoLeader.text):
            if self._end is not None:
                self._wire.failed(self._end, Cause.UNKNOWN_OUTCOME)
        elif reason.endswith(errors.PermissionDenied.text):
            self._over = errors.PermissionDenied()
        else:
            self._over = CallError(Code.UNKNOWN, f"the member ended the watch: {reason or 'it does not say why'}")

    def _broken(self, status: Status) -> None:
        """The stream has failed: go on elsewhere, unless that would fail alike."""
        self._drop()
        if self._closed:
            return
        if self._end is not None:
            cause = cause_of(status)
            self._wire.failed(self._end, cause if cause is Cause.TOKEN else Cause.UNKNOWN_OUTCOME)
            if cause is Cause.TOKEN:
                self._logins += 1
                if self._logins > MAX_LOGINS:
                    self._over = error_of(status)
                return
        if status.code in FINAL and status.message not in (errors.NoLeader.text, errors.NotSupportedForLearner.text):
            self._over = error_of(status)

    def _drop(self) -> None:
        self._fragments.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._stream is not None:
            self._stream.cancel()
            self._stream = None

    def _arm(self) -> None:
        """Ask for progress again and again: a watch that is told nothing would not know what it need not ask for."""
        if self._stream is None:
            return
        if self._timer is not None:
            self.ask_progress()
        self._timer = self._wire.loop.call_later(self._progress_seconds, self._arm)
