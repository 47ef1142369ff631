"""What a member asks another one over its peer listener, besides raft: to renew a lease, how long it lives, hashes.

    renew          POST /leases            LeaseKeepAliveRequest ──► LeaseKeepAliveResponse
    renew_all      POST /leases            LeaseRenewRequest     ──► LeaseRenewResponse
    time_to_live   POST /leases/internal   LeaseInternalRequest  ──► LeaseInternalResponse
    hash_kv        GET  /members/hashkv    {"revision":7}        ──► {"header":{"revision":9},"hash":1,...}

Paths, bodies and statuses are those of etcd 3.5 and later, so either end may be one. A verdict that etcd names is
raised as its EtcdError; whatever else comes back is a PeerCallError: ask again, or another URL. To etcd, many renewals
in one request are the first of them and something it does not know; its answer tells that it is none of ours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.message import DecodeError

from quorate.api import errors
from quorate.api.pb import lease_pb2, rpc_pb2
from quorate.lease import TimeToLive
from quorate.storage.mvcc.hashes import HashResult
from quorate.transport.web import HttpError

if TYPE_CHECKING:
    from quorate.transport.http1_client import HttpClient, HttpReply

LEASES_PATH = "/leases"
LEASES_INTERNAL_PATH = "/leases/internal"
HASH_PATH = "/members/hashkv"
CLUSTER_ID_HEADER = "X-Etcd-Cluster-ID"
PROTOBUF = "application/protobuf"
JSON = "application/json"

MAX_RENEWAL_BYTES = 64 * 1024
"""Size of the answer to a renewal, and to a question for a hash."""
MAX_TIME_TO_LIVE_BYTES = 100 * 1024 * 1024
"""Size of an answer that may list all keys of a lease."""
MAX_TEXT = 200
"""Bytes of an error's body that are worth repeating."""

ALONE = -1
"""In place of a TTL: ask for this lease alone, it takes time."""

LEASE_NOT_FOUND = "lease not found"
CATCH_UP_TIMEOUT = "waiting for node to catch up its applied index has timed out"
CLUSTER_ID_MISMATCH = "cluster ID mismatch"


class PeerCallError(Exception):
    """The other member was not reached, or gave no answer that says yes or no."""


class PeerHash(NamedTuple):
    """The hash that a member computed, and the revision its store had then."""

    found: HashResult
    current_revision: int


async def renew(http: HttpClient, url: str, lease_id: int, timeout: float) -> int:
    """Have the leader at peer URL `url` renew a lease; its TTL. Raises LeaseNotFound, PeerCallError."""
    body = rpc_pb2.LeaseKeepAliveRequest(ID=lease_id).SerializeToString()
    reply = await _post(http, url + LEASES_PATH, body, timeout, MAX_RENEWAL_BYTES)
    answer = _parse(rpc_pb2.LeaseKeepAliveResponse, reply.body)
    if lease_id != answer.ID:
        raise PeerCallError("the answer speaks of another lease")
    return int(answer.TTL)


async def renew_all(http: HttpClient, url: str, lease_ids: Sequence[int], timeout: float) -> list[int | None]:
    """Have the leader renew several leases: for each its TTL, 0 if it is gone, ALONE, or None if the leader takes no
    more than one at a time. Raises PeerCallError."""
    more = lease_ids[1:]
    body = lease_pb2.LeaseRenewRequest(ID=lease_ids[0], more=more).SerializeToString()
    unanswered: list[int | None] = [None] * len(more)
    try:
        reply = await _post(http, url + LEASES_PATH, body, timeout, MAX_RENEWAL_BYTES)
    except errors.LeaseNotFound:
        return [0, *unanswered]
    answer = _parse(lease_pb2.LeaseRenewResponse, reply.body)
    if lease_ids[0] != answer.ID:
        raise PeerCallError("the answer speaks of another lease")
    return [answer.TTL, *(answer.more_TTL if len(answer.more_TTL) == len(more) else unanswered)]


async def time_to_live(http: HttpClient, url: str, lease_id: int, keys: bool, timeout: float) -> TimeToLive:
    """What the leader at `url` knows of a lease. Raises LeaseNotFound, PeerCallError."""
    question = rpc_pb2.LeaseTimeToLiveRequest(ID=lease_id, keys=keys)
    body = lease_pb2.LeaseInternalRequest(LeaseTimeToLiveRequest=question).SerializeToString()
    reply = await _post(http, url + LEASES_INTERNAL_PATH, body, timeout, MAX_TIME_TO_LIVE_BYTES)
    answer = _parse(lease_pb2.LeaseInternalResponse, reply.body).LeaseTimeToLiveResponse
    if lease_id != answer.ID:
        raise PeerCallError("the answer speaks of another lease")
    return TimeToLive(answer.TTL, answer.grantedTTL, list(answer.keys))


async def hash_kv(http: HttpClient, urls: Sequence[str], cluster_id: int, revision: int, timeout: float) -> PeerHash:
    """Hash of a member's store at `revision`, asked of its peer URLs in turn.

    Raises Compacted, FutureRevision, ClusterIdMismatch as the member does; PeerCallError when none of them answers.
    """
    failure = PeerCallError("the member has no peer URL")
    for url in urls:
        try:
            return await _hash_kv(http, url, cluster_id, revision, timeout)
        except PeerCallError as err:
            failure = err
    raise failure


async def _hash_kv(http: HttpClient, url: str, cluster_id: int, revision: int, timeout: float) -> PeerHash:
    headers = [("Content-Type", JSON), (CLUSTER_ID_HEADER, f"{cluster_id:x}")]
    body = json.dumps({"revision": revision}).encode()
    reply = await _request(http, "GET", url + HASH_PATH, headers, body, timeout, MAX_RENEWAL_BYTES)
    text = reply.body.decode(errors="replace")
    for status, error in ((400, errors.Compacted), (400, errors.FutureRevision), (412, errors.ClusterIdMismatch)):
        if reply.status == status and error.text.removeprefix("etcdserver: ") in text:
            raise error()
    _expect_ok(reply)
    try:
        fields = json.loads(reply.body)
        # 3.5 does not repeat the revision that it was asked for.
        at = _number(fields, "hash_revision") or revision
        found = HashResult(_number(fields, "hash"), at, _number(fields, "compact_revision"))
        return PeerHash(found, _number(fields.get("header") or {}, "revision"))
    except (ValueError, TypeError, AttributeError, RecursionError) as err:
        raise PeerCallError(f"no hash: {err}") from None


def _number(fields: Any, name: str) -> int:
    """A member left out is zero."""
    number = fields.get(name, 0)
    if type(number) is not int:
        raise ValueError(f"{name} is no whole number")
    return number


async def _post(http: HttpClient, url: str, body: bytes, timeout: float, limit: int) -> HttpReply:
    reply = await _request(http, "POST", url, [("Content-Type", PROTOBUF)], body, timeout, limit)
    # Other services answer 404 to paths they do not know; only this text means a lease.
    if reply.status == 404 and reply.body.strip() == LEASE_NOT_FOUND.encode():
        raise errors.LeaseNotFound()
    return _expect_ok(reply)


async def _request(
    http: HttpClient, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes, timeout: float, limit: int
) -> HttpReply:
    try:
        return await http.request(method, url, headers=headers, body=body, timeout=timeout, body_limit=limit)
    except (OSError, HttpError) as err:  # TimeoutError is an OSError
        raise PeerCallError(str(err) or type(err).__name__) from None


def _expect_ok(reply: HttpReply) -> HttpReply:
    if reply.status != 200:
        text = reply.body[:MAX_TEXT].decode(errors="replace").strip()
        raise PeerCallError(f"status {reply.status}: {text}")
    return reply


def _parse(kind: Any, body: bytes) -> Any:
    try:
        return kind.FromString(body)
    except DecodeError:
        raise PeerCallError("the answer is no message") from None
