"""Connections to an encrypted port: accepted, shaken hands with, checked, and only then handed on.

    listening socket ──accept──► handshake ──► checks ──► the listener's protocol
                                     └── 10 s for both ──┘

Each has a task of its own until it is handed on, so that none delays another, and a bound, so that one that says
nothing is dropped. The bound ends with the handshake: what a connection is used for afterwards may last.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, cast

from quorate.pkg.jsonlog import get_log
from quorate.transport.sockets import address_name
from quorate.transport.tls.alerts import HANDSHAKE, Handshake
from quorate.transport.tls.checks import Certificate, dns_names, ip_addresses
from quorate.transport.tls.sides import ServerTls

log = get_log(__name__)

HANDSHAKE_TIMEOUT = 10.0
"""Seconds from accepting a connection to the end of its checks."""
PAUSE = 1.0
"""Seconds without accepting when the process has no file descriptors left."""

_REASONS = {
    "HTTP_REQUEST": "tls: first record does not look like a TLS handshake",
    "WRONG_VERSION_NUMBER": "tls: first record does not look like a TLS handshake",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "tls: client didn't provide a certificate",
    "UNSUPPORTED_PROTOCOL": "tls: client offered only unsupported versions",
    "NO_SHARED_CIPHER": "tls: no cipher suite supported by both client and server",
}
_VERIFIED = {
    18: "certificate signed by unknown authority",
    19: "certificate signed by unknown authority",
    20: "certificate signed by unknown authority",
    21: "certificate signed by unknown authority",
    26: "certificate specifies an incompatible key usage",
}
"""Go's words by OpenSSL's codes."""


class Acceptor:
    """Serves a listening socket as asyncio's servers do: `sockets`, `close`."""

    def __init__(self, sock: socket.socket, tls: ServerTls, factory: Callable[[], asyncio.Protocol]) -> None:
        self.sockets = (sock,)
        self._sock = sock
        self._tls = tls
        self._factory = factory
        self._loop = asyncio.get_running_loop()
        self._greeted: set[asyncio.Task[None]] = set()
        self._accepting = self._loop.create_task(self._accept())

    @property
    def handshakes(self) -> int:
        """Connections that are not handed on yet."""
        return len(self._greeted)

    def close(self) -> None:
        """Stop listening; connections that are not handed on are dropped."""
        self._accepting.cancel()
        self._accepting.add_done_callback(lambda _: self._sock.close())
        for task in list(self._greeted):
            task.cancel()

    async def _accept(self) -> None:
        while True:
            try:
                accepted, where = await self._loop.sock_accept(self._sock)
            except ConnectionError:
                continue  # gone before it was accepted
            except OSError as error:
                if self._sock.fileno() < 0:
                    return
                log.warn("cannot accept connections", error=str(error))
                await asyncio.sleep(PAUSE)
                continue
            task = self._loop.create_task(self._greet(accepted, where))
            self._greeted.add(task)
            task.add_done_callback(self._greeted.discard)

    async def _greet(self, accepted: socket.socket, where: object) -> None:
        gate, handshake = _Gate(), Handshake()
        HANDSHAKE.set(handshake)  # in the context of this task, and of those that it starts
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                await self._shake_hands(accepted, gate, handshake.failed)
                tls: ssl.SSLObject = gate.transport.get_extra_info("ssl_object")
                await self._tls.check(tls, str(where[0]) if isinstance(where, tuple) else "")
        except OSError as error:  # TLS errors, time-outs and rejections among them
            caller = {"remote_addr": address_name(where), "server_name": handshake.server_name}
            log.warn("rejected connection", **caller, **_names(gate.certificate), error=_words(error))
            gate.abort()
        except BaseException:  # the listener is closed, or we are wrong: the connection goes in any case
            gate.abort()
            raise
        else:
            gate.open(self._factory())

    async def _shake_hands(self, accepted: socket.socket, gate: _Gate, failed: asyncio.Future[ssl.SSLError]) -> None:
        connecting = self._loop.create_task(
            self._loop.connect_accepted_socket(
                lambda: gate, accepted, ssl=self._tls.context(), ssl_handshake_timeout=HANDSHAKE_TIMEOUT
            )
        )
        first: set[asyncio.Future[Any]] = {connecting, failed}
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                raise failed.result()
            await connecting
        finally:
            connecting.cancel()


class _Gate(asyncio.Protocol):
    """The protocol of a connection until it is known to be welcome. What comes meanwhile is kept."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._kept = b""
        self._lost = False

    @property
    def certificate(self) -> Certificate:
        return (self.transport.get_extra_info("peercert") or {}) if self.transport is not None else {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._kept += data
        self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def open(self, protocol: asyncio.Protocol) -> None:
        """Hand the connection on."""
        if self._lost or self.transport.is_closing():
            return
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        if self._kept:
            self.transport.resume_reading()
            protocol.data_received(self._kept)


def _names(certificate: Certificate) -> dict[str, object]:
    if not certificate:
        return {}
    return {"ip_addresses": ip_addresses(certificate), "dns_names": dns_names(certificate)}


def _words(error: OSError) -> str:
    """What went wrong, as an operator of etcd has read it before where Go has words for it."""
    if isinstance(error, TimeoutError | ConnectionAbortedError):
        return "tls: handshake timed out"
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = _VERIFIED.get(error.verify_code, error.verify_message)
        return f"tls: failed to verify client certificate: x509: {reason}"
    if isinstance(error, ssl.SSLError) and error.reason:
        reason = error.reason
        alert = reason.partition("_ALERT_")[2]
        return f"remote error: tls: {alert.replace('_', ' ').lower()}" if alert else _REASONS.get(reason, reason)
    return str(error) or "EOF"
