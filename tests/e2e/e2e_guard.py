"""How a cluster is guarded: by TLS at its doors and among its members, by users and passwords, or by neither."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from e2e_rpc import OPTIONS, Client, Connect, connect_plain

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.certificates import Authority
from quorate.testing.cluster import Cluster

ROOT, PASSWORD = "root", "open sesame"


class Guard(NamedTuple):
    """What is between a client and a cluster."""

    tls: bool
    auth: bool


class Keys:
    """Certificates for members and their clients: one authority, one pair of files for all."""

    def __init__(self, directory: Path) -> None:
        self._authority = Authority(directory)
        self._own = self._authority.issue("member", hosts=["127.0.0.1"])
        self.ca, self.cert, self.key = self._authority.ca, self._own.cert, self._own.key
        """Paths, for clients that are programs of their own."""

    def flags(self) -> tuple[str, ...]:
        """Certificates are shown and asked for at both kinds of doors."""
        flags: tuple[str, ...] = ()
        for prefix in ("", "peer-"):
            flags += (
                f"--{prefix}cert-file={self.cert}",
                f"--{prefix}key-file={self.key}",
                f"--{prefix}trusted-ca-file={self.ca}",
                f"--{prefix}client-cert-auth",
            )
        return flags

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        context.load_cert_chain(self.cert, self.key)
        return context

    def ctl_flags(self) -> tuple[str, ...]:
        """With these flags etcdctl shows a certificate and is root. (`move-leader` of 3.5.1 cannot take variables.)"""
        return f"--cacert={self.ca}", f"--cert={self.cert}", f"--key={self.key}", f"--user={ROOT}:{PASSWORD}"

    def connect(self, endpoint: str) -> grpc.Channel:
        files = (Path(path).read_bytes() for path in (self.ca, self.key, self.cert))
        return grpc.secure_channel(endpoint, grpc.ssl_channel_credentials(*files), options=OPTIONS)


def start_guarded(
    start: Callable[..., Cluster], guard: Guard, keys: Keys, command: Any, size: int, flags: Sequence[str] = ()
) -> tuple[Cluster, Connect]:
    """A running cluster, and what makes channels to it that may do everything."""
    connect: Connect = connect_plain
    more: dict[str, Any] = {}
    if guard.tls:
        connect = keys.connect
        flags = (*flags, *keys.flags())
        more = {"ssl": keys.context(), "peer_scheme": "https"}
    cluster = start(command, size=size, flags=tuple(flags), **more)
    if guard.auth:
        _enable_auth(cluster.members[0].endpoint, connect)
        return cluster, as_root(cluster.members[0].endpoint, connect)
    return cluster, connect


def as_root(endpoint: str, connect: Connect) -> Connect:
    """What makes channels that carry root's token; `endpoint` is asked for it."""
    with Client(endpoint, connect) as client:
        answer = client.call("Authenticate", pb.AuthenticateRequest(name=ROOT, password=PASSWORD))
        assert answer.ok, answer
        token = _Token(str(answer.message.token))
    return lambda endpoint: grpc.intercept_channel(connect(endpoint), token)


def _enable_auth(endpoint: str, connect: Connect) -> None:
    with Client(endpoint, connect) as client:
        for name, request in (
            ("UserAdd", pb.AuthUserAddRequest(name=ROOT, password=PASSWORD)),
            ("RoleAdd", pb.AuthRoleAddRequest(name=ROOT)),
            ("UserGrantRole", pb.AuthUserGrantRoleRequest(user=ROOT, role=ROOT)),
            ("AuthEnable", pb.AuthEnableRequest()),
        ):
            answer = client.call(name, request)
            assert answer.ok, answer
        assert not client.get(b"k").ok, "nobody may read without a token"


class _Details(NamedTuple):
    """What a call is made with; grpcio reads these names."""

    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any


class _Token(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
    grpc.StreamStreamClientInterceptor,  # type: ignore[misc]
):
    """Sends a token along with every call."""

    def __init__(self, token: str) -> None:
        self._token = token

    def _with_token(self, proceed: Callable[..., Any], given: Any, request: Any) -> Any:
        metadata = [*(given.metadata or ()), ("token", self._token)]
        return proceed(
            _Details(given.method, given.timeout, metadata, given.credentials, given.wait_for_ready, given.compression),
            request,
        )

    intercept_unary_unary = intercept_unary_stream = intercept_stream_stream = _with_token
