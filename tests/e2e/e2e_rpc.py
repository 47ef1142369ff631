"""A gRPC client for tests that owes nothing to Quorate's own wire: grpcio channels, raw serializers, our messages."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from quorate.api.pb import election_pb2, health_pb2, lock_pb2, rpc_pb2

Classes = tuple[str, type[Message], type[Message]]

PACKAGE = "etcdserverpb"


def _method(service: str, name: str, request: str, response: str | None = None) -> Classes:
    answer = response or request.replace("Request", "Response")
    return f"/{PACKAGE}.{service}/{name}", getattr(rpc_pb2, request), getattr(rpc_pb2, answer)


def _beside(path: str, package: Any) -> Classes:
    """A method of the lock or election service; the names of its messages follow from its own."""
    name = path.rpartition("/")[2]
    return path, getattr(package, f"{name}Request"), getattr(package, f"{name}Response")


UNARY: dict[str, Classes] = {
    "Range": _method("KV", "Range", "RangeRequest"),
    "Put": _method("KV", "Put", "PutRequest"),
    "DeleteRange": _method("KV", "DeleteRange", "DeleteRangeRequest"),
    "Txn": _method("KV", "Txn", "TxnRequest"),
    "Compact": _method("KV", "Compact", "CompactionRequest"),
    "LeaseGrant": _method("Lease", "LeaseGrant", "LeaseGrantRequest"),
    "LeaseRevoke": _method("Lease", "LeaseRevoke", "LeaseRevokeRequest"),
    "LeaseTimeToLive": _method("Lease", "LeaseTimeToLive", "LeaseTimeToLiveRequest"),
    "LeaseLeases": _method("Lease", "LeaseLeases", "LeaseLeasesRequest"),
    "MemberList": _method("Cluster", "MemberList", "MemberListRequest"),
    "MemberAdd": _method("Cluster", "MemberAdd", "MemberAddRequest"),
    "MemberRemove": _method("Cluster", "MemberRemove", "MemberRemoveRequest"),
    "MemberUpdate": _method("Cluster", "MemberUpdate", "MemberUpdateRequest"),
    "MemberPromote": _method("Cluster", "MemberPromote", "MemberPromoteRequest"),
    "Status": _method("Maintenance", "Status", "StatusRequest"),
    "Hash": _method("Maintenance", "Hash", "HashRequest"),
    "HashKV": _method("Maintenance", "HashKV", "HashKVRequest"),
    "Alarm": _method("Maintenance", "Alarm", "AlarmRequest"),
    "Defragment": _method("Maintenance", "Defragment", "DefragmentRequest"),
    "MoveLeader": _method("Maintenance", "MoveLeader", "MoveLeaderRequest"),
    "Downgrade": _method("Maintenance", "Downgrade", "DowngradeRequest"),
    "AuthEnable": _method("Auth", "AuthEnable", "AuthEnableRequest"),
    "AuthDisable": _method("Auth", "AuthDisable", "AuthDisableRequest"),
    "AuthStatus": _method("Auth", "AuthStatus", "AuthStatusRequest"),
    "Authenticate": _method("Auth", "Authenticate", "AuthenticateRequest"),
    "UserAdd": _method("Auth", "UserAdd", "AuthUserAddRequest"),
    "UserGet": _method("Auth", "UserGet", "AuthUserGetRequest"),
    "UserList": _method("Auth", "UserList", "AuthUserListRequest"),
    "UserDelete": _method("Auth", "UserDelete", "AuthUserDeleteRequest"),
    "UserChangePassword": _method("Auth", "UserChangePassword", "AuthUserChangePasswordRequest"),
    "UserGrantRole": _method("Auth", "UserGrantRole", "AuthUserGrantRoleRequest"),
    "UserRevokeRole": _method("Auth", "UserRevokeRole", "AuthUserRevokeRoleRequest"),
    "RoleAdd": _method("Auth", "RoleAdd", "AuthRoleAddRequest"),
    "RoleGet": _method("Auth", "RoleGet", "AuthRoleGetRequest"),
    "RoleList": _method("Auth", "RoleList", "AuthRoleListRequest"),
    "RoleDelete": _method("Auth", "RoleDelete", "AuthRoleDeleteRequest"),
    "RoleGrantPermission": _method("Auth", "RoleGrantPermission", "AuthRoleGrantPermissionRequest"),
    "RoleRevokePermission": _method("Auth", "RoleRevokePermission", "AuthRoleRevokePermissionRequest"),
    "Lock": _beside("/v3lockpb.Lock/Lock", lock_pb2),
    "Unlock": _beside("/v3lockpb.Lock/Unlock", lock_pb2),
    "Campaign": _beside("/v3electionpb.Election/Campaign", election_pb2),
    "Proclaim": _beside("/v3electionpb.Election/Proclaim", election_pb2),
    "Leader": _beside("/v3electionpb.Election/Leader", election_pb2),
    "Resign": _beside("/v3electionpb.Election/Resign", election_pb2),
    "Check": ("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse),
}

KEEP_ALIVE = _method("Lease", "LeaseKeepAlive", "LeaseKeepAliveRequest")
WATCH = _method("Watch", "Watch", "WatchRequest")
SNAPSHOT = _method("Maintenance", "Snapshot", "SnapshotRequest")
RANGE_STREAM = _method("KV", "RangeStream", "RangeRequest", "RangeStreamResponse")

OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
]


@dataclass(frozen=True)
class Answer:
    """What a call brought: a message, or a status with code and text."""

    message: Any
    code: int = 0
    text: str = ""

    @property
    def ok(self) -> bool:
        return self.code == 0


Connect = Callable[[str], grpc.Channel]
"""Makes a channel to an endpoint."""


def connect_plain(endpoint: str) -> grpc.Channel:
    return grpc.insecure_channel(endpoint, options=OPTIONS)


class Client:
    """One channel to one member. Calls never raise for a status: see Answer."""

    def __init__(self, endpoint: str, connect: Connect = connect_plain) -> None:
        self.endpoint = endpoint
        self.channel = connect(endpoint)
        self._calls: dict[str, Callable[..., Any]] = {}

    def call(self, name: str, request: Message, *, timeout: float = 10.0, metadata: Any = None) -> Answer:
        """One unary RPC by its short name, e.g. `Put`."""
        stub = self._calls.get(name)
        if stub is None:
            path, _, answer = UNARY[name]
            stub = self.channel.unary_unary(path, _serialize, answer.FromString)
            self._calls[name] = stub
        return answer_of(stub, request, timeout=timeout, metadata=metadata)

    def raw(self, path: str, data: bytes, *, timeout: float = 10.0, metadata: Any = None) -> Answer:
        """Any path with any bytes; the answer's message is bytes."""
        return answer_of(self.channel.unary_unary(path), data, timeout=timeout, metadata=metadata)

    def put(self, key: bytes, value: bytes, **more: Any) -> Answer:
        return self.call("Put", rpc_pb2.PutRequest(key=key, value=value, **more))

    def get(self, key: bytes, range_end: bytes = b"", **more: Any) -> Answer:
        return self.call("Range", rpc_pb2.RangeRequest(key=key, range_end=range_end, **more))

    def everything(self) -> Any:
        """All keys, one Range; raises AssertionError when refused."""
        answer = self.get(b"\0", b"\0")
        assert answer.ok, answer
        return answer.message

    def watch(self) -> Stream:
        return Stream(self.channel, WATCH)

    def keep_alive(self) -> Stream:
        return Stream(self.channel, KEEP_ALIVE)

    def snapshot(self, *, timeout: float = 30.0) -> Answer:
        """All messages of one Maintenance/Snapshot, as a list."""
        path, _, answer = SNAPSHOT
        call = self.channel.unary_stream(path, _serialize, answer.FromString)
        return answer_of(lambda *args, **more: list(call(*args, **more)), rpc_pb2.SnapshotRequest(), timeout=timeout)

    def close(self) -> None:
        self.channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def answer_of(stub: Callable[..., Any], request: Any, *, timeout: float, metadata: Any = None) -> Answer:
    try:
        return Answer(stub(request, timeout=timeout, metadata=metadata))
    except grpc.RpcError as error:
        return Answer(None, error.code().value[0], error.details() or "")  # type: ignore[attr-defined]


class Stream:
    """A bidirectional stream: a thread collects what arrives in `received`; the end is in `ended`."""

    def __init__(self, channel: grpc.Channel, method: Classes) -> None:
        path, _, answer = method
        self._requests: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.received: list[Any] = []
        self.ended: Answer | None = None
        self._news = threading.Condition()
        self._call = channel.stream_stream(path, _serialize, answer.FromString)(iter(self._requests.get, None))
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        ended = Answer(None)
        try:
            for message in self._call:
                self.before_taking(len(self.received))
                with self._news:
                    self.received.append(message)
                    self._news.notify_all()
        except grpc.RpcError as error:
            ended = Answer(None, error.code().value[0], error.details() or "")  # type: ignore[attr-defined]
        except Exception as error:
            ended = Answer(None, -1, repr(error))
        with self._news:
            self.ended = ended
            self._news.notify_all()

    def before_taking(self, have: int) -> None:
        """For readers that dawdle: runs in the reading thread before each message is put to the `have` others."""

    def send(self, message: Message) -> None:
        self._requests.put(message)

    def half_close(self) -> None:
        self._requests.put(None)

    def wait(self, condition: Callable[[list[Any]], Any], timeout: float = 10.0) -> bool:
        """Wait until `condition(received)` holds; False when the time is over or the stream has ended without it."""
        with self._news:
            self._news.wait_for(lambda: condition(self.received) or self.ended is not None, timeout)
            return bool(condition(self.received))

    def wait_end(self, timeout: float = 10.0) -> Answer | None:
        with self._news:
            self._news.wait_for(lambda: self.ended is not None, timeout)
            return self.ended

    def close(self) -> None:
        self._requests.put(None)
        self._call.cancel()
        self._thread.join(5.0)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


def first_get(endpoint: str, deadline: float) -> bool:
    """Poll until a linearizable Range succeeds; False when `deadline` (monotonic) has passed.

    A fresh channel for each try: a channel that failed once waits before it dials again.
    """
    host, _, port = endpoint.rpartition(":")
    while time.monotonic() < deadline:
        with (
            contextlib.suppress(OSError),
            socket.create_connection((host, int(port)), timeout=1.0),
            Client(endpoint) as client,
        ):
            request = rpc_pb2.RangeRequest(key=b"\0", limit=1)
            if client.call("Range", request, timeout=max(0.05, deadline - time.monotonic())).ok:
                return True
        time.sleep(0.005)
    return False


def wait_until(condition: Callable[[], Any], timeout: float = 10.0, pause: float = 0.01) -> bool:
    """Poll until `condition()` holds; False when the time is over."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


@contextlib.contextmanager
def clients(*endpoints: str) -> Iterator[list[Client]]:
    """Clients of several members, closed together."""
    made = [Client(endpoint) for endpoint in endpoints]
    try:
        yield made
    finally:
        for client in made:
            client.close()
