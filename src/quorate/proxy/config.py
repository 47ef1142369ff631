"""Settings of a gRPC proxy: etcd's flags in snake_case, checked before anything is bound."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from quorate.client.endpoints import Endpoint
from quorate.client.tls import Tls
from quorate.pkg.jsonlog import get_log
from quorate.proxy.addresses import split_address
from quorate.transport.grpc import Channel, ChannelLimits, unix_socket
from quorate.transport.tls import ServerTls, TlsSettings
from quorate.transport.tls.self_signed import ensure_self_signed

log = get_log(__name__)

MAX_INT32 = 2_147_483_647
CONNECT_SECONDS = 2.0
PING_SECONDS = 10.0
"""Silence after which a member with calls under way is asked for a sign of life, where nothing else is set."""
PONG_SECONDS = 5.0
UNIX_NAME = "localhost"


class ProxyConfigError(Exception):
    """Settings that exclude each other or cannot be used; the text is what the operator reads."""


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """Sizes in bytes, times in seconds, files in PEM."""

    endpoints: list[str] = field(default_factory=lambda: ["127.0.0.1:2379"])
    endpoints_auto_sync_interval: float = 0.0
    listen_addr: str = "127.0.0.1:23790"
    discovery_srv: str = ""
    discovery_srv_name: str = ""
    insecure_discovery: bool = False
    metrics_addr: str = ""
    advertise_client_url: str = "127.0.0.1:23790"
    resolver_prefix: str = ""
    resolver_ttl: int = 0
    namespace: str = ""
    data_dir: str = "default.proxy"
    max_send_bytes: int = 1_572_864
    max_recv_bytes: int = MAX_INT32
    cert: str = ""
    key: str = ""
    cacert: str = ""
    insecure_skip_tls_verify: bool = False
    cert_file: str = ""
    key_file: str = ""
    trusted_ca_file: str = ""
    auto_tls: bool = False
    client_crl_file: str = ""
    self_signed_cert_validity: int = 1
    listen_cipher_suites: list[str] = field(default_factory=list)
    tls_min_version: str = "TLS1.2"
    tls_max_version: str = ""
    serializable_ordering: bool = False
    leasing_prefix: str = ""
    enable_grpc_logging: bool = False
    enable_pprof: bool = False
    debug: bool = False
    grpc_keepalive_min_time: float = 5.0
    grpc_keepalive_interval: float = 7_200.0
    grpc_keepalive_timeout: float = 20.0
    dial_keepalive_time: float = 0.0
    dial_keepalive_timeout: float = 20.0
    permit_without_stream: bool = False
    max_concurrent_streams: int = 4_294_967_295

    def check(self) -> None:
        """Raises ProxyConfigError."""
        if self.resolver_prefix and self.resolver_ttl < 1:
            raise ProxyConfigError(f"invalid resolver-ttl {self.resolver_ttl}")
        if not self.resolver_prefix and self.resolver_ttl > 0:
            raise ProxyConfigError(f"invalid resolver-prefix {json.dumps(self.resolver_prefix)}")
        if self.resolver_prefix and self.resolver_ttl > 0 and not self.advertise_client_url:
            raise ProxyConfigError(f"invalid advertise-client-url {json.dumps(self.advertise_client_url)}")
        if self.self_signed_cert_validity <= 0:
            raise ProxyConfigError("selfSignedCertValidity is invalid,it should be greater than 0")
        for name, address in (("listen-addr", self.listen_addr), ("metrics-addr", self.metrics_host_port)):
            try:
                split_address(address)
            except ValueError as error:
                if address or name == "listen-addr":
                    raise ProxyConfigError(f"invalid {name}: {error}") from None
        if self.metrics_addr and urlsplit(self.metrics_addr).scheme not in ("http", "https"):
            raise ProxyConfigError(f"invalid metrics-addr {self.metrics_addr!r}: scheme must be http or https")
        if self.metrics_addr.startswith("https://") and not self.listens_with_tls:
            raise ProxyConfigError("metrics-addr is https, but there is no certificate: --cert-file or --auto-tls")

    @property
    def metrics_host_port(self) -> str:
        return urlsplit(self.metrics_addr).netloc if "://" in self.metrics_addr else self.metrics_addr

    @property
    def listens_with_tls(self) -> bool:
        return self.auto_tls or bool(self.cert_file or self.key_file)

    def listener_tls(self) -> ServerTls | None:
        """The listener's side, None for plain text. Raises TlsError, OSError."""
        if not self.listens_with_tls:
            return None
        settings = TlsSettings(
            cert_file=self.cert_file,
            key_file=self.key_file,
            trusted_ca_file=self.trusted_ca_file,
            crl_file=self.client_crl_file,
            cipher_suites=tuple(self.listen_cipher_suites),
            min_version=self.tls_min_version,
            max_version=self.tls_max_version,
        )
        if settings.empty:
            hosts = [split_address(self.listen_addr)[0] or "localhost"]
            directory = Path(self.data_dir) / "fixtures" / "proxy"
            cert, key = ensure_self_signed(directory, hosts, self.self_signed_cert_validity)
            settings = replace(settings, cert_file=cert, key_file=key)
        elif self.auto_tls:
            log.warn("ignoring proxy auto TLS since certs given")
        return ServerTls(settings)

    def upstream_tls(self) -> Tls | None:
        """How members are called; None for plain text where their URLs do not say otherwise.

        Raises ProxyConfigError for a certificate with a common name: members would take it for a user's, for all."""
        if not (self.cert or self.key or self.cacert or self.insecure_skip_tls_verify):
            return None
        if self.cert:
            name = common_name(self.cert)
            if name:
                raise ProxyConfigError(f"cert has non empty Common Name ({name}): {self.cert}")
        return Tls(
            ca=self.cacert or None,
            cert=self.cert or None,
            key=self.key or None,
            insecure_skip_verify=self.insecure_skip_tls_verify,
        )

    def dial(self, endpoint: Endpoint, tls: Tls | None) -> Channel:
        """A channel to a member."""
        own = self.dial_keepalive_time > 0
        limits = ChannelLimits(
            max_send_message=self.max_send_bytes or MAX_INT32,
            max_receive_message=self.max_recv_bytes or MAX_INT32,
            connect_timeout=CONNECT_SECONDS,
            keepalive_time=self.dial_keepalive_time if own else PING_SECONDS,
            keepalive_timeout=self.dial_keepalive_timeout if own else PONG_SECONDS,
            idle_pings=self.permit_without_stream,
        )
        context: ssl.SSLContext | None = (tls or Tls()).context() if endpoint.encrypted else None
        if endpoint.port:
            return Channel(endpoint.host, endpoint.port, ssl=context, limits=limits)
        socket = unix_socket(endpoint.host, context, UNIX_NAME)
        return Channel(endpoint.host, 0, ssl=context, authority=UNIX_NAME, limits=limits, dial=socket)


def common_name(path: str) -> str:
    """That of a certificate, "" if it has none. Raises ProxyConfigError for a file that cannot be read."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        certificate = x509.load_pem_x509_certificate(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise ProxyConfigError(f"cannot read certificate {path}: {error}") from None
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[-1].value) if names else ""
