"""Watches on one stream: opened again where they were when the connection is lost."""

from __future__ import annotations

import time
from collections import deque
from threading import Condition
from typing import TYPE_CHECKING, Any

from quorate.api import errors
from quorate.api.errors import Code
from quorate.api.plain import Message, encode
from quorate.cmd.ctl.failures import CallFail
from quorate.cmd.ctl.show import Flat, header_fields, kv_fields, kv_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quorate.cmd.ctl.rpc import Client, Stream
    from quorate.cmd.ctl.run import Run
    from quorate.cmd.ctl.show import Line

TYPES = {0: "PUT", 1: "DELETE"}
RECONNECT_PAUSE = 0.1


class Watch:
    """One watch, and from where it goes on."""

    def __init__(self, request: dict[str, Any], command: list[str]) -> None:
        self.request = request
        self.command = command

    def pass_on(self, message: Message) -> None:
        """A message has come: after a lost connection the watch goes on behind it."""
        if message.events:
            seen = message.events[-1].kv.mod_revision
        elif message.created and self.request["start_revision"]:
            return
        else:
            seen = message.header.revision
        self.request = {**self.request, "start_revision": seen + 1}


class Event:
    """One answer of the server to one watch."""

    def __init__(self, message: Message, command: list[str], reason: str = "") -> None:
        self.message = message
        self.command = command
        self.reason = reason
        """Why the watch was cancelled, if it was."""

    @property
    def cancelled(self) -> bool:
        return bool(self.reason)

    @property
    def is_progress(self) -> bool:
        found = self.message
        return not (found.events or self.reason or found.created or found.compact_revision) and found.header.revision

    @staticmethod
    def type_of(one: Message) -> str:
        return TYPES.get(one.type, str(one.type))

    def show(self, run: Run) -> None:
        """Print it. Raises Fail when there is no such format."""
        found = self.message
        shown = Flat(
            Header=found.header,
            Events=found.events if found.has("header") else None,
            CompactRevision=found.compact_revision,
            Canceled=self.cancelled,
            Created=found.created,
        )
        run.show(
            found,
            simple=lambda: self._lines(run.hex),
            fields=self._fields,
            json=lambda: shown,
            protobuf=self._bytes,
        )

    def _lines(self, as_hex: bool) -> list[Line]:
        lines: list[Line] = []
        for one in self.message.events:
            lines.append(self.type_of(one))
            if one.has("prev_kv"):
                lines += kv_lines(one.prev_kv, as_hex)
            lines += kv_lines(one.kv, as_hex)
        return lines

    def _fields(self) -> list[Line]:
        lines = header_fields(self.message.header)
        for one in self.message.events:
            lines.append(f'"Type" : {self.type_of(one)}')
            if one.has("prev_kv"):
                lines += kv_fields(one.prev_kv, "Prev")
            lines += kv_fields(one.kv)
        return lines

    def _bytes(self) -> bytes:
        """The answer without what only the stream needs to know."""
        kept = ("header", "created", "compact_revision", "events")
        values = {name: value for name, value in self.message.values.items() if name in kept}
        return encode("WatchResponse", {"header": {}, **values, "canceled": self.cancelled})


class Watching:
    """`add` and `ask_progress` may be called by another thread than the one that takes from `events`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stream: Stream | None = None
        self._opening: deque[Watch] = deque()
        """Asked for, in this order, and not answered."""
        self._open: dict[int, Watch] = {}
        self._changed = Condition()

    def add(self, request: dict[str, Any], command: list[str]) -> None:
        """One more watch."""
        with self._changed:
            watch = Watch(request, command)
            self._opening.append(watch)
            if self._stream is not None:
                self._stream.send(create_request=watch.request)
            self._changed.notify()

    def ask_progress(self) -> None:
        """The server tells how far it is, in an answer to each watch. Waits until those asked for are open."""
        with self._changed:
            if not self._opening and not self._open:
                return
            self._changed.wait_for(lambda: not self._opening, self._client.timeout)
            if self._stream is not None:
                self._stream.send(progress_request={})

    def events(self) -> Iterator[Event]:
        """What is told, until all watches were cancelled. Raises CallFail when that is final."""
        with self._changed:
            while not self._opening:
                self._changed.wait()
        while self._opening or self._open:
            try:
                message = self._receive()
            except CallFail as fail:
                if fail.status != Code.UNAVAILABLE or fail.text == errors.NoLeader.text:
                    yield from self._end(fail)
                    return
                time.sleep(RECONNECT_PAUSE)
                continue
            if message is not None:
                yield from self._take(message)

    def _receive(self) -> Message | None:
        """The next message. Raises CallFail; the stream is closed then."""
        with self._changed:
            if self._stream is None:
                self._opening.extendleft(reversed(self._open.values()))
                self._open.clear()
                self._stream = self._client.stream("Watch", leader=True)
                for watch in self._opening:
                    self._stream.send(create_request=watch.request)
            stream = self._stream
        try:
            message = stream.receive()
        except CallFail:
            self._stream = None
            raise
        if message is None:
            self._stream = None
        return message

    def _take(self, message: Message) -> list[Event]:
        with self._changed:
            if message.created and self._opening:
                watch = self._opening.popleft()
                self._open[message.watch_id] = watch
                self._changed.notify_all()
            elif message.watch_id in self._open:
                watch = self._open[message.watch_id]
            elif message.watch_id < 0 and not message.canceled:
                # Progress that was asked for stands for all watches.
                return [Event(message, watch.command) for watch in self._open.values()]
            else:
                return []
            if message.canceled or message.compact_revision:
                self._open.pop(message.watch_id, None)
                # Of a watch that was never open, only the reason is told.
                told = Message("WatchResponse", {}) if message.created else message
                return [Event(told, watch.command, _reason(message))]
            watch.pass_on(message)
        return [] if message.created else [Event(message, watch.command)]

    def _end(self, fail: CallFail) -> list[Event]:
        """All watches are over."""
        with self._changed:
            watches = [*self._open.values(), *self._opening]
            self._open.clear()
            self._opening.clear()
        return [Event(Message("WatchResponse", {}), watch.command, fail.text) for watch in watches]


def _reason(message: Message) -> str:
    if message.compact_revision:
        return errors.Compacted.text
    return message.cancel_reason or "etcdserver: mvcc: required revision is a future revision"
