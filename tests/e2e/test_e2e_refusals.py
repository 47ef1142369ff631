"""What real etcd refuses, the member under test refuses too: same code, same text; wrong bytes on the wire included."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from e2e_generator import Op
from e2e_pair import Pair
from e2e_rpc import Answer, Client, clients, wait_until
from e2e_side import Different

from quorate.api.pb import health_pb2
from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.process import MemberProcess

pytestmark = pytest.mark.real

KEY = b"key"


def put(key: bytes = KEY, **more: Any) -> Any:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, **more))


def get(key: bytes = KEY, **more: Any) -> Any:
    return pb.RequestOp(request_range=pb.RangeRequest(key=key, **more))


def delete(key: bytes = KEY, end: bytes = b"", **more: Any) -> Any:
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key, range_end=end, **more))


def nested(*success: Any, failure: tuple[Any, ...] = (), compare: tuple[Any, ...] = ()) -> Any:
    return pb.RequestOp(request_txn=txn(*success, failure=failure, compare=compare))


def txn(*success: Any, failure: tuple[Any, ...] = (), compare: tuple[Any, ...] = ()) -> Any:
    return pb.TxnRequest(compare=compare, success=success, failure=failure)


def exists(key: bytes = KEY) -> Any:
    return pb.Compare(key=key, target=pb.Compare.VERSION, result=pb.Compare.GREATER, version=0)


CASES: list[tuple[str, Any]] = [
    ("Put", pb.PutRequest(key=KEY, value=b"1")),
    ("Put", pb.PutRequest(key=KEY, value=b"2")),
    ("Compact", pb.CompactionRequest(revision=-1)),
    ("Compact", pb.CompactionRequest(revision=0)),
    ("Compact", pb.CompactionRequest(revision=0)),
    ("Compact", pb.CompactionRequest(revision=4)),
    ("Compact", pb.CompactionRequest(revision=3, physical=True)),
    ("Compact", pb.CompactionRequest(revision=3)),
    ("Compact", pb.CompactionRequest(revision=-7)),
    ("Range", pb.RangeRequest()),
    ("Range", pb.RangeRequest(range_end=b"x")),
    ("Range", pb.RangeRequest(key=KEY, revision=2)),
    ("Range", pb.RangeRequest(key=KEY, revision=2, serializable=True)),
    ("Range", pb.RangeRequest(key=KEY, revision=4)),
    ("Range", pb.RangeRequest(key=KEY, revision=1 << 62)),
    ("Range", pb.RangeRequest(key=b"z", range_end=b"a", revision=2)),
    ("Put", pb.PutRequest()),
    ("Put", pb.PutRequest(value=b"x", ignore_value=True)),
    ("Put", pb.PutRequest(key=KEY, value=b"x", ignore_value=True)),
    ("Put", pb.PutRequest(key=KEY, lease=5, ignore_lease=True)),
    ("Put", pb.PutRequest(key=KEY, value=b"x", lease=5, ignore_value=True, ignore_lease=True)),
    ("Put", pb.PutRequest(key=b"none", ignore_value=True)),
    ("Put", pb.PutRequest(key=b"none", ignore_lease=True)),
    ("Put", pb.PutRequest(key=b"none", ignore_lease=True, ignore_value=True)),
    ("Put", pb.PutRequest(key=KEY, lease=5)),
    ("Put", pb.PutRequest(key=b"none", lease=5, ignore_value=True)),
    ("Put", pb.PutRequest(key=KEY, value=b"x" * 1_572_864)),
    ("Put", pb.PutRequest(key=KEY, value=b"x" * 2_097_152)),
    ("DeleteRange", pb.DeleteRangeRequest()),
    ("DeleteRange", pb.DeleteRangeRequest(range_end=b"\0")),
    ("DeleteRange", pb.DeleteRangeRequest(key=b"z", range_end=b"a")),
    ("Txn", txn()),
    ("Txn", txn(pb.RequestOp())),
    ("Txn", txn(failure=(pb.RequestOp(),))),
    ("Txn", txn(compare=(pb.Compare(),))),
    ("Txn", txn(put(b""))),
    ("Txn", txn(get(b""))),
    ("Txn", txn(delete(b""))),
    ("Txn", txn(nested(put(b"")))),
    ("Txn", txn(nested(compare=(pb.Compare(),)))),
    ("Txn", txn(failure=(nested(failure=(delete(b""),)),))),
    ("Txn", txn(*(get() for _ in range(128)))),
    ("Txn", txn(*(get() for _ in range(129)))),
    ("Txn", txn(failure=tuple(get() for _ in range(129)))),
    ("Txn", txn(compare=tuple(exists() for _ in range(129)))),
    ("Txn", txn(*(get() for _ in range(100)), nested(*(get() for _ in range(27))))),
    ("Txn", txn(*(get() for _ in range(100)), nested(*(get() for _ in range(28))))),
    ("Txn", txn(put(), put())),
    ("Txn", txn(put(), delete())),
    ("Txn", txn(delete(), put())),
    ("Txn", txn(delete(b"a", b"z"), put())),
    ("Txn", txn(delete(b"a", b"\0"), put())),
    ("Txn", txn(delete(), delete(b"a", b"z"))),
    ("Txn", txn(put(value=b"t"), failure=(put(),))),
    ("Txn", txn(nested(put(), failure=(put(),)))),
    ("Txn", txn(nested(put()), put())),
    ("Txn", txn(nested(put()), nested(put()))),
    ("Txn", txn(nested(put()), nested(delete()))),
    ("Txn", txn(nested(delete()), nested(put()))),
    ("Txn", txn(delete(), nested(put()))),
    ("Txn", txn(nested(put()), delete())),
    ("Txn", txn(put(), nested(delete(b"a", b"z")))),
    ("Txn", txn(nested(delete(b"a", b"z")), put())),
    ("Txn", txn(nested(nested(put())), put())),
    ("Put", pb.PutRequest(key=KEY, value=b"3")),
    ("Txn", txn(get(revision=1))),
    ("Txn", txn(get(revision=1000))),
    ("Txn", txn(put(b"n"), get(revision=1))),
    ("Txn", txn(put(b"n"), get(revision=1000))),
    ("Txn", txn(failure=(put(b"n"), get(revision=1)))),
    ("Txn", txn(nested(put(b"n"), get(revision=1)))),
    ("Txn", txn(put(b"n", lease=5))),
    ("Txn", txn(failure=(put(b"n", lease=5),))),
    ("Txn", txn(put(b"n", ignore_value=True))),
    ("Txn", txn(put(b"n", value=b"v", ignore_value=True))),
    ("Txn", txn(put(b"n", lease=1, ignore_lease=True))),
    ("Txn", txn(put(b"n"), nested(put(b"m", ignore_lease=True)))),
    ("Txn", txn(put(b"n", value=b"x" * 1_572_864))),
    ("LeaseGrant", pb.LeaseGrantRequest(ID=7, TTL=9_000_000_000)),
    ("LeaseGrant", pb.LeaseGrantRequest(ID=7, TTL=100)),
    ("LeaseGrant", pb.LeaseGrantRequest(ID=8, TTL=9_000_000_001)),
    ("LeaseGrant", pb.LeaseGrantRequest(ID=7, TTL=9_000_000_001)),
    ("LeaseGrant", pb.LeaseGrantRequest(ID=9, TTL=0)),
    ("LeaseRevoke", pb.LeaseRevokeRequest(ID=9)),
    ("LeaseGrant", pb.LeaseGrantRequest(ID=-9, TTL=-5)),
    ("LeaseRevoke", pb.LeaseRevokeRequest(ID=-9)),
    ("LeaseRevoke", pb.LeaseRevokeRequest(ID=-9)),
    ("LeaseRevoke", pb.LeaseRevokeRequest()),
    ("LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=1234)),
    ("LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=1234, keys=True)),
    ("LeaseTimeToLive", pb.LeaseTimeToLiveRequest()),
    ("KeepAlive", pb.LeaseKeepAliveRequest(ID=1234)),
    ("KeepAlive", pb.LeaseKeepAliveRequest()),
    ("LeaseLeases", pb.LeaseLeasesRequest()),
    ("HashKV", pb.HashKVRequest(revision=2)),
    ("HashKV", pb.HashKVRequest(revision=1000)),
    ("HashKV", pb.HashKVRequest(revision=-1)),
    ("MemberAdd", pb.MemberAddRequest()),
    ("MemberAdd", pb.MemberAddRequest(peerURLs=["nonsense"])),
    ("MemberAdd", pb.MemberAddRequest(peerURLs=["ftp://127.0.0.1:1"])),
    ("MemberAdd", pb.MemberAddRequest(peerURLs=["http://127.0.0.1:1/path"])),
    ("MemberRemove", pb.MemberRemoveRequest(ID=1)),
    ("MoveLeader", pb.MoveLeaderRequest(targetID=1)),
    ("Alarm", pb.AlarmRequest()),
    ("Alarm", pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, memberID=5, alarm=pb.NOSPACE)),
    ("Range", pb.RangeRequest(key=b"\0", range_end=b"\0")),
]  # fmt: skip


@pytest.fixture
def both(real: MemberProcess, subject: MemberProcess) -> Iterator[list[Client]]:
    with clients(real.endpoint, subject.endpoint) as made:
        yield made


def test_bad_requests_are_refused_as_real_etcd_refuses_them(
    real: MemberProcess, subject: MemberProcess, subject_is_real: bool
) -> None:
    pair = Pair([real.endpoint], [subject.endpoint], strict=subject_is_real)
    found = []
    for number, (method, request) in enumerate(CASES):
        try:
            pair.run(Op(method, request))
        except Different as different:
            found.append(f"case {number}: {str(different)[:1500]}")
    pair.close()
    assert not found, "\n".join([f"{len(found)} of {len(CASES)} cases differ", *found])


ALARM = [
    ("Put", pb.PutRequest(key=KEY, value=b"1")),
    ("LeaseGrant", pb.LeaseGrantRequest(ID=7, TTL=1000)),
    ("Alarm", pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=5, alarm=pb.NOSPACE)),
    ("Alarm", pb.AlarmRequest()),
    ("Status", pb.StatusRequest()),
    ("Put", pb.PutRequest(key=KEY, value=b"2")),
    ("Put", pb.PutRequest()),
    ("LeaseGrant", pb.LeaseGrantRequest(ID=8, TTL=1000)),
    ("LeaseRevoke", pb.LeaseRevokeRequest(ID=7)),
    ("Txn", txn(put())),
    ("Txn", txn(failure=(put(),))),
    ("Txn", txn(delete())),
    ("DeleteRange", pb.DeleteRangeRequest(key=KEY)),
    ("Range", pb.RangeRequest(key=KEY)),
    ("Compact", pb.CompactionRequest(revision=2)),
    ("Alarm", pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, memberID=5, alarm=pb.NOSPACE)),
    ("Put", pb.PutRequest(key=KEY, value=b"3")),
    ("Range", pb.RangeRequest(key=KEY)),
]  # fmt: skip


def test_the_nospace_alarm_blocks_what_real_etcd_blocks(
    real: MemberProcess, subject: MemberProcess, subject_is_real: bool
) -> None:
    pair = Pair([real.endpoint], [subject.endpoint], strict=subject_is_real)
    try:
        for method, request in ALARM:
            pair.run(Op(method, request))
    finally:
        pair.close()


def compare_raw(both: list[Client], path: str, data: bytes, *, prefix: bool = False, **more: Any) -> Answer:
    left, right = (client.raw(path, data, **more) for client in both)
    if prefix:
        start = left.text[: left.text.index(":", 6) + 1]
        assert right.code == left.code, f"{left} {right}"
        assert right.text.startswith(start), f"{left} {right}"
    else:
        assert (left.code, left.text) == (right.code, right.text)
    return left


def test_an_unknown_service_or_method_is_unimplemented(both: list[Client]) -> None:
    for path in ("/etcdserverpb.KV/Nothing", "/nothing.Service/Range"):
        assert compare_raw(both, path, b"").code == grpc.StatusCode.UNIMPLEMENTED.value[0]


def test_an_undecodable_body_is_an_internal_error(both: list[Client]) -> None:
    for path in ("/etcdserverpb.KV/Range", "/etcdserverpb.KV/Put", "/etcdserverpb.Lease/LeaseGrant"):
        answer = compare_raw(both, path, b"\x0a\xff\xff", prefix=True)
        assert answer.code == grpc.StatusCode.INTERNAL.value[0]


def test_unknown_fields_are_skipped(both: list[Client]) -> None:
    data = pb.PutRequest(key=b"k", value=b"v").SerializeToString() + b"\xf8\x07\x01"
    for client in both:
        assert client.raw("/etcdserverpb.KV/Put", data).code == 0
        assert client.get(b"k").message.kvs[0].value == b"v"


def test_metadata_that_asks_for_a_leader_is_served(both: list[Client]) -> None:
    request = pb.RangeRequest(key=b"k").SerializeToString()
    for metadata in (
        [("hasleader", "true")],
        [("hasleader", "no")],
        [("client-api-version", "3.6.0")],
        [("x-bin", b"\x00\xff")],
    ):
        assert compare_raw(both, "/etcdserverpb.KV/Range", request, metadata=metadata).code == 0


def test_gzip_requests_are_served(both: list[Client]) -> None:
    for client in both:
        stub = client.channel.unary_unary("/etcdserverpb.KV/Put", response_deserializer=pb.PutResponse.FromString)
        request = pb.PutRequest(key=b"zip", value=b"z" * 5000).SerializeToString()
        stub(request, timeout=5, compression=grpc.Compression.Gzip)
        assert client.get(b"zip").message.kvs[0].value == b"z" * 5000


def test_health_check_says_serving(both: list[Client]) -> None:
    answers = [client.call("Check", health_pb2.HealthCheckRequest()) for client in both]
    assert [answer.message.status for answer in answers] == [health_pb2.HealthCheckResponse.SERVING] * 2
    unknown = [client.call("Check", health_pb2.HealthCheckRequest(service="x")) for client in both]
    assert (unknown[0].code, unknown[0].text) == (unknown[1].code, unknown[1].text)


def test_a_health_watch_says_what_the_check_says(both: list[Client]) -> None:
    for service in ("", "x"):
        request = health_pb2.HealthCheckRequest(service=service)
        told = []
        for client in both:
            watch = client.channel.unary_stream(
                "/grpc.health.v1.Health/Watch",
                health_pb2.HealthCheckRequest.SerializeToString,
                health_pb2.HealthCheckResponse.FromString,
            )
            call = watch(request, timeout=10)
            told.append(next(call).status)
            call.cancel()
        assert told[0] == told[1], service


def test_watches_are_refused_as_real_etcd_refuses_them(both: list[Client]) -> None:
    requests = [
        pb.WatchCreateRequest(key=b"b", range_end=b"a"),
        pb.WatchCreateRequest(key=b"b", range_end=b"b"),
        pb.WatchCreateRequest(range_end=b"\0"),
        pb.WatchCreateRequest(key=b"a", watch_id=5),
        pb.WatchCreateRequest(key=b"b", watch_id=5),
        pb.WatchCreateRequest(key=b"b", watch_id=1),
        pb.WatchCreateRequest(key=b"b"),
        pb.WatchCreateRequest(key=b"b"),
        pb.WatchCreateRequest(key=b"b", watch_id=-7),
    ]
    seen = []
    for client in both:
        with client.watch() as stream:
            for number, request in enumerate(requests):
                stream.send(pb.WatchRequest(create_request=request))
                stream.wait(lambda got, number=number: len(got) > number)
            stream.send(pb.WatchRequest())
            stream.send(pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=99)))
            stream.send(pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=5)))
            stream.wait(lambda got: len(got) > len(requests))
            seen.append(
                [(m.watch_id, m.created, m.canceled, m.cancel_reason, m.header.revision) for m in stream.received]
            )
    assert seen[0] == seen[1]


def test_a_half_closed_watch_goes_on_and_a_half_closed_keep_alive_ends(both: list[Client]) -> None:
    for client in both:
        with client.watch() as watch:
            watch.send(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"half")))
            watch.half_close()
            assert watch.wait(lambda got: got)
            client.put(b"half", b"1")
            assert watch.wait(lambda got: any(m.events for m in got)), f"{client.endpoint} {watch.ended}"
        with client.keep_alive() as keep:
            keep.send(pb.LeaseKeepAliveRequest(ID=77))
            keep.half_close()
            ended = keep.wait_end()
            assert ended is not None and ended.ok, f"{client.endpoint} {ended}"
            assert len(keep.received) == 1


def test_a_deadline_that_passes_is_reported_and_does_no_harm(both: list[Client]) -> None:
    """3.5.1 may say Unknown where newer releases say DeadlineExceeded; the client's own clock speaks first anyway."""
    for client in both:
        answer = client.call("Range", pb.RangeRequest(key=b"k"), timeout=0.0005)
        assert answer.code in (0, grpc.StatusCode.DEADLINE_EXCEEDED.value[0], grpc.StatusCode.UNKNOWN.value[0])
        assert client.put(b"k", b"v").ok


def test_an_expired_lease_takes_its_keys_with_it_at_one_revision(both: list[Client]) -> None:
    def live(client: Client) -> list[Any]:
        client.call("LeaseGrant", pb.LeaseGrantRequest(ID=42, TTL=2))
        for key in (b"l/2", b"l/1", b"l/3"):
            client.put(key, b"x", lease=42)
        with client.watch() as watch:
            everything = pb.WatchCreateRequest(key=b"l/", range_end=b"l0", start_revision=1, prev_kv=True)
            watch.send(pb.WatchRequest(create_request=everything))
            watch.wait(lambda got: sum(len(m.events) for m in got) == 6, 15)
            events = [event for message in watch.received for event in message.events]
        assert wait_until(lambda: not client.get(b"l/1").message.kvs)
        ttl = client.call("LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=42)).message.TTL
        return [[(e.type, e.kv.key, e.kv.mod_revision, e.prev_kv.value, e.prev_kv.lease) for e in events], ttl]

    with ThreadPoolExecutor(2) as pool:
        left, right = pool.map(live, both)
    assert left == right
    assert len(left[0]) == 6
