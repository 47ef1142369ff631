"""The two sides of TLS. Their files may be replaced at any time: the next handshake is made with what is there then.

Before each handshake the files are looked at (`stat`, a few microseconds). When one of them has changed, all are read
again; what cannot be used is warned of once, and what was read before stays in use until the files change again. Since
certificate and key are two files, in between there is always a moment in which they do not fit.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from quorate.pkg.jsonlog import get_log
from quorate.transport.tls.checks import check_address, check_names, check_revoked, check_time
from quorate.transport.tls.contexts import check_pairs, client_context, server_context, unreadable
from quorate.transport.tls.settings import TlsError, TlsSettings

log = get_log(__name__)

T = TypeVar("T")

Mark = tuple[tuple[int, int, int] | None, ...]
"""For each file its inode, size and time; None for one that is not there."""


class ServerTls:
    """A listener's side. Raises TlsError when made from settings or files that cannot be used."""

    def __init__(self, settings: TlsSettings) -> None:
        check_pairs(settings)
        self.settings = settings
        self._context = _Kept(
            (settings.cert_file, settings.key_file, settings.trusted_ca_file), lambda: server_context(settings)
        )
        self._revoked = _Kept((settings.crl_file,), lambda: _read_revoked(settings.crl_file))

    def context(self) -> ssl.SSLContext:
        """What to make the next handshake with."""
        return self._context.get()

    async def check(self, tls: ssl.SSLObject, host: str) -> None:
        """Raises Rejected for a caller from IP address `host` that this side does not take."""
        certificate = tls.getpeercert()
        if not certificate:
            return
        check_time(certificate)
        check_names(certificate, self.settings.allowed_cns, self.settings.allowed_hostnames)
        if self.settings.crl_file:
            check_revoked(_serials(tls), self._revoked.get())
        if self.settings.check_client_address:
            await check_address(certificate, host)


class ClientTls:
    """A caller's side. Raises TlsError when made from settings or files that cannot be used."""

    def __init__(self, settings: TlsSettings) -> None:
        if not settings.empty or settings.client_cert_file:
            check_pairs(settings)
        self.settings = settings
        self._context: _Kept[ssl.SSLContext] | None = None
        if settings.cert_file or settings.trusted_ca_file:
            self.context()  # else nothing can be wrong, and whom this machine believes takes time to read

    def context(self) -> ssl.SSLContext:
        """What to make the next handshake with."""
        if self._context is None:
            files = (self.settings.cert_file, self.settings.key_file, self.settings.trusted_ca_file)
            more = (self.settings.client_cert_file, self.settings.client_key_file)
            self._context = _Kept((*files, *more), lambda: client_context(self.settings))
        return self._context.get()

    def check(self, tls: ssl.SSLObject) -> None:
        """Raises Rejected for a server that is not one of those named in the settings."""
        check_names(tls.getpeercert() or {}, self.settings.allowed_cns, self.settings.allowed_hostnames)


class _Kept(Generic[T]):
    """What `read` makes of files, until they change."""

    def __init__(self, files: Iterable[str], read: Callable[[], T]) -> None:
        self._files = [path for path in files if path]
        self._read = read
        self._mark = self._look()
        self._value = read()

    def get(self) -> T:
        mark = self._look()
        if mark != self._mark:
            self._mark = mark  # taken before reading: what changes meanwhile is read next time
            try:
                self._value = self._read()
            except TlsError as error:
                log.warn("cannot use changed TLS files; what was read before stays in use", error=str(error))
            else:
                log.info("read changed TLS files", files=self._files)
        return self._value

    def _look(self) -> Mark:
        return tuple(_mark(path) for path in self._files)


def _mark(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _read_revoked(path: str) -> frozenset[int]:
    """Serial numbers in a list of revoked certificates, PEM or DER. Raises TlsError."""
    if not path:
        return frozenset()
    from cryptography import x509  # takes its time, and few need it

    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise unreadable(path, error) from None
    load = x509.load_pem_x509_crl if content.lstrip().startswith(b"-----") else x509.load_der_x509_crl
    try:
        return frozenset(revoked.serial_number for revoked in load(content))
    except ValueError as error:
        raise TlsError(f"tls: no list of revoked certificates in {path}: {error}") from None


def _serials(tls: ssl.SSLObject) -> list[str]:
    """Of all certificates that the other end has sent: who revokes an authority means those that it signed, too."""
    inner: Any = tls._sslobj  # type: ignore[attr-defined]  # the public way comes with Python 3.13
    return [certificate.get_info()["serialNumber"] for certificate in inner.get_unverified_chain()]
