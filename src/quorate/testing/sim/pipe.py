"""How bytes get from one machine to another: `Link` is the way, `Pipe` one direction of one connection on it.

Bytes of a pipe arrive in order or not at all. On a cut link they wait, as the kernel sends them again and again: they
arrive some time after the link is whole, unless an end gives up first.

Sources: RFC 9293 (RST, FIN), RFC 6298 (sending again).
"""

from __future__ import annotations

import errno
from collections import deque
from random import Random
from typing import TYPE_CHECKING

from quorate.testing.sim.scheduler import Scheduler

if TYPE_CHECKING:
    from quorate.testing.sim.host import Host
    from quorate.testing.sim.tcp import End

RESEND_FIRST = 0.2
RESEND_MOST = 120.0
"""Seconds until bytes are sent again; doubled each time up to the most."""

FIN = b""


class Link:
    """The way from one machine to another. Every setting may change at any time, for what leaves from then on."""

    def __init__(self, scheduler: Scheduler, rng: Random, source: Host, target: Host) -> None:
        self.scheduler = scheduler
        self.source = source
        self.target = target
        self.latency = (0.00005, 0.0001) if source is target else (0.0002, 0.001)
        """Seconds on the way: from, to."""
        self.bandwidth: float | None = None
        """Bytes a second, of all connections together."""
        self.loss = 0.0
        """The share of packets that must be sent again: later by 0.2 s, 0.4 s and so on."""
        self.cut = False
        """Nothing gets through."""
        self._rng = rng
        self._free_at = 0.0

    @property
    def blocked(self) -> bool:
        """Nothing gets through, or there is nobody."""
        return self.cut or not self.target.up or not self.source.up

    def delay(self) -> float:
        """Seconds that the next packet takes."""
        low, high = self.latency
        seconds = low + (high - low) * self._rng.random()
        if self.loss:
            wait = RESEND_FIRST
            while self._rng.random() < self.loss:
                seconds += wait
                wait = min(2 * wait, RESEND_MOST)
        return min(seconds, RESEND_MOST)  # the loss of now must not hold it up for long when there is none any more

    def pass_through(self, size: int, start: float) -> float:
        """When `size` bytes that leave at `start` have arrived."""
        if self.bandwidth is not None:
            start = self._free_at = max(start, self._free_at) + size / self.bandwidth
        return start + self.delay()


class Pipe:
    """One direction of a connection."""

    __slots__ = ("held", "held_since", "in_flight", "last_arrival", "link", "receiver", "sender", "uncredited")

    def __init__(self, link: Link, sender: End, receiver: End) -> None:
        self.link = link
        self.sender = sender
        self.receiver = receiver
        self.in_flight = 0
        """Bytes that take room of the window."""
        self.uncredited = 0
        """Bytes of them that have been read, which the sender cannot be told."""
        self.last_arrival = 0.0
        self.held: deque[bytes] = deque()
        self.held_since = 0.0

    def send(self, data: bytes) -> None:
        """Bytes, or FIN, set out."""
        self.in_flight += len(data)
        if self.link.blocked:
            self._hold(data)
        else:
            self._travel(data, self.link.scheduler.now)

    def send_reset(self) -> None:
        """Tell the receiver that nobody is here any more. It is told once, or never."""
        if not self.link.blocked:
            link = self.link
            at = max(self.last_arrival, link.scheduler.now + link.delay())
            link.scheduler.at(at, self._reset_arrives)

    def healed(self) -> None:
        """The link may be whole again: what was held leaves when it is sent again."""
        if not self.held or self.link.blocked:
            return
        start, wait = self.held_since, RESEND_FIRST
        while start < self.link.scheduler.now:
            start += wait
            wait = min(2 * wait, RESEND_MOST)
        held, self.held = self.held, deque()
        for data in held:
            self._travel(data, start)

    def read(self, size: int) -> None:
        """The receiver has read `size` bytes."""
        if self.sender.pipe_back.link.blocked:
            self.uncredited += size
        else:
            self._credit(size)

    def catch_up(self) -> None:
        """The way back may be whole again."""
        if self.uncredited and not self.sender.pipe_back.link.blocked:
            size, self.uncredited = self.uncredited, 0
            self._credit(size)

    def _credit(self, size: int) -> None:
        self.in_flight -= size
        if self.sender.is_full:
            back = self.sender.pipe_back.link
            back.scheduler.at(back.scheduler.now + back.delay(), self.sender.room_came)

    def _hold(self, data: bytes) -> None:
        if not self.held:
            self.held_since = self.link.scheduler.now
        self.held.append(data)
        self.sender.watch()

    def _travel(self, data: bytes, start: float) -> None:
        at = self.link.pass_through(len(data), start)
        if at < self.last_arrival:
            at = self.last_arrival
        self.last_arrival = at
        self.link.scheduler.at(at, self._arrive, data)

    def _arrive(self, data: bytes) -> None:
        if not self.link.target.up:
            self._hold(data)
        elif self.receiver.gone:
            self.receiver.pipe.send_reset()
        else:
            self.receiver.take(data)

    def _reset_arrives(self) -> None:
        if self.link.target.up:
            self.receiver.broken(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "reset")
