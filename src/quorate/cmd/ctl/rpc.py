"""Calls of etcd's methods, over one or several endpoints.

An endpoint that cannot be reached is passed over for the next one until the time is up: nothing has been sent then.
When no answer comes to what was sent, only what changes nothing is asked again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from quorate.api.errors import Code, from_status
from quorate.api.plain import Message, decode, encode
from quorate.cmd.ctl.failures import CallFail
from quorate.transport.grpc.status import DEADLINE_TEXT, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quorate.cmd.ctl.endpoints import Endpoint
    from quorate.transport.grpc.blocking_stream import BlockingStream

_SERVICES = {
    "KV": "Range RangeStream Put DeleteRange Txn Compact",
    "Watch": "Watch",
    "Lease": "LeaseGrant LeaseRevoke LeaseKeepAlive LeaseTimeToLive LeaseLeases",
    "Cluster": "MemberAdd MemberRemove MemberUpdate MemberList MemberPromote",
    "Maintenance": "Alarm Status Defragment Hash HashKV Snapshot MoveLeader Downgrade",
    "Auth": "AuthEnable AuthDisable AuthStatus Authenticate UserAdd UserGet UserList UserDelete UserChangePassword "
    "UserGrantRole UserRevokeRole RoleAdd RoleGet RoleList RoleDelete RoleGrantPermission RoleRevokePermission",
}
PATHS = {name: f"/etcdserverpb.{service}/{name}" for service, names in _SERVICES.items() for name in names.split()}
KINDS = {"Compact": "Compaction"} | {
    name: f"Auth{name}" for name in _SERVICES["Auth"].split() if name.startswith(("User", "Role"))
}
"""Messages that are not named after their methods."""
REQUESTS = {"RangeStream": "RangeRequest"}
_READS = (
    "Range LeaseTimeToLive LeaseLeases MemberList Status Hash HashKV "
    "AuthStatus Authenticate UserGet UserList RoleGet RoleList"
)
READS = frozenset(_READS.split())
"""May be asked twice."""
REQUIRE_LEADER = ("hasleader", "true")

PAUSE = 0.025
"""Seconds before all endpoints are asked again."""
MOST_REFUSALS = 100
"""How often a member may say that it has no leader, or the like, to what may be asked twice."""
UNSENT = ("Error while dialing", "the server takes no calls", "authentication handshake failed", "REFUSED_STREAM")


class Client:
    """Calls to whichever of these endpoints answers. `timeout` in seconds is for each call, `token` goes with it."""

    def __init__(self, endpoints: Sequence[Endpoint], timeout: float, token: str = "") -> None:
        self.endpoints = endpoints
        self.timeout = timeout
        self.token = token
        self._at = 0

    def call(self, method: str, /, **fields: Any) -> Message:
        """The answer. Raises CallFail."""
        return self.ask(method, fields)

    def ask(self, method: str, fields: Mapping[str, Any], timeout: float | None = None) -> Message:
        """The answer to a request with these fields. `timeout` in place of the client's own. Raises CallFail."""
        kind = KINDS.get(method, method)
        request = encode(f"{kind}Request", fields)
        until = time.monotonic() + (self.timeout if timeout is None else timeout)
        asked = 0
        while True:
            left = until - time.monotonic()
            try:
                if left <= 0:
                    raise Status(Code.DEADLINE_EXCEEDED, DEADLINE_TEXT)
                channel = self.endpoints[self._at].channel()
                data = channel.unary(PATHS[method], request, timeout=left, metadata=self.metadata())
                return decode(f"{kind}Response", data)
            except Status as status:
                asked += 1
                if not _may_try_again(status, method) or (asked >= MOST_REFUSALS and _is_etcds(status)):
                    raise failure(status) from None
            self._at = (self._at + 1) % len(self.endpoints)
            if asked % len(self.endpoints) == 0:
                time.sleep(max(0.0, min(PAUSE, until - time.monotonic())))

    def stream(
        self, method: str, first: Mapping[str, Any] | None = None, *, last: bool = False, leader: bool = False
    ) -> Stream:
        """Open a stream at an endpoint that can be reached, with a first message. Raises CallFail."""
        kind = KINDS.get(method, method)
        request = None if first is None else encode(REQUESTS.get(method, f"{kind}Request"), first)
        metadata = self.metadata() + ([REQUIRE_LEADER] if leader else [])
        until = time.monotonic() + self.timeout
        while True:
            try:
                channel = self.endpoints[self._at].channel()
                found = channel.stream(PATHS[method], metadata=metadata, first=request, last=last)
                return Stream(found, kind)
            except Status as status:
                if not _may_try_again(status, "Range"):
                    raise failure(status) from None
            self._at = (self._at + 1) % len(self.endpoints)
            if time.monotonic() + PAUSE > until:
                raise CallFail(Code.DEADLINE_EXCEEDED, DEADLINE_TEXT)
            time.sleep(PAUSE)

    def metadata(self) -> list[tuple[str, str]]:
        return [("token", self.token)] if self.token else []

    def at(self, endpoint: Endpoint) -> Client:
        """A client of one of the endpoints alone."""
        return Client([endpoint], self.timeout, self.token)

    def close(self) -> None:
        for endpoint in self.endpoints:
            endpoint.close()


class Stream:
    """A call of many messages."""

    def __init__(self, stream: BlockingStream, kind: str) -> None:
        self._stream = stream
        self._kind = kind

    def send(self, **fields: Any) -> None:
        self._stream.send(encode(f"{self._kind}Request", fields))

    def receive(self, timeout: float | None = None) -> Message | None:
        """The next message, None after the last. Raises CallFail, TimeoutError."""
        try:
            data = self._stream.receive(timeout)
        except Status as status:
            raise failure(status) from None
        return None if data is None else decode(f"{self._kind}Response", data)

    def cancel(self) -> None:
        self._stream.cancel()


def failure(status: Status) -> CallFail:
    """A status as etcdctl words it: errors of etcd's by their text alone."""
    code, text = status.code, status.message
    if _is_etcds(status) or text == DEADLINE_TEXT:
        return CallFail(code, text)
    name = "Canceled" if code == Code.CANCELLED else "".join(word.capitalize() for word in code.name.split("_"))
    return CallFail(code, f"rpc error: code = {name} desc = {text}")


def _may_try_again(status: Status, method: str) -> bool:
    if status.code != Code.UNAVAILABLE:
        return False
    return method in READS or any(words in status.message for words in UNSENT)


def _is_etcds(status: Status) -> bool:
    """Whether a member has said so, not the connection."""
    return from_status(status.code, status.message) is not None
