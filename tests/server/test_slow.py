"""What is slow is told with the place where its time went, and never with a value."""

from __future__ import annotations

import re

import pytest

from quorate.api.internal import NOBODY, encode_request
from quorate.api.pb import rpc_pb2 as rpc
from quorate.api.raftpb import Entry, EntryType
from quorate.server.answer import Answer
from quorate.server.proposals import Proposal
from quorate.server.slow import KEY_BYTES, SlowRequests, describe
from quorate.testing.sim.cluster import Settings, SimCluster
from quorate.testing.sim.run import logs_to
from quorate.testing.sim.trace import Trace

PUT = rpc.PutRequest(key=b"the key", value=b"a secret", lease=7)


def proposal(made_at: float) -> Proposal:
    return Proposal("put", PUT, NOBODY, made_at, Answer(None))  # type: ignore[arg-type]


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [{"msg": record.getMessage(), **record.fields} for record in caplog.records]  # type: ignore[attr-defined]


def test_the_stages_of_a_slow_write_add_up(caplog: pytest.LogCaptureFixture) -> None:
    slow = SlowRequests(0.1)
    slow.saved(4, 1.0, 1.1)
    slow.saved(6, 10.25, 10.5)
    slow.answered([proposal(10.0), proposal(10.0), proposal(10.95)], 6, committed=11.0, applied=11.01)
    (line,) = lines(caplog)
    assert line["took"] == "1010.000ms"
    assert line["steps"] == [
        "wait for a batch: 250.000ms",
        "disk of this member: 250.000ms",
        "other members: 500.000ms",
        "apply: 10.000ms",
    ]
    assert line["others"] == 1
    assert line["request"] == 'put:<key:"the key" value_size:8 lease:7>'


def test_what_is_not_known_of_a_slow_write_is_not_made_up(caplog: pytest.LogCaptureFixture) -> None:
    slow = SlowRequests(0.1)
    slow.saved(6, 1.0, 1.5)  # long before the request was made
    slow.answered([proposal(10.0)], 6, committed=11.0, applied=11.0)
    slow.answered([proposal(10.0)], 7, committed=11.0, applied=11.0)
    assert [line["steps"] for line in lines(caplog)] == [["agreement: 1000.000ms", "apply: 0.000ms"]] * 2


def test_slow_entries_and_ranges_are_told_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    slow = SlowRequests(0.1)
    slow.apply(Entry(1, 1, data=encode_request("put", PUT.SerializeToString(), 1)), 0.2)
    slow.apply(Entry(1, 2), 0.2)
    slow.apply(Entry(1, 3, type=EntryType.CONF_CHANGE), 0.2)
    slow.range(rpc.RangeRequest(key=b"a", range_end=b"\xff", limit=9), 0.2)
    assert [line["request"] for line in lines(caplog)] == [
        'put:<key:"the key" value_size:8 lease:7>',
        "the first entry of a term",
        "conf_change",
        'range:<key:"a" range_end:"\\xff" limit:9>',
    ]
    assert slow.applies == 4


def test_no_value_and_no_password_is_ever_shown() -> None:
    compare = rpc.Compare(key=b"k", target=rpc.Compare.VALUE, value=b"a secret")
    txn = rpc.TxnRequest(compare=[compare], success=[rpc.RequestOp(request_put=PUT)] * 3)
    shown = [
        describe("txn", txn),
        describe("auth_user_add", rpc.AuthUserAddRequest(name="root", password="a secret")),
        describe("authenticate", rpc.AuthenticateRequest(name="root", password="a secret")),
        describe("lease_grant", rpc.LeaseGrantRequest(ID=255, TTL=5)),
        describe("compaction", rpc.CompactionRequest(revision=3)),
    ]
    assert shown == [
        f"txn:<compare:1 success:3 size:{txn.ByteSize()}>",
        "auth_user_add:<>",
        "authenticate:<>",
        "lease_grant:<ID:ff>",
        "compaction:<revision:3>",
    ]
    assert "secret" not in "".join(shown)


def test_a_long_key_is_cut() -> None:
    assert describe("range", rpc.RangeRequest(key=b"x" * 1_000)) == f'range:<key:"{"x" * KEY_BYTES}...">'


def test_a_slow_disk_is_named_for_what_it_is() -> None:
    trace = Trace()
    cluster = SimCluster(1, 1, Settings(), trace)
    with logs_to(cluster):
        cluster.boot()
        cluster.wait_healthy()
        faults = cluster.members[0].disk.faults
        faults.slow_sync, faults.slow_seconds = 1.0, 0.5
        server = cluster.members[0].server
        assert server is not None
        loop = cluster.members[0].loop
        assert loop is not None
        for _ in range(3):
            cluster.scheduler.run(loop, server.propose("put", rpc.PutRequest(key=b"k", value=b"v")))
        cluster.close()
    told = [line for line in trace.lines if "request took too long took=" in line and "apply request" not in line]
    assert told, trace.lines[-20:]
    for line in told:
        disk = re.search(r"disk of this member: (\d+)\.", line)
        assert disk is not None and int(disk[1]) >= 99, line
        assert "other members: 0.000ms" in line
