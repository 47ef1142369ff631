"""Keys and values of every bucket are byte for byte what etcd writes, and read back as what was put."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import google_crc32c
import pytest

from quorate.api.pb import auth_pb2
from quorate.api.raftpb import ConfState
from quorate.storage import schema
from quorate.storage.backend import Backend, Bucket


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Backend]:
    backend = Backend.open(tmp_path / "db", schema.BUCKETS, unsafe_no_fsync=True)
    yield backend
    backend.close()


def rows(store: Backend, bucket: Bucket) -> dict[bytes, bytes]:
    return dict(store.scan(bucket))


def test_buckets_stand_in_name_order_with_ids_from_zero() -> None:
    names = [bucket.name for bucket in schema.BUCKETS]
    assert names == sorted(names)
    assert [bucket.id for bucket in schema.BUCKETS] == list(range(10))


def test_index_and_term_are_big_endian_and_zero_is_not_written(store: Backend) -> None:
    assert schema.get_applied(store) == (0, 0)
    schema.put_applied(store, 0, 0)
    assert rows(store, schema.META) == {}
    schema.put_applied(store, 258, 2)
    assert rows(store, schema.META) == {
        b"consistent_index": bytes.fromhex("0000000000000102"),
        b"term": bytes.fromhex("0000000000000002"),
    }
    assert schema.get_applied(store) == schema.Applied(index=258, term=2)


def test_conf_state_is_json_with_filled_members_and_auto_leave(store: Backend) -> None:
    assert schema.get_conf_state(store) is None
    one = ConfState(voters=(9886556129531877777,))
    schema.put_conf_state(store, one)
    assert rows(store, schema.META) == {b"confState": b'{"voters":[9886556129531877777],"auto_leave":false}'}
    assert schema.get_conf_state(store) == one
    joint = ConfState((1, 2), (3,), (4,), (5,), True)
    schema.put_conf_state(store, joint)
    assert rows(store, schema.META)[b"confState"] == (
        b'{"voters":[1,2],"learners":[3],"voters_outgoing":[4],"learners_next":[5],"auto_leave":true}'
    )
    assert schema.get_conf_state(store) == joint


def test_storage_version_is_text_or_told_from_the_fields_of_3_5(store: Backend) -> None:
    assert schema.get_storage_version(store) is None
    schema.put_conf_state(store, ConfState((1,)))
    assert schema.get_storage_version(store) is None
    schema.put_applied(store, 5, 2)
    assert schema.get_storage_version(store) == "3.5.0"
    schema.put_storage_version(store, "3.7.0")
    assert store.get(schema.META, b"storageVersion") == b"3.7.0"
    assert schema.get_storage_version(store) == "3.7.0"
    schema.delete_storage_version(store)
    assert schema.get_storage_version(store) == "3.5.0"


def test_compact_revisions_are_17_byte_revisions(store: Backend) -> None:
    assert schema.get_scheduled_compact_revision(store) is None
    assert schema.get_finished_compact_revision(store) is None
    schema.put_scheduled_compact_revision(store, 12)
    schema.put_finished_compact_revision(store, 11)
    assert rows(store, schema.META) == {
        b"scheduledCompactRev": bytes.fromhex("000000000000000c5f0000000000000000"),
        b"finishedCompactRev": bytes.fromhex("000000000000000b5f0000000000000000"),
    }
    assert schema.get_scheduled_compact_revision(store) == 12
    assert schema.get_finished_compact_revision(store) == 11


def test_leases_are_keyed_by_twos_complement_and_negative_ones_survive(store: Backend) -> None:
    kept = [
        schema.LeaseRecord(7, 60),
        schema.LeaseRecord((1 << 63) - 1, 9_000_000_000, 5),
        schema.LeaseRecord(-(1 << 63), 2),
        schema.LeaseRecord(-2, 2),
    ]
    for lease in reversed(kept):
        schema.put_lease(store, lease)
    assert rows(store, schema.LEASE)[bytes.fromhex("0000000000000007")] == bytes.fromhex("0807103c")
    assert rows(store, schema.LEASE)[bytes.fromhex("7fffffffffffffff")].endswith(b"\x18\x05")
    assert list(rows(store, schema.LEASE))[-1] == bytes.fromhex("fffffffffffffffe")
    assert list(schema.leases(store)) == kept
    schema.delete_lease(store, -2)
    assert list(schema.leases(store)) == kept[:-1]


def test_an_alarm_is_all_key(store: Backend) -> None:
    records = schema.AlarmRecords(store)
    records.put_alarm(7, 1)
    records.put_alarm(0, 2)
    assert rows(store, schema.ALARM) == {bytes.fromhex("08071001"): b"", bytes.fromhex("1002"): b""}
    assert sorted(records.alarms()) == [(0, 2), (7, 1)]
    records.delete_alarm(7, 1)
    assert list(records.alarms()) == [(0, 2)]


def test_members_are_hex_keys_and_json_in_etcds_order(store: Backend) -> None:
    started = schema.MemberRecord(
        9886556129531877777, ("http://127.0.0.1:52780",), name="m1", client_urls=("http://127.0.0.1:52779",)
    )
    learner = schema.MemberRecord(0xAB, ("http://a:1", "http://b:1"), is_learner=True)
    schema.put_member(store, started)
    schema.put_member(store, learner)
    assert rows(store, schema.MEMBERS) == {
        b"89341a6b28b55991": b'{"id":9886556129531877777,"peerURLs":["http://127.0.0.1:52780"],"name":"m1",'
        b'"clientURLs":["http://127.0.0.1:52779"]}',
        b"ab": b'{"id":171,"peerURLs":["http://a:1","http://b:1"],"isLearner":true}',
    }
    assert sorted(schema.members(store)) == [learner, started]
    schema.delete_member(store, 0xAB)
    assert list(schema.members(store)) == [started]


def test_a_removed_member_is_kept_for_ever(store: Backend) -> None:
    schema.put_removed(store, 0xAB)
    assert rows(store, schema.MEMBERS_REMOVED) == {b"ab": b"removed"}
    assert list(schema.removed_members(store)) == [0xAB]


def test_cluster_version_and_downgrade(store: Backend) -> None:
    assert schema.get_cluster_version(store) is None
    assert schema.get_downgrade(store) == schema.Downgrade("", False)
    schema.put_cluster_version(store, "3.7.0")
    schema.put_downgrade(store, schema.Downgrade("3.6.0", True))
    assert rows(store, schema.CLUSTER) == {
        b"clusterVersion": b"3.7.0",
        b"downgrade": b'{"target-version":"3.6.0","enabled":true}',
    }
    assert schema.get_cluster_version(store) == "3.7.0"
    assert schema.get_downgrade(store) == schema.Downgrade("3.6.0", True)


def test_auth_rows(store: Backend) -> None:
    assert not schema.get_auth_enabled(store)
    assert schema.get_auth_revision(store) == 0
    schema.put_auth_enabled(store, True)
    schema.put_auth_revision(store, 3)
    assert rows(store, schema.AUTH) == {b"authEnabled": b"\x01", b"authRevision": bytes(7) + b"\x03"}
    schema.put_auth_enabled(store, False)
    assert store.get(schema.AUTH, b"authEnabled") == b"\x00"
    user = auth_pb2.User(name=b"u", password=b"hash", roles=["r"], options=auth_pb2.UserAddOptions())
    role = auth_pb2.Role(name=b"r")
    schema.put_user(store, user)
    schema.put_role(store, role)
    assert rows(store, schema.AUTH_USERS) == {b"u": bytes.fromhex("0a0175120468617368") + b"\x1a\x01r\x22\x00"}
    assert list(schema.users(store)) == [user]
    assert list(schema.roles(store)) == [role]
    schema.delete_user(store, b"u")
    schema.delete_role(store, b"r")
    assert rows(store, schema.AUTH_USERS) == rows(store, schema.AUTH_ROLES) == {}


def drain(job: Generator[None, None, int]) -> tuple[int, int]:
    """(value, bites) of a job."""
    bites = 0
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value, bites
        bites += 1


def test_the_hash_of_a_database_covers_all_but_three_rows_of_meta(store: Backend) -> None:
    names = b"alarmauthauthRolesauthUsersclusterkeyleasemembersmembers_removedmeta"
    assert drain(schema.hash_buckets(store)) == (google_crc32c.value(names), 0)
    schema.put_applied(store, 5, 2)
    schema.put_storage_version(store, "3.7.0")
    schema.put_cluster_version(store, "3.7.0")
    schema.put_finished_compact_revision(store, 1)
    for number in range(2500):
        store.put(schema.KEY, b"%08d" % number, b"v")
    assert drain(schema.hash_buckets(store))[0] == google_crc32c.value(names)
    store.commit()
    head, tail = names.split(b"clusterkey")
    rows = b"".join(b"%08dv" % number for number in range(2500))
    finished = b"finishedCompactRev" + bytes.fromhex("00000000000000015f0000000000000000")
    expected = google_crc32c.value(head + b"clusterclusterVersion3.7.0key" + rows + tail + finished)
    assert drain(schema.hash_buckets(store)) == (expected, 2)


def test_a_hash_under_way_sees_no_later_rows_and_may_be_given_up(store: Backend) -> None:
    for number in range(1500):
        store.put(schema.KEY, b"%08d" % number, b"v")
    store.commit()
    before, _ = drain(schema.hash_buckets(store))
    job = schema.hash_buckets(store)
    next(job)
    store.delete(schema.KEY, b"%08d" % 1400)
    store.commit()
    assert drain(job)[0] == before
    given_up = schema.hash_buckets(store)
    next(given_up)
    store.close()
    given_up.close()


def test_json_is_escaped_as_go_does() -> None:
    assert schema.encode_json({"name": 'a<b>&"é\u2028\n'}) == (
        b'{"name":"a\\u003cb\\u003e\\u0026\\"' + "é".encode() + b'\\u2028\\n"}'
    )
