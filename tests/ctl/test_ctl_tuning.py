"""`check disk`, `check network` and `check tuning`: what is measured, and what follows from it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.cmd.ctl import disk
from quorate.cmd.ctl.advice import GIB, Advice, Facts, advise
from quorate.cmd.ctl.disk import measure, percentile
from quorate.cmd.ctl.main import execute
from quorate.cmd.ctl.network import HERE, Way, _told, longest_way
from quorate.testing.process import MemberProcess, free_port

from ctl_pair import OURS, Side  # isort: skip

METRICS = """# TYPE etcd_network_peer_round_trip_time_seconds histogram
etcd_network_peer_round_trip_time_seconds_bucket{To="ab",le="0.0001"} 3
etcd_network_peer_round_trip_time_seconds_sum{To="ab"} 0.5
etcd_network_peer_round_trip_time_seconds_count{To="ab"} 4
etcd_network_peer_round_trip_time_seconds_sum{To="cd"} 0
etcd_network_peer_round_trip_time_seconds_count{To="cd"} 0
"""


def advised(facts: Facts) -> dict[str, Advice]:
    return {one.flag: one for one in advise(facts)}


def number(facts: Facts, flag: str) -> int:
    return int(advised(facts)[flag].value)


# -- the disk ----------------------------------------------------------------------------------------------------------


def test_each_write_is_followed_by_one_fdatasync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    write, sync = os.write, os.fdatasync
    monkeypatch.setattr(os, "write", lambda fd, data: done.append(len(data)) or write(fd, data))
    monkeypatch.setattr(os, "fdatasync", lambda fd: done.append(0) or sync(fd))
    took = measure(str(tmp_path), 23_000, 2300, 60.0)
    assert done == [2300, 0] * 10
    assert took == sorted(took)
    assert len(took) == 10
    assert not list(tmp_path.iterdir())


def test_a_measurement_ends_in_time_on_a_slow_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fdatasync", lambda fd: time.sleep(0.02))
    assert 1 <= len(measure(str(tmp_path), 23_000_000, 2300, 0.05)) <= 4


@pytest.mark.parametrize(("share", "expected"), [(50, 50), (90, 90), (99, 99), (99.9, 100), (100, 100), (1, 1)])
def test_a_percentile_is_the_value_that_so_many_do_not_exceed(share: float, expected: int) -> None:
    assert percentile([float(value) for value in range(1, 101)], share) == expected


@pytest.mark.parametrize(("slow", "code", "word"), [(1, 0, "PASS"), (2, 1, "FAIL")])
def test_a_disk_passes_when_99_of_100_are_done_in_10_ms(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    slow: int,
    code: int,
    word: str,
) -> None:
    times = [0.001] * (100 - slow) + [0.011] * slow
    monkeypatch.setattr(disk, "measure", lambda *_: times)
    assert execute(["check", "disk", "--dir", str(tmp_path)], {}) == code
    lines = capfdbinary.readouterr().out.decode().splitlines()
    assert lines[-1] == word
    assert lines[1] == "p50 1ms, p90 1ms, p99 11ms, p99.9 11ms, max 11ms".replace(
        "p99 11ms", f"p99 {1 if slow == 1 else 11}ms"
    )


def test_a_directory_that_is_not_there_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert execute(["check", "disk", "--dir", "/nosuch"], {}) == 6
    assert capfd.readouterr().err == "Error: cannot write in /nosuch (no such file or directory)\n"


# -- the network -------------------------------------------------------------------------------------------------------


def test_the_means_that_a_member_tells_are_read() -> None:
    (way,) = _told("m0", {0xAB: "m1", 0xCD: "m2"}, METRICS)
    assert (way.source, way.target, way.mean, way.samples) == ("m0", "m1", 0.125, 4)


def test_what_members_have_measured_counts_more_than_what_was_measured_from_here() -> None:
    far = Way(HERE, "m0", 0.2, 0.3, 10)
    assert longest_way([far, Way(HERE, "m1", error="refused")]) is far
    told = [Way("m0", "m1", 0.01, 0.0, 9), Way("m1", "m0", 0.02, 0.0, 9)]
    assert longest_way([far, *told]) is told[1]
    assert longest_way([Way(HERE, "m1", error="refused")]) is None


def test_a_member_that_cannot_be_reached_is_named(member: MemberProcess) -> None:
    side = Side(OURS, member.endpoint)
    good = side.run(["check", "network", "--count=2"])
    assert good.code == 0
    assert good.out.splitlines()[-1] == b"PASS"
    nobody = f"http://127.0.0.1:{free_port()}"
    assert side.run(["member", "add", "m1", "--learner", f"--peer-urls={nobody}"]).code == 0
    bad = side.run(["check", "network", "--count=2"])
    assert bad.code == 1
    assert f"{nobody}: connection refused".encode() in bad.out
    assert bad.out.splitlines()[-1] == b"FAIL"
    ways = json.loads(side.run(["check", "network", "--count=2", "-w", "json"]).out)
    assert sorted(way["samples"] for way in ways) == [0, 2]


# -- what follows ------------------------------------------------------------------------------------------------------


@given(st.floats(0, 20_000), st.floats(0.01, 2000), st.integers(0, 500))
def test_settings_are_always_within_the_rules(rtt: float, fsync: float, throughput: int) -> None:
    facts = Facts(rtt, fsync, throughput=throughput)
    heartbeat, election = number(facts, "heartbeat-interval"), number(facts, "election-timeout")
    assert 100 <= heartbeat <= 5000
    assert 10 * heartbeat <= election <= 50_000
    assert election >= min(10 * rtt, 50_000)
    if 100 < rtt < 4900 and not throughput:
        assert 0.5 * rtt <= heartbeat <= 1.5 * rtt


@pytest.mark.parametrize(
    ("rtt", "heartbeat", "election"),
    [(0.2, 100, 1000), (10, 100, 1000), (130, 130, 1300), (350, 350, 3500), (400, 400, 4000), (9000, 5000, 50_000)],
)
def test_round_trips_decide_on_times(rtt: float, heartbeat: int, election: int) -> None:
    facts = Facts(rtt, 1.0)
    assert number(facts, "heartbeat-interval") == heartbeat
    assert number(facts, "election-timeout") == election


def test_heavy_writes_ask_for_longer_times() -> None:
    facts = Facts(1.0, 1.0, throughput=100)
    assert 300 <= number(facts, "heartbeat-interval") <= 500
    assert number(facts, "election-timeout") == 5000


def test_a_slow_disk_asks_for_a_longer_election_and_fewer_snapshots() -> None:
    slow, quick = Facts(1.0, 300.0), Facts(1.0, 2.0)
    assert number(slow, "election-timeout") == 3100
    assert number(quick, "election-timeout") == 1000
    assert number(slow, "snapshot-count") == number(Facts(130.0, 2.0), "snapshot-count") == 100_000
    assert number(quick, "snapshot-count") == 10_000


@pytest.mark.parametrize(
    ("in_use", "free", "quota"),
    [(0, 0, 2 * GIB), (GIB, 0, 4 * GIB), (5 * GIB, 0, 8 * GIB), (0, 3 * GIB, GIB), (GIB, 100 * GIB, 4 * GIB)],
)
def test_the_quota_fits_the_database_and_the_disk(in_use: int, free: int, quota: int) -> None:
    assert number(Facts(1.0, 1.0, in_use=in_use, free=free), "quota-backend-bytes") == quota


def test_a_database_near_its_quota_keeps_a_short_history() -> None:
    near, far = Facts(1.0, 1.0, in_use=3 * GIB, quota=4 * GIB), Facts(1.0, 1.0, in_use=GIB, quota=4 * GIB)
    assert advised(near)["auto-compaction-retention"].value == "10m"
    assert advised(far)["auto-compaction-retention"].value == "1h"


def test_recommended_settings_start_a_member_and_have_their_reasons(member: MemberProcess, tmp_path: Path) -> None:
    side = Side(OURS, member.endpoint)
    told = side.run(["check", "tuning", "--rtt=130ms", "--fsync=2ms", "-w", "json"])
    assert told.code == 0, told
    settings = json.loads(told.out)["settings"]
    assert all(one["reason"] for one in settings)
    simple = side.run(["check", "tuning", "--count=2", "--size=23000", "--dir", str(tmp_path)])
    assert simple.code == 0, simple
    flags = [line.decode() for line in simple.out.splitlines() if line.startswith(b"--")]
    assert [flag.split("=")[0][2:] for flag in flags] == [one["flag"] for one in settings]
    with MemberProcess(tmp_path / "tuned", flags=[f"--{one['flag']}={one['value']}" for one in settings]) as tuned:
        assert Side(OURS, tuned.endpoint).run(["put", "a", "b"]).code == 0
