"""Settings and files into the SSLContext of one side. Nothing is kept here: see `sides`."""

from __future__ import annotations

import os
import ssl

from quorate.transport.tls.alerts import AlertingObject, note_server_name
from quorate.transport.tls.settings import VERSIONS, TlsError, TlsSettings, check_versions, known_cipher_suites

SUITES = "@SECLEVEL=2:ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!eNULL:!aDSS"
"""What is on offer when nothing is configured: forward secrecy in any case."""


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """A listener's. Raises TlsError."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, settings)
    context.sslobject_class = AlertingObject
    context.sni_callback = note_server_name
    _load_pair(context, settings.cert_file, settings.key_file)
    context.set_alpn_protocols(list(settings.protocols))
    # A resumed session would stand for a certificate that has ended meanwhile, or is wanted no more.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    if settings.asks_for_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, settings, ssl.Purpose.CLIENT_AUTH)
    return context


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """A caller's; it checks the name that it calls. Raises TlsError."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, settings)
    context.hostname_checks_common_name = False  # RFC 9525 §6.3
    if settings.trust_all:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        _trust(context, settings, ssl.Purpose.SERVER_AUTH)
    if settings.client_cert_file or settings.client_key_file:
        _load_pair(context, settings.client_cert_file, settings.client_key_file)
    elif not settings.empty:
        _load_pair(context, settings.cert_file, settings.key_file)
    return context


def check_pairs(settings: TlsSettings) -> None:
    """Raises TlsError when half of a certificate is missing, or two rules exclude each other."""
    if not settings.cert_file or not settings.key_file:
        raise TlsError(
            f"KeyFile and CertFile must both be present[key: {settings.key_file}, cert: {settings.cert_file}]"
        )
    if bool(settings.client_cert_file) != bool(settings.client_key_file):
        raise TlsError(
            "ClientKeyFile and ClientCertFile must both be present or both absent: "
            f"key: {settings.client_key_file}, cert: {settings.client_cert_file}"
        )
    if settings.allowed_cns and settings.allowed_hostnames:
        raise TlsError(
            "AllowedCN and AllowedHostname are mutually exclusive "
            f"(cn={','.join(settings.allowed_cns)}, hostname={','.join(settings.allowed_hostnames)})"
        )


def unreadable(path: str, error: OSError) -> TlsError:
    """The error of a file that cannot be opened."""
    return TlsError(f"open {path}: {os.strerror(error.errno or 0).lower()}")


def _context(protocol: ssl._SSLMethod, settings: TlsSettings) -> ssl.SSLContext:
    check_versions(settings.min_version, settings.max_version, settings.cipher_suites)
    context = ssl.SSLContext(protocol)
    context.minimum_version = VERSIONS[settings.min_version or "TLS1.2"]
    if settings.max_version:
        context.maximum_version = VERSIONS[settings.max_version]
    # Any certificate that was named is an anchor, whether it signs itself or not.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    suites = known_cipher_suites(settings.cipher_suites)
    if settings.cipher_suites and not suites:
        context.minimum_version = VERSIONS["TLS1.3"]
    try:
        context.set_ciphers(":".join(suites) or SUITES)
    except ssl.SSLError:
        raise TlsError(f"none of the TLS cipher suites is available: {','.join(settings.cipher_suites)}") from None
    return context


def _load_pair(context: ssl.SSLContext, cert_file: str, key_file: str) -> None:
    for path in (cert_file, key_file):
        _check_readable(path)
    try:
        context.load_cert_chain(cert_file, key_file, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"tls: private key does not match public key ({cert_file}, {key_file})") from None
        raise TlsError(f"tls: no certificate and key in {cert_file} and {key_file}: {_words(error)}") from None
    except OSError as error:
        raise unreadable(cert_file, error) from None


def _trust(context: ssl.SSLContext, settings: TlsSettings, purpose: ssl.Purpose) -> None:
    path = settings.trusted_ca_file
    if not path:
        context.load_default_certs(purpose)
        return
    _check_readable(path)
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise TlsError(f"tls: no certificates in {path}: {_words(error)}") from None
    except OSError as error:
        raise unreadable(path, error) from None


def _check_readable(path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise unreadable(path, error) from None


def _no_password() -> str:
    raise TlsError("tls: the private key is encrypted, and nobody is here to ask")


def _words(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()
