"""The sending end of a stream: written in the turn that has the messages, straight to the socket.

send ─┬─► encode, join ──► socket            while the socket takes it
      └─► held (values) ──► the same         while too much waits in it
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from quorate.api.raftpb import Message
from quorate.pkg.jsonlog import get_log
from quorate.rafthttp.limits import HEARTBEAT, HELD_BYTES, HELD_MESSAGES, HELD_POLL
from quorate.rafthttp.link import Link
from quorate.rafthttp.streams import Blocks, Encoder, title_of
from quorate.transport.body import BodyWriter

log = get_log(__name__)


class Outlet:
    """The stream of one kind (`name` as in its path) to one member; it is there or not."""

    def __init__(self, link: Link, name: str, encoder: Callable[[], Encoder]) -> None:
        self._link = link
        self._loop = link.wiring.loop
        self._name = name
        self._make_encoder = encoder
        self._encoder = encoder()
        self._body: BodyWriter | None = None
        self._held: deque[Message] = deque()
        self._written = 0
        self._taken = 0
        """Bytes the socket had taken when it last was seen to take some."""
        self._taken_at = 0.0
        self._heartbeat: asyncio.TimerHandle | None = None
        self._poll: asyncio.TimerHandle | None = None

    @property
    def working(self) -> bool:
        """True while there is a stream."""
        return self._body is not None

    def attach(self, body: BodyWriter) -> None:
        """A new stream was asked for; it takes the place of an old one."""
        if self._body is not None:
            self.close()
            log.warn("closed TCP streaming connection with remote peer", **self._names())
        self._body = body
        self._encoder = self._make_encoder()
        self._written = self._taken = 0
        self._taken_at = self._loop.time()
        body.on_close = lambda: self._gone(body)
        self._heartbeat = self._loop.call_later(HEARTBEAT, self._beat)
        log.info("established TCP streaming connection with remote peer", **self._names())
        self._link.up()

    def send(self, messages: Sequence[Message], blocks: Blocks) -> None:
        """Send `messages`, in this order, in one write. What cannot be held either is dropped, and said to be."""
        sent = 0 if self._held else self._write(messages, blocks)
        if sent == len(messages):
            return
        stop = sent + HELD_MESSAGES - len(self._held)
        self._held.extend(messages[sent:stop])
        if stop < len(messages):
            self._link.full(messages[stop:], title_of(self._name))
        if self._poll is None:
            self._poll = self._loop.call_later(HELD_POLL, self._release)

    def close(self) -> None:
        """End the stream, if there is one. What is held is dropped."""
        body, self._body = self._body, None
        for timer in (self._heartbeat, self._poll):
            if timer is not None:
                timer.cancel()
        self._heartbeat = self._poll = None
        if self._held:
            self._link.dropped(list(self._held))
            self._held.clear()
        if body is not None:
            body.close()

    def _write(self, messages: Sequence[Message], blocks: Blocks) -> int:
        """Write `messages` as far as the socket takes them; how many that were."""
        body = self._body
        assert body is not None
        done = 0
        while done < len(messages) and body.pending <= HELD_BYTES:
            parts: list[bytes] = []
            size = 0
            while done < len(messages) and size <= HELD_BYTES:
                part = self._encoder.encode(messages[done], blocks)
                parts.append(part)
                size += len(part)
                done += 1
            self._put(body, b"".join(parts))
        return done

    def _put(self, body: BodyWriter, data: bytes) -> None:
        self._written += len(data)
        self._link.counters.sent_bytes += len(data)
        body.write(data)

    def _release(self) -> None:
        """Send what is held, as far as the socket takes it."""
        self._poll = None
        held = list(self._held)
        self._held = deque(held[self._write(held, {}) :])
        if self._held:
            self._poll = self._loop.call_later(HELD_POLL, self._release)

    def _beat(self) -> None:
        """Say something, so that the other end does not think this one dead; and see whether it is."""
        body = self._body
        assert body is not None
        now = self._loop.time()
        pending = body.pending
        if not pending or self._written - pending > self._taken:
            self._taken, self._taken_at = self._written - pending, now
        elif now - self._taken_at > self._link.wiring.write_timeout:
            self._link.down("heartbeat", title_of(self._name), "the socket takes nothing")
            self._gone(body)
            return
        if not self._held:
            self._put(body, self._encoder.heartbeat)
        self._heartbeat = self._loop.call_later(HEARTBEAT, self._beat)

    def _gone(self, body: BodyWriter) -> None:
        """The stream has ended, or is as good as ended; unless it was replaced that is news."""
        if body is not self._body:
            return
        log.warn("lost TCP streaming connection with remote peer", **self._names())
        self.close()
        self._link.lost()

    def _names(self) -> dict[str, object]:
        return {
            "stream_writer_type": title_of(self._name),
            "local_member_id": f"{self._link.wiring.identity.member_id:x}",
            "remote_peer_id": f"{self._link.peer_id:x}",
        }
