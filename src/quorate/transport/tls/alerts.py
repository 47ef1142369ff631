"""Let the other end hear why a handshake fails.

OpenSSL leaves an alert in its output, RFC 8446 §6, and asyncio hangs up without sending it: whoever calls without a
certificate would see no more than a lost connection. Here the failure is told to who waits for the handshake, and the
loop is told that more bytes are wanted; before it waits for those it sends what is to be sent.
"""

from __future__ import annotations

import asyncio
import ssl
from contextvars import ContextVar

FAILED: ContextVar[asyncio.Future[ssl.SSLError] | None] = ContextVar("FAILED", default=None)
"""Gets the error of the handshake that is made in this context; its maker must hang up then."""


class AlertingObject(ssl.SSLObject):
    """One end of a connection whose failed handshake is told to both."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            failed = FAILED.get()
            if failed is None or failed.done():
                raise
            failed.set_result(error)
            raise ssl.SSLWantReadError from error
