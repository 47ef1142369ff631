"""Where newer releases of etcd differ from 3.5.1 the member does as they do: the allow-list, from its other side."""

from __future__ import annotations

from typing import Any

import pytest
from e2e_rpc import Client

from quorate.api.pb import rpc_pb2 as pb

WRITES = 1500


@pytest.fixture(autouse=True)
def _only_newer(subject_is_real: bool) -> None:
    if subject_is_real:
        pytest.skip("3.5.1 is the older one")


def watched(client: Client, count: int, **request: Any) -> list[Any]:
    """Create a watch and wait for so many messages."""
    with client.watch() as stream:
        stream.send(pb.WatchRequest(create_request=pb.WatchCreateRequest(**request)))
        assert stream.wait(lambda got: len(got) >= count), stream.received
        return list(stream.received)


def test_undeclared_sort_numbers_are_refused(client: Client) -> None:
    client.put(b"k", b"v")
    for order, target in ((7, 0), (0, 9), (-1, 0)):
        request = pb.RangeRequest(key=b"k", sort_order=order, sort_target=target)
        inside = pb.TxnRequest(success=[pb.RequestOp(request_range=request)])
        for answer in (client.call("Range", request), client.call("Txn", inside)):
            assert (answer.code, answer.text) == (3, "etcdserver: invalid sort option")


def test_keys_only_knows_no_lease_unless_values_are_sorted(client: Client) -> None:
    client.call("LeaseGrant", pb.LeaseGrantRequest(ID=5, TTL=100))
    client.put(b"k", b"v", lease=5)
    assert client.get(b"k", keys_only=True).message.kvs[0].lease == 0
    kv = client.get(b"k", keys_only=True, sort_target=pb.RangeRequest.VALUE).message.kvs[0]
    assert (kv.lease, kv.value) == (5, b"")


def test_a_watch_from_a_negative_revision_is_refused(client: Client) -> None:
    message = watched(client, 1, key=b"k", start_revision=-1)[0]
    assert (message.watch_id, message.created, message.canceled) == (-1, True, True)
    assert message.cancel_reason == "etcdserver: mvcc: required revision has been compacted"


def test_a_tombstone_at_the_compacted_revision_is_still_told(client: Client) -> None:
    client.put(b"k", b"v")
    deleted = client.call("DeleteRange", pb.DeleteRangeRequest(key=b"k")).message.header.revision
    client.put(b"other", b"v")
    assert client.call("Compact", pb.CompactionRequest(revision=deleted, physical=True)).ok
    events = watched(client, 2, key=b"k", start_revision=deleted)[1].events
    assert [(event.type, event.kv.mod_revision) for event in events] == [(1, deleted)]


def test_the_id_of_a_watch_that_a_compaction_ended_is_free_again(client: Client) -> None:
    for _ in range(4):
        client.put(b"k", b"v")
    client.call("Compact", pb.CompactionRequest(revision=4))
    with client.watch() as stream:
        stream.send(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"k", start_revision=2, watch_id=9)))
        assert stream.wait(lambda got: got[-1:] and got[-1].canceled)
        assert stream.received[-1].compact_revision == 4
        stream.send(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"k", watch_id=9)))
        assert stream.wait(lambda got: len(got) == 3)
        assert (stream.received[2].watch_id, stream.received[2].canceled) == (9, False)


def test_progress_is_never_told_before_the_events_it_speaks_of(client: Client) -> None:
    for number in range(WRITES):
        client.put(b"k", b"%d" % number)
    with client.watch() as stream:
        stream.send(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"k", start_revision=1)))
        for _ in range(20):
            stream.send(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))
        assert stream.wait(lambda got: sum(len(m.events) for m in got) == WRITES)
        stream.send(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))
        assert stream.wait(lambda got: got[-1].watch_id == -1)
        told = 1
        for message in stream.received:
            if message.watch_id == -1:
                assert message.header.revision <= told, "progress ahead of events"
            elif message.events:
                told = message.events[-1].kv.mod_revision


def test_a_compaction_remembers_its_hash(client: Client) -> None:
    for number in range(6):
        client.put(b"k%d" % (number % 2), b"v")
    before = client.call("HashKV", pb.HashKVRequest(revision=5)).message
    assert (before.hash_revision, before.compact_revision) == (5, -1)
    assert client.call("Compact", pb.CompactionRequest(revision=5, physical=True)).ok
    after = client.call("HashKV", pb.HashKVRequest(revision=5)).message
    assert (after.hash, after.hash_revision, after.compact_revision) == (before.hash, 5, -1)
    assert client.call("HashKV", pb.HashKVRequest()).message.compact_revision == 5


def test_status_tells_what_newer_members_tell(client: Client) -> None:
    status = client.call("Status", pb.StatusRequest()).message
    assert status.version.startswith("3.7.")
    assert status.dbSizeQuota == 2_147_483_648
    assert status.storageVersion
    assert status.HasField("downgradeInfo")
    assert status.raftIndex == status.raftAppliedIndex > 0
    assert 0 < status.dbSizeInUse <= status.dbSize
