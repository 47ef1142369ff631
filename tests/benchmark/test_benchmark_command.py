"""Every sub-command against a running member, Quorate's and real etcd's: it does what it says, and counts right."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message

from quorate.api.pb import rpc_pb2 as pb
from quorate.cmd.benchmark.main import run
from quorate.testing.process import MemberProcess

Ask = Callable[[Message], Any]
Load = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def load(member: MemberProcess, capfd: pytest.CaptureFixture[str]) -> Load:
    """Run a command line; the sections of its JSON report."""

    def go(line: str, status: int = 0) -> list[dict[str, Any]]:
        assert run([f"--endpoints={member.endpoint}", "--json", *line.split()]) == status, capfd.readouterr().err
        sections: list[dict[str, Any]] = json.loads(capfd.readouterr().out)["sections"]
        return sections

    return go


def count_of(ask: Ask, prefix: bytes) -> int:
    return int(ask(pb.RangeRequest(key=prefix, range_end=prefix + b"\xff", count_only=True)).count)


def test_put_makes_as_many_revisions_as_it_is_told_and_as_many_keys_as_there_is_space(load: Load, ask: Ask) -> None:
    before = ask(pb.RangeRequest(key=b"\0")).header.revision
    [section] = load("put --prefix=seq/ --sequential-keys --key-space-size=20 --val-size=33 --total=50")
    assert (section["requests"], section["errors"]) == (50, {})
    assert ask(pb.RangeRequest(key=b"\0")).header.revision == before + 50
    found = ask(pb.RangeRequest(key=b"seq/", range_end=b"seq0")).kvs
    # The number as a zig-zag varint, then zeros.
    assert {kv.key for kv in found} == {b"seq/" + bytes([2 * n]) + bytes(7) for n in range(20)}
    assert {len(kv.value) for kv in found} == {33}


def test_clients_connections_and_processes_share_the_requests(load: Load, ask: Ask) -> None:
    line = "--conns=4 --clients=7 --processes=3 put --prefix=many/ --sequential-keys --key-space-size=1000 --total=101"
    [section] = load(line)
    assert section["requests"] == 101
    assert count_of(ask, b"many/") >= 90, "processes put the same keys"


def test_range_asks_for_what_is_named(load: Load, member: MemberProcess, capfd: pytest.CaptureFixture[str]) -> None:
    for letter in "ls":
        [section] = load(f"range foo --consistency={letter} --total=30")
        assert section["requests"] == 30
    assert run([f"--endpoints={member.endpoint}", "range", "foo", "fop", "--consistency", "s", "--total=5"]) == 0
    assert capfd.readouterr().out.startswith("bench with serializable range\n\nSummary:\n")


def test_large_answers_come_whole(load: Load) -> None:
    load("put --prefix=large/ --sequential-keys --key-space-size=300 --val-size=20000 --total=300 --clients=10")
    [section] = load("range large/ large0 --total=3")
    assert (section["requests"], section["errors"]) == (3, {})


def test_txn_put_changes_several_keys_at_one_revision(load: Load, ask: Ask) -> None:
    before = ask(pb.RangeRequest(key=b"\0")).header.revision
    [section] = load("txn-put --txn-ops=3 --key-space-size=30 --total=10 --clients=2")
    assert (section["requests"], section["errors"]) == (10, {})
    assert ask(pb.RangeRequest(key=b"\0")).header.revision == before + 10


def test_txn_mixed_reports_reads_and_writes(load: Load) -> None:
    read, write = load("txn-mixed --rw-ratio=4 --key-space-size=10 --total=200 --clients=5")
    assert read["requests"] + write["requests"] == 200
    assert read["requests"] > write["requests"] > 0
    assert not read["errors"] and not write["errors"]


def test_leases_are_renewed(load: Load, ask: Ask) -> None:
    before = len(ask(pb.LeaseLeasesRequest()).leases)
    [section] = load("lease-keepalive --total=40 --clients=4 --conns=2")
    assert (section["requests"], section["errors"]) == (40, {})
    assert len(ask(pb.LeaseLeasesRequest()).leases) == before + 4


@pytest.mark.parametrize("locker", ["stm", "lock-rpc", "lock-client"])
@pytest.mark.parametrize("isolation", ["r", "ss"])
def test_stm_transactions_all_commit_under_contention(load: Load, locker: str, isolation: str) -> None:
    line = f"stm --isolation={isolation} --stm-locker={locker} --keys=3 --keys-per-txn=2 --total=24 --clients=4"
    [section] = load(line)
    assert (section["requests"], section["errors"]) == (24, {})


def test_every_watcher_of_a_key_is_sent_every_put_of_it(load: Load) -> None:
    create, event, put = load("watch --streams=3 --watch-per-stream=4 --watched-key-total=2 --put-total=10")
    assert (create["requests"], put["requests"]) == (12, 10)
    assert event["requests"] == 10 * 6
    assert event["fastest"] > 0


def test_the_latency_of_events_is_told_beside_that_of_puts(load: Load) -> None:
    put, event = load("watch-latency --put-total=20 --put-rate=0 --streams=2 --watchers-per-stream=3 --prevkv")
    assert (put["requests"], event["requests"]) == (20, 120)


def test_gets_are_timed_while_watchers_are_sent_the_past(load: Load) -> None:
    [section] = load("watch-get --watchers=50 --streams=2 --events=4")
    assert section["requests"] > 0 and not section["errors"]


def test_a_rate_is_kept(load: Load) -> None:
    [section] = load("put --total=40 --rate=100 --clients=4")
    assert section["total_seconds"] > 0.3
    assert section["requests_per_second"] < 120


def test_history_is_compacted_while_puts_go_on(load: Load, ask: Ask) -> None:
    load("put --total=300 --rate=1000 --compact-interval=50ms --compact-index-delta=10")
    answer = ask(pb.HashKVRequest())
    assert answer.compact_revision > 0


def test_the_hash_is_that_of_the_member(member: MemberProcess, ask: Ask, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([f"--endpoints={member.endpoint}", "put", "--total=5", "--check-hashkv"]) == 0
    printed = capfd.readouterr().out
    assert f"\n\nHashKV Summary:\n\tHashKV: {ask(pb.HashKVRequest()).hash}\n\tEndpoint: {member.endpoint}\n" in printed
    assert re.search(r"\tTime taken to get hashkv: [0-9.]+(µs|ms|s)\n\tDB size: [0-9.]+ [kMG]?B\n$", printed)


def test_errors_of_requests_are_counted_and_are_no_failure_of_the_command(load: Load) -> None:
    [section] = load("put --val-size=1600000 --total=3")
    assert section["requests"] == 0
    assert section["errors"] == {"etcdserver: request is too large": 3}


def test_a_missed_goal_is_an_exit_status(load: Load) -> None:
    load("range foo --total=10 --slo-latency=10s")
    load("range foo --total=10 --slo-throughput=1000000000", status=1)


def test_ctrl_c_ends_a_run_with_a_report_of_what_was_done(member: MemberProcess) -> None:
    argv = [sys.executable, "-m", "quorate.cmd.benchmark", f"--endpoints={member.endpoint}"]
    argv += ["put", "--total=1000000", "--prefix=stop/"]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watched = run([f"--endpoints={member.endpoint}", "range", "stop/", "stop0", "--total=1"])
    assert watched == 0
    wait_for_key(member, child)
    child.send_signal(signal.SIGINT)
    printed, complaint = child.communicate(timeout=20)
    assert child.returncode == 0, complaint
    assert "Requests/sec:" in printed


def wait_for_key(member: MemberProcess, child: subprocess.Popen[str]) -> None:
    """Until the child's puts are seen to arrive."""
    import asyncio

    from quorate.transport.grpc import Channel

    async def look() -> None:
        channel = Channel("127.0.0.1", member.client_port)
        request = pb.RangeRequest(key=b"stop/", range_end=b"stop0").SerializeToString()
        async with asyncio.timeout(20):
            while not pb.RangeResponse.FromString(await channel.unary("/etcdserverpb.KV/Range", request)).kvs:
                assert child.poll() is None
                await asyncio.sleep(0.05)
        await channel.close()

    asyncio.run(look())
