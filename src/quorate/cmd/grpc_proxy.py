"""`etcd grpc-proxy start`: serve the API for the members of a cluster."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import uvloop

from quorate.client.errors import EtcdError
from quorate.cmd.subcommand import parse, until_signal
from quorate.pkg import jsonlog
from quorate.pkg.goflag import (
    Duration,
    FlagSet,
    Parser,
    parse_bool,
    parse_duration,
    parse_int,
    parse_list,
    parse_string,
    parse_uint,
)
from quorate.proxy.addresses import AddressError
from quorate.proxy.config import ProxyConfig, ProxyConfigError
from quorate.proxy.proxy import GrpcProxy
from quorate.transport.tls import TlsError
from quorate.transport.tls.settings import check_versions

log = jsonlog.get_log("quorate.cmd.grpc_proxy")

_FLAGS: tuple[tuple[str, Parser, str], ...] = (
    ("listen-addr", parse_string, "Address to listen on, for gRPC and HTTP."),
    ("endpoints", parse_list, "Addresses of the members, with commas."),
    ("endpoints-auto-sync-interval", parse_duration, "Time between two looks at the list of members; 0s: never."),
    ("discovery-srv", parse_string, "Domain whose SRV records name the members."),
    ("discovery-srv-name", parse_string, "Suffix of the service in the SRV records."),
    ("insecure-discovery", parse_bool, "Take members that are found without TLS, too."),
    ("metrics-addr", parse_string, "http(s)://host:port of a listener for /metrics and /health alone."),
    ("advertise-client-url", parse_string, "Address that clients are told; empty: those of the members."),
    ("resolver-prefix", parse_string, "Prefix of the keys under which proxies register."),
    ("resolver-ttl", parse_int, "Seconds that a proxy stays registered that is gone."),
    ("namespace", parse_string, "Prefix that every key gets."),
    ("enable-pprof", parse_bool, "Accepted; profiles of Go have no counterpart here."),
    ("data-dir", parse_string, "Directory for the certificate of --auto-tls."),
    ("max-send-bytes", parse_uint, "Largest message to a member in bytes."),
    ("max-recv-bytes", parse_uint, "Largest message from a member in bytes."),
    ("cert", parse_string, "Certificate to show members (PEM); it must not have a common name."),
    ("key", parse_string, "Its key."),
    ("cacert", parse_string, "The CA of the members."),
    ("insecure-skip-tls-verify", parse_bool, "Believe whatever members show: for tests."),
    ("cert-file", parse_string, "Certificate of this proxy for its clients (PEM)."),
    ("key-file", parse_string, "Its key."),
    ("trusted-ca-file", parse_string, "The CA of the clients; clients must have its certificate."),
    ("auto-tls", parse_bool, "Make a certificate for the clients that signs itself."),
    ("client-crl-file", parse_string, "List of revoked certificates of clients."),
    ("self-signed-cert-validity", parse_uint, "Years that the certificate of --auto-tls is valid."),
    ("listen-cipher-suites", parse_list, "Suites of TLS 1.2 to take; empty: those of good standing."),
    ("tls-min-version", parse_string, "Lowest version of TLS: TLS1.2 or TLS1.3."),
    ("tls-max-version", parse_string, "Highest version of TLS; empty: no limit."),
    ("experimental-serializable-ordering", parse_bool, "Answers never go back in time, whichever member gives them."),
    ("experimental-leasing-prefix", parse_string, "Prefix of the keys by which proxies own keys that they read."),
    ("experimental-enable-grpc-logging", parse_bool, "Log every call."),
    ("debug", parse_bool, "Log more."),
    ("grpc-keepalive-min-time", parse_duration, "Least time between two pings of a client."),
    ("grpc-keepalive-interval", parse_duration, "Silence after which a client is pinged; 0s: never."),
    ("grpc-keepalive-timeout", parse_duration, "Time for its answer."),
    ("dial-keepalive-time", parse_duration, "Silence after which a member is pinged; 0s: 10s."),
    ("dial-keepalive-timeout", parse_duration, "Time for its answer, if the time before it is set."),
    ("permit-without-stream", parse_bool, "Ping members without calls under way, too."),
    ("max-concurrent-streams", parse_uint, "Calls that one client may have open at once."),
)


def run(arguments: Sequence[str]) -> int:
    """Run the command to its end; returns the exit code."""
    values = parse("grpc-proxy", "start the grpc proxy", build_flags(), arguments)
    if isinstance(values, int):
        return values
    try:
        config = _config(values)
        config.check()
        check_versions(config.tls_min_version, config.tls_max_version, config.listen_cipher_suites)
    except (ProxyConfigError, TlsError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    jsonlog.configure("debug" if config.debug else "info", ["default"])
    log.info("Running: ", args=["etcd", "grpc-proxy", *arguments])
    try:
        return uvloop.run(_serve(config))
    except (ProxyConfigError, TlsError, AddressError, EtcdError, OSError, ValueError) as error:
        log.fatal("failed to start the gRPC proxy", error=str(error))
        return 1


def build_flags() -> FlagSet:
    """Defaults are those of ProxyConfig."""
    default, flags = ProxyConfig(), FlagSet()
    for name, parser, usage in _FLAGS:
        value = getattr(default, _field(name))
        flags.add(name, parser, Duration(value) if parser is parse_duration else value, usage)
    return flags


def _config(values: dict[str, Any]) -> ProxyConfig:
    return ProxyConfig(**{_field(name): value for name, value in values.items()})


def _field(name: str) -> str:
    return name.removeprefix("experimental-").replace("-", "_")


async def _serve(config: ProxyConfig) -> int:
    proxy = GrpcProxy(config)
    await proxy.start()
    return await until_signal(proxy.stop)
