"""What every edge does with its socket: say who is at the other end, notice that it takes nothing."""

from __future__ import annotations

import asyncio
import socket

KEEPALIVE_IDLE = 30
"""Seconds of silence after which the kernel asks a peer whether it lives, and between its questions."""


def peer_name(transport: asyncio.BaseTransport) -> str:
    """`host:port` of the other end, or what a socket without one has."""
    return address_name(transport.get_extra_info("peername"))


def address_name(name: object) -> str:
    """`host:port` of a socket's address, or what else it is."""
    if isinstance(name, tuple) and len(name) >= 2:
        host, port = name[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return str(name or "")


def notice_dead_peer(transport: asyncio.BaseTransport) -> None:
    """Let the kernel find out when a silent peer is gone without a word. Where there is TCP."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_IDLE)


class StallWatch:
    """Drops a connection whose full socket has taken no byte for `timeout` seconds: its peer does not read.

    The edge adds what it writes to `written`, starts the watch in `pause_writing`, stops it in `resume_writing` and
    when the connection is lost.
    """

    def __init__(self, transport: asyncio.Transport, timeout: float) -> None:
        self.written = 0
        self._transport = transport
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """The socket is full."""
        self._timer = self._loop.call_later(self._timeout, self._check, self._taken())

    def stop(self) -> None:
        """The socket takes bytes again, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _taken(self) -> int:
        return self.written - self._transport.get_write_buffer_size()

    def _check(self, taken_before: int) -> None:
        if self._taken() <= taken_before:
            self._transport.abort()
        else:
            self.start()
