"""Watch responses that are too large for one message, and observers of an election, beside real etcd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from e2e_rpc import Client, clients

from quorate.api.pb import election_pb2
from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.process import MemberProcess

pytestmark = pytest.mark.real

LARGE = 150_000
LIMIT = 1_572_864 + 524_288


@pytest.fixture
def both(real: MemberProcess, subject: MemberProcess) -> Iterator[list[Client]]:
    with clients(real.endpoint, subject.endpoint) as made:
        yield made


def history(client: Client, sizes: list[list[int]], **create: Any) -> list[tuple[bool, list[tuple[bytes, int]]]]:
    """Of each response to a watch of everything: whether more of it follows, and keys and sizes of its events.

    Every list of sizes is put in one transaction."""
    wanted = 0
    for number, values in enumerate(sizes):
        puts = [pb.PutRequest(key=b"k%d/%d" % (number, n), value=bytes(size)) for n, size in enumerate(values)]
        answer = client.call("Txn", pb.TxnRequest(success=[pb.RequestOp(request_put=put) for put in puts]))
        assert answer.ok, answer
        wanted += len(puts)
    with client.watch() as watch:
        request = pb.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=2, **create)
        watch.send(pb.WatchRequest(create_request=request))
        assert watch.wait(lambda got: sum(len(m.events) for m in got) == wanted, 20), watch.ended
        return [(m.fragment, [(e.kv.key, len(e.kv.value)) for e in m.events]) for m in watch.received if m.events]


@pytest.mark.parametrize("fragment", [False, True])
def test_a_large_history_comes_in_the_pieces_of_real_etcd(both: list[Client], fragment: bool) -> None:
    sizes = [[LARGE]] * 20 + [[LARGE] * 10, [1] * 100, [LARGE] * 9, [1_500_000], [1_500_000], [5]]
    real, subject = (history(client, sizes, fragment=fragment) for client in both)
    assert [event for _, events in real for event in events] == [event for _, events in subject for event in events]
    assert real == subject
    assert any(more for more, _ in subject) == fragment
    if fragment:
        assert all(sum(size for _, size in events) < LIMIT for _, events in subject)


def test_an_observer_is_told_what_leaders_say_as_by_real_etcd(both: list[Client]) -> None:
    path = "/v3electionpb.Election/Observe"
    told = []
    for client in both:
        observe = client.channel.unary_stream(
            path, election_pb2.LeaderRequest.SerializeToString, election_pb2.LeaderResponse.FromString
        )
        for lease in (5, 6):
            assert client.call("LeaseGrant", pb.LeaseGrantRequest(ID=lease, TTL=1000)).ok
        seen = []
        campaign = election_pb2.CampaignRequest(name=b"e", lease=5, value=b"one")
        leader = client.call("Campaign", campaign).message.leader
        call = observe(election_pb2.LeaderRequest(name=b"e"), timeout=20)
        seen.append(next(call))
        assert client.call("Proclaim", election_pb2.ProclaimRequest(leader=leader, value=b"two")).ok
        seen.append(next(call))
        assert client.call("Resign", election_pb2.ResignRequest(leader=leader)).ok
        campaign = election_pb2.CampaignRequest(name=b"e", lease=6, value=b"three")
        assert client.call("Campaign", campaign).ok
        seen.append(next(call))
        call.cancel()
        told.append([(m.header.revision, m.kv.SerializeToString()) for m in seen])
    assert told[0] == told[1]
