"""Service Watch: one stream carries any number of watchers.

    WatchRequest ──► WatchCall ──► mvcc.WatchStream
    WatchResponse ◄── WatchCall.deliver ◄── notify

The store calls `deliver` in the same turn in which a write is applied. A stream whose client does not read says no
there; the store parks what it had for it and tries again, so that a slow stream never delays another.
"""

from __future__ import annotations

import asyncio

from quorate.api import encode, errors
from quorate.api.errors import Code
from quorate.api.pb import rpc_pb2
from quorate.server import Server
from quorate.storage.mvcc import STREAM_ID, WatchBatch, WatcherDuplicateId, WatcherRangeEmpty
from quorate.transport.grpc import Stream
from quorate.v3rpc.door import Door

MAX_PENDING = 4 * 1024 * 1024
"""Bytes queued for a client that does not read, before its events are parked in the store and its requests wait."""

MAX_ALIKE = 256 * 1024
"""Bytes of events that are sent for several watchers at once, before anybody looks at what is queued."""

_CODE_NAMES = {
    Code.INVALID_ARGUMENT: "InvalidArgument",
    Code.PERMISSION_DENIED: "PermissionDenied",
    Code.UNAUTHENTICATED: "Unauthenticated",
}
"""Codes with which a caller may be refused, as the reason of a refused watcher spells them."""

_NOPUT = rpc_pb2.WatchCreateRequest.NOPUT
_NODELETE = rpc_pb2.WatchCreateRequest.NODELETE


class Watch:
    def __init__(self, server: Server, door: Door) -> None:
        self._server = server
        self._door = door

    async def watch(self, stream: Stream) -> None:
        call = WatchCall(self._server, self._door, stream)
        try:
            await call.run()
        finally:
            call.close()


class WatchCall:
    """One stream. Is the sink that the store delivers to."""

    def __init__(self, server: Server, door: Door, stream: Stream) -> None:
        self._server = server
        self._door = door
        self._stream = stream
        self._watchers = server.store.watch_stream(self)
        self._fragmenting: set[int] = set()
        self._progress: dict[int, bool] = {}
        """Watchers that want idle notifications: True when nothing was sent since the last look."""
        self._progress_timer: asyncio.TimerHandle | None = None
        self._fragment_size = server.config.max_message_bytes

    async def run(self) -> None:
        """Serve requests. A client that sends no more keeps its watchers: the stream ends when it is cancelled."""
        while (request := await self._stream.receive()) is not None:
            match request.WhichOneof("request_union"):
                case "create_request":
                    await self._create(request.create_request)
                case "cancel_request":
                    self._cancel(request.cancel_request.watch_id)
                case "progress_request":
                    self._report_progress()
            if self._stream.pending > MAX_PENDING:
                await self._stream.drain()  # who does not read its answers gets no more of them
        await asyncio.get_running_loop().create_future()

    def close(self) -> None:
        self._watchers.close()
        if self._progress_timer is not None:
            self._progress_timer.cancel()

    def deliver(self, batch: WatchBatch) -> bool:
        """Send what the store has for one watcher; False when the client is too far behind."""
        if batch.compact_revision:
            self._forget(batch.watch_id)
            self._send(watch_id=batch.watch_id, canceled=True, compact_revision=batch.compact_revision, revision=None)
            return True
        if self._stream.pending > MAX_PENDING:
            self._server.watch_sync.poke()
            return False
        if batch.watch_id in self._progress:
            self._progress[batch.watch_id] = False
        self._send_events(batch)
        return True

    def deliver_alike(self, watch_ids: list[int], revision: int, events: list[bytes]) -> int:
        """Send the same events for several watchers; for how many of them, the first ones, before it was too much."""
        if self._fragmenting or len(watch_ids) * sum(map(len, events)) > MAX_ALIKE:
            for number, watch_id in enumerate(watch_ids):
                if not self.deliver(WatchBatch(watch_id, revision, events)):
                    return number
            return len(watch_ids)
        if self._stream.pending > MAX_PENDING:
            self._server.watch_sync.poke()
            return 0
        for watch_id in self._progress.keys() & watch_ids if self._progress else ():
            self._progress[watch_id] = False
        self._stream.send_all(encode.watch_responses(self._server.header(revision), watch_ids, events))
        return len(watch_ids)

    def _send_events(self, batch: WatchBatch) -> None:
        header = self._server.header(batch.revision)
        if batch.watch_id not in self._fragmenting:
            self._stream.send(encode.watch_response(header, batch.watch_id, batch.events))
            return
        pieces = encode.split_events(batch.events, self._fragment_size)
        for number, piece in enumerate(pieces, 1):
            self._stream.send(encode.watch_response(header, batch.watch_id, piece, fragment=number < len(pieces)))

    async def _create(self, request: rpc_pb2.WatchCreateRequest) -> None:
        """Open a watcher; the reply goes out before any event of it."""
        key = request.key or b"\0"
        try:
            await self._door.check_read(self._stream.context, key, request.range_end)
        except errors.EtcdError as err:
            self._refuse(f"rpc error: code = {_CODE_NAMES[err.code]} desc = {err.text}")
            return
        try:
            watch_id = self._watchers.watch(
                request.watch_id,
                key,
                request.range_end,
                request.start_revision,
                no_put=_NOPUT in request.filters,
                no_delete=_NODELETE in request.filters,
                prev_kv=request.prev_kv,
            )
        except (WatcherDuplicateId, WatcherRangeEmpty, errors.Compacted) as err:
            self._refuse(str(err))
            return
        if request.fragment:
            self._fragmenting.add(watch_id)
        if request.progress_notify:
            self._progress[watch_id] = True
            self._start_progress_timer()
        self._send(watch_id=watch_id, created=True)
        self._server.watch_sync.poke()

    def _refuse(self, reason: str) -> None:
        self._send(watch_id=STREAM_ID, created=True, canceled=True, cancel_reason=reason)

    def _cancel(self, watch_id: int) -> None:
        if self._watchers.cancel(watch_id):
            self._forget(watch_id)
            self._send(watch_id=watch_id, canceled=True)

    def _forget(self, watch_id: int) -> None:
        self._fragmenting.discard(watch_id)
        self._progress.pop(watch_id, None)

    def _report_progress(self) -> None:
        """Tell the client up to which revision it has seen everything, but only if all its watchers have."""
        revision = self._watchers.progress_if_synced()
        if revision is not None:
            self._send(watch_id=STREAM_ID, revision=revision)

    def _start_progress_timer(self) -> None:
        if self._progress_timer is None:
            # Spread out, so that the streams of a restarted fleet of clients do not all speak at once.
            delay = self._server.config.watch_progress_interval * (1 + self._server.world.rng.random() / 10)
            self._progress_timer = asyncio.get_running_loop().call_later(delay, self._send_idle_progress)

    def _send_idle_progress(self) -> None:
        self._progress_timer = None
        for watch_id, idle in self._progress.items():
            if idle and (revision := self._watchers.request_progress(watch_id)) is not None:
                self._send(watch_id=watch_id, revision=revision)
            self._progress[watch_id] = True
        if self._progress:
            self._start_progress_timer()

    def _send(
        self,
        *,
        watch_id: int,
        created: bool = False,
        canceled: bool = False,
        cancel_reason: str = "",
        compact_revision: int = 0,
        revision: int | None = 0,
    ) -> None:
        """A response without events. Revision 0 stands for the store's own, None for none at all."""
        reply = rpc_pb2.WatchResponse(
            watch_id=watch_id,
            created=created,
            canceled=canceled,
            cancel_reason=cancel_reason,
            compact_revision=compact_revision,
        )
        header = self._server.header_without_revision() if revision is None else self._server.header(revision)
        self._stream.send(header + reply.SerializeToString())
