"""Every field of every RPC is wrong once: real etcd and the member under test refuse it alike, nothing changes, and the
connection goes on.

Where 3.5.1 ends of a request, or takes what newer releases refuse, only the member under test is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from e2e_bad_input import KEY, LEASE, Bad, bad_requests, prepare
from e2e_generator import Op
from e2e_pair import Pair
from e2e_rpc import UNARY, Answer
from e2e_side import Different, Side

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.cluster import Cluster
from quorate.testing.process import Command

pytestmark = pytest.mark.real


@pytest.fixture
def pair(start_group: Callable[..., Cluster], real_command: Command, subject_is_real: bool) -> Iterator[Pair]:
    """Clusters of one that hold what `prepare` makes."""
    if subject_is_real:
        pytest.skip("real etcd 3.5.1 ends of some of these")
    groups = start_group(real_command, flags=("--unsafe-no-fsync",)), start_group()
    made = Pair(*([member.endpoint for member in group.members] for group in groups))
    prepare(lambda method, request: made.run(Op(method, request)))
    yield made
    made.close()


def state_of(side: Side) -> list[Any]:
    """All that a request could change. The connection must be the first one still: the streams on it are open."""
    assert not any(stream.ended for stream in side.streams)
    asked = [
        ("Range", pb.RangeRequest(key=b"\0", range_end=b"\0")),
        ("HashKV", pb.HashKVRequest()),
        ("LeaseLeases", pb.LeaseLeasesRequest()),
        ("MemberList", pb.MemberListRequest()),
        ("Alarm", pb.AlarmRequest()),
    ]
    answers = [side.call(method, 0, request) for method, request in asked]
    assert all(answer.ok for answer in answers), answers
    return [answer.message for answer in answers]


def test_every_bad_field_is_refused_as_real_etcd_refuses_it_and_changes_nothing(pair: Pair) -> None:
    cases = list(bad_requests())
    states = [state_of(side) for side in pair.sides]
    found = []
    for case in cases:
        try:
            _judge(pair, case)
        except Different as different:
            found.append(str(different)[:1500])
        for side, state in zip(pair.sides, states, strict=True):
            if state_of(side) != state:
                found.append(f"{case} changed something at {side.clients[0].endpoint}")
                state[:] = state_of(side)
    assert not found, "\n".join([f"{len(found)} of {len(cases)}", *found])


def _judge(pair: Pair, case: Bad) -> None:
    """Raises Different."""
    if case.ours is None:
        pair.run(Op(case.method, case.request))
        return
    answer = pair.sides[1].call(case.method, 0, case.request)
    if (answer.code, answer.text) != case.ours:
        raise Different(f"{case}\n{answer}\nand not {case.ours}, although {case.why}")


def raw_on_both(pair: Pair, path: str, data: bytes) -> list[Answer]:
    return [side.clients[0].raw(path, data) for side in pair.sides]


BAD_BYTES = [
    b"\x0a\xff\xff",  # a length beyond the end
    b"\x0a",  # no length
    b"\xff" * 11,  # a number that does not end
    b"\x07",  # field 0
    b"\x0f\x00",  # a wire type that there is not
]


def test_bytes_that_are_no_message_are_an_internal_error_of_every_method(pair: Pair) -> None:
    states = [state_of(side) for side in pair.sides]
    found = []
    for method, (path, _, _) in UNARY.items():
        for data in BAD_BYTES:
            real, subject = raw_on_both(pair, path, data)
            if subject.code != real.code or subject.code != grpc.StatusCode.INTERNAL.value[0]:
                found.append(f"{method} {data!r}: {real} and {subject}")
    assert [state_of(side) for side in pair.sides] == states
    assert not found, "\n".join(found)


def test_text_that_is_not_utf_8_is_refused(pair: Pair) -> None:
    """3.5.1 takes most texts for bytes, and finds each of these wrong later."""
    states = [state_of(side) for side in pair.sides]
    cases = [
        ("MemberAdd", b"\x0a\x01\xff"),
        ("MemberUpdate", b"\x08\x07\x12\x01\xff"),
        ("Downgrade", b"\x12\x01\xff"),
        ("Downgrade", b"\x12\x043.\xff4"),
        ("Check", b"\x0a\x01\xff"),
    ]
    for method, data in cases:
        real, subject = raw_on_both(pair, UNARY[method][0], data)
        assert not real.ok and subject.code == grpc.StatusCode.INTERNAL.value[0], f"{method} {real} {subject}"
    assert [state_of(side) for side in pair.sides] == states


def test_a_method_that_there_is_not_is_unimplemented_in_every_service(pair: Pair) -> None:
    services = {path.split("/")[1] for path, _, _ in UNARY.values()} | {"etcdserverpb.Watch", "etcdserverpb.Auth", "x"}
    for service in sorted(services):
        for name in ("Nothing", "", "range"):
            real, subject = raw_on_both(pair, f"/{service}/{name}", b"")
            assert (real.code, real.text) == (subject.code, subject.text), f"/{service}/{name}"
            assert real.code == grpc.StatusCode.UNIMPLEMENTED.value[0]


def test_leases_of_odd_lengths_and_of_no_id_are_granted_as_real_etcd_grants_them(pair: Pair) -> None:
    for ttl in (-(1 << 63), -1, 0, 1, 2, 3, 9_000_000_000):
        pair.run(Op("LeaseGrant", pb.LeaseGrantRequest(ID=99, TTL=ttl)))
        pair.run(Op("LeaseRevoke", pb.LeaseRevokeRequest(ID=99)))
    for side in pair.sides:
        granted = side.call("LeaseGrant", 0, pb.LeaseGrantRequest(TTL=300))
        assert granted.ok and granted.message.ID > 0 and granted.message.TTL == 300
        assert side.call("LeaseRevoke", 0, pb.LeaseRevokeRequest(ID=granted.message.ID)).ok


WATCHES = [
    pb.WatchCreateRequest(key=b"b", range_end=b"a"),
    pb.WatchCreateRequest(key=b"b", range_end=b"b"),
    pb.WatchCreateRequest(key=KEY, filters=[9]),
    pb.WatchCreateRequest(key=KEY, filters=[-1, 0, 0, 1, 1]),
    pb.WatchCreateRequest(key=KEY, watch_id=-7),
    pb.WatchCreateRequest(key=KEY, watch_id=-7),
    pb.WatchCreateRequest(key=KEY, watch_id=(1 << 63) - 1),
    pb.WatchCreateRequest(key=KEY, watch_id=-(1 << 63)),
    pb.WatchCreateRequest(key=KEY, start_revision=(1 << 63) - 1),
    pb.WatchCreateRequest(key=KEY, start_revision=(1 << 63) - 3),
    pb.WatchCreateRequest(key=b"x" * 1_000_000),
]


def test_odd_watches_are_answered_as_real_etcd_answers_them(pair: Pair) -> None:
    for request in WATCHES:
        pair.run(Op("WatchCreate", pb.WatchRequest(create_request=request)))
    for watch_id in (0, 99, -1, (1 << 63) - 1):
        cancel = pb.WatchCancelRequest(watch_id=watch_id)
        pair.run(Op("WatchCancel", pb.WatchRequest(cancel_request=cancel)))
    pair.run(Op("Put", pb.PutRequest(key=KEY, lease=LEASE)))
    pair.run(Op("DeleteRange", pb.DeleteRangeRequest(key=KEY)))
    pair.barrier()


@pytest.mark.parametrize("path", ["/etcdserverpb.Watch/Watch", "/etcdserverpb.Lease/LeaseKeepAlive"])
def test_bytes_that_are_no_message_end_a_stream_and_not_its_connection(pair: Pair, path: str) -> None:
    ends = []
    for side in pair.sides:
        client = side.clients[0]
        call = client.channel.stream_stream(path)(iter([b"\x0a\xff\xff"]), timeout=5.0)
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        ends.append(caught.value.code())
        assert client.put(b"k", b"v").ok
    assert ends[0] == ends[1]
