"""Let the other end hear why a handshake fails, and whoever waits for it what was asked for.

OpenSSL leaves an alert in its output, RFC 8446 §6, and asyncio hangs up without sending it: whoever calls without a
certificate would see no more than a lost connection. Here the failure is told to who waits for the handshake, and the
loop is told that more bytes are wanted; before it waits for those it sends what is to be sent.
"""

from __future__ import annotations

import asyncio
import ssl
from contextvars import ContextVar


class Handshake:
    """What is learnt in one handshake of a listener, however it ends."""

    __slots__ = ("failed", "server_name")

    def __init__(self) -> None:
        self.failed: asyncio.Future[ssl.SSLError] = asyncio.get_running_loop().create_future()
        """Gets the error; its maker must hang up then."""
        self.server_name = ""
        """The host that the caller asked for, if it said one."""


HANDSHAKE: ContextVar[Handshake | None] = ContextVar("HANDSHAKE", default=None)
"""The handshake that is made in this context."""


class AlertingObject(ssl.SSLObject):
    """One end of a connection whose failed handshake is told to both."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            handshake = HANDSHAKE.get()
            if handshake is None or handshake.failed.done():
                raise
            handshake.failed.set_result(error)
            raise ssl.SSLWantReadError from error


def note_server_name(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
    """To be the `sni_callback` of a context."""
    handshake = HANDSHAKE.get()
    if handshake is not None:
        handshake.server_name = name or ""
