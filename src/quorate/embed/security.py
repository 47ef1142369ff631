"""What of a member is encrypted, with which certificates: flags into the sides of TLS, before anything is bound.

--cert-file ...        client listeners at https URLs
--peer-cert-file ...   peer listeners at https URLs, and every call to another member at one
--auto-tls, --peer-auto-tls   <data-dir>/fixtures/{client,peer}/{cert,key}.pem, made by the member itself
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from quorate.embed.config import Config
from quorate.pkg.jsonlog import get_log
from quorate.transport.tls import ClientTls, ServerTls, TlsError, TlsSettings
from quorate.transport.tls.self_signed import ensure_self_signed

log = get_log(__name__)

FIXTURES = "fixtures"
"""Directory of certificates that a member makes for itself, in its data directory."""


@dataclass(frozen=True, slots=True)
class Security:
    """The sides of TLS that a member needs. One that it does not need is None."""

    _clients: ServerTls | None
    _peers: ServerTls | None
    peer_caller: ClientTls
    """How this member calls the others at https URLs."""

    @classmethod
    def prepare(cls, config: Config) -> Security:
        """Read every file that is named, make certificates that are to be made. Raises TlsError, OSError."""
        peer_urls = config.listen_peer_urls + config.initial_advertise_peer_urls
        peers = _with_self_signed(_peer_settings(config), config, peer_urls, "peer")
        _check_urls("peer", config.listen_peer_urls, peers, config.peer_client_cert_auth)
        client_urls = config.listen_client_urls + config.listen_client_http_urls + config.listen_metrics_urls
        named = client_urls + (config.advertise_client_urls or [])
        clients = _with_self_signed(_client_settings(config), config, named, "client")
        _check_urls("client", client_urls, clients, config.client_cert_auth)
        if clients.client_cert_file:
            ClientTls(clients)  # nobody is called with it, but what cannot be used is better known now
        return cls(
            ServerTls(clients) if _encrypted(client_urls) else None,
            ServerTls(peers) if _encrypted(config.listen_peer_urls) else None,
            ClientTls(peers),
        )

    def client_listener(self, url: str) -> ServerTls | None:
        return self._clients if _encrypted([url]) else None

    def peer_listener(self, url: str) -> ServerTls | None:
        return self._peers if _encrypted([url]) else None


def _client_settings(config: Config) -> TlsSettings:
    return TlsSettings(
        cert_file=config.cert_file,
        key_file=config.key_file,
        client_cert_file=config.client_cert_file,
        client_key_file=config.client_key_file,
        trusted_ca_file=config.trusted_ca_file,
        client_cert_auth=config.client_cert_auth,
        crl_file=config.client_crl_file,
        allowed_hostnames=tuple(config.client_cert_allowed_hostname),
        cipher_suites=tuple(config.cipher_suites),
        min_version=config.tls_min_version,
        max_version=config.tls_max_version,
    )


def _peer_settings(config: Config) -> TlsSettings:
    return TlsSettings(
        cert_file=config.peer_cert_file,
        key_file=config.peer_key_file,
        client_cert_file=config.peer_client_cert_file,
        client_key_file=config.peer_client_key_file,
        trusted_ca_file=config.peer_trusted_ca_file,
        client_cert_auth=config.peer_client_cert_auth,
        crl_file=config.peer_crl_file,
        allowed_cns=tuple(config.peer_cert_allowed_cn),
        allowed_hostnames=tuple(config.peer_cert_allowed_hostname),
        check_client_address=not config.peer_skip_client_san_verification,
        cipher_suites=tuple(config.cipher_suites),
        min_version=config.tls_min_version,
        max_version=config.tls_max_version,
        protocols=("http/1.1",),
    )


def _with_self_signed(settings: TlsSettings, config: Config, urls: Iterable[str], side: str) -> TlsSettings:
    """`settings` with a certificate made here for the hosts of `urls`, if there is to be one."""
    if not (config.peer_auto_tls if side == "peer" else config.auto_tls):
        return settings
    if not settings.empty:
        log.warn(f"ignoring {side} auto TLS since certs given")
        return settings
    hosts = [host for url in urls if (host := urlsplit(url).hostname)] or ["localhost"]
    directory = config.directory() / FIXTURES / side
    cert, key = ensure_self_signed(directory, hosts, config.self_signed_cert_validity)
    return replace(settings, cert_file=cert, key_file=key, trust_all=True)


def _check_urls(side: str, listening: Iterable[str], settings: TlsSettings, cert_auth: bool) -> None:
    """Raises TlsError for an https URL without a certificate; warns of certificates that a plain one does not use."""
    prefix = "peer-" if side == "peer" else ""
    for url in listening:
        if _encrypted([url]):
            if settings.empty:
                raise TlsError(
                    f"TLS key/cert (--{prefix}cert-file, --{prefix}key-file) must be provided for {side} url {url} "
                    "with HTTPS scheme"
                )
            continue
        where = {f"{side}_url": url}
        if not settings.empty:
            log.warn("scheme is HTTP while key and cert files are present; ignoring key and cert files", **where)
        if cert_auth:
            log.warn(
                f"scheme is HTTP while --{prefix}client-cert-auth is enabled; ignoring client cert auth for this URL",
                **where,
            )
    if not settings.empty:
        files = f"cert = {settings.cert_file}, key = {settings.key_file}"
        called = f"client-cert={settings.client_cert_file}, client-key={settings.client_key_file}"
        auth = f"client-cert-auth = {str(cert_auth).lower()}, crl-file = {settings.crl_file}"
        log.info(
            f"starting with {side} TLS",
            tls_info=f"{files}, {called}, trusted-ca = {settings.trusted_ca_file}, {auth}",
            cipher_suites=list(settings.cipher_suites),
        )
    if (settings.allowed_cns or settings.allowed_hostnames or settings.crl_file) and not settings.asks_for_certificate:
        log.warn(f"nobody is asked for a certificate: --{prefix}trusted-ca-file is not set", side=side)


def _encrypted(urls: Iterable[str]) -> bool:
    return any(url.startswith(("https://", "unixs://")) for url in urls)
