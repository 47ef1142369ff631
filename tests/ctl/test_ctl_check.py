"""check puts what it says it puts, and judges by the marks of the stock client."""

from __future__ import annotations

import re

import pytest

from quorate.cmd.ctl.check import judge
from quorate.cmd.ctl.flags import parse
from quorate.cmd.ctl.globals import GLOBAL_FLAGS
from quorate.cmd.ctl.load import Load, Report
from quorate.cmd.ctl.run import Run
from quorate.testing.process import MemberProcess

from ctl_pair import OURS, Pair, Side  # isort: skip

pytestmark = pytest.mark.real


def report(per_second: float = 150, slowest: float = 0.01, errors: int = 0) -> Report:
    made = Report()
    count = int(per_second * 10)
    made.took = [0.001] * (count - 1) + [slowest]
    made.errors.update({"etcdserver: too many requests": errors} if errors else {})
    made.seconds = (count + errors) / per_second
    return made


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (report(), "PASS: Slowest request took 0.010000s"),
        (report(per_second=135), "FAIL: Throughput too low: 136 writes/s"),
        (report(slowest=0.6), "FAIL: Slowest request took too long: 0.600000s"),
        (report(slowest=9.0), "FAIL: Stddev too high: 0.232276s"),
        (report(errors=3), "FAIL: ERROR(etcdserver: too many requests) -> 3"),
    ],
)
def test_each_mark_is_told(found: Report, line: str) -> None:
    lines, passed = judge(found, 150)
    assert line in lines
    assert passed == line.startswith("PASS")
    assert lines[-1] == ("PASS" if passed else "FAIL")


def test_what_cannot_be_checked_is_refused_alike(pair: Pair) -> None:
    pair.same("check", "perf", "--load", "zz")
    pair.same("check", "datascale", "--load", "zz")
    pair.same("put", "/etcdctl-check-perf/a", "1")
    pair.same("put", "/etcdctl-check-datascale/a", "1")
    pair.same("check", "perf")
    pair.same("check", "datascale")
    pair.same("check", "perf", "--prefix", "/etcdctl-check-datascale/")
    pair.same("check")


def loaded(member: MemberProcess) -> tuple[Run, Load]:
    run = Run(parse(["--endpoints", member.endpoint], GLOBAL_FLAGS), {})
    load = Load(run.client(), run.settings, prefix=b"p/", key_size=256, value_size=1024, workers=5)
    return run, load


def test_puts_are_spread_evenly_over_the_time(member: MemberProcess) -> None:
    run, load = loaded(member)
    seconds: list[int] = []
    load.run_at(100, 2, lambda: seconds.append(len(load.report.took)))
    assert len(load.report.took) == 200
    assert 1.9 < load.report.seconds < 10.0
    assert 50 <= seconds[0] <= 101
    keys = run.client().call("Range", key=b"p/", range_end=b"p0")
    assert {len(kv.key) for kv in keys.kvs} == {len(b"p/") + 256}
    assert {kv.value for kv in keys.kvs} == {bytes(1024)}
    run.close()


def test_datascale_cleans_up_behind_itself(member: MemberProcess) -> None:
    side = Side(OURS, member.endpoint)
    answer = side.run(["check", "datascale", "--auto-compact", "--auto-defrag"])
    assert answer.code == 0, answer
    lines = answer.out.decode().splitlines()
    assert lines[0].startswith(
        "Start data scale check for work load [10000 key-value pairs, 1024 bytes per key-value, 50"
    )
    assert lines[1:5] == [
        "Compacting with revision 10002",
        "Compacted with revision 10002",
        f'Defragmenting "{member.endpoint}"',
        f'Defragmented "{member.endpoint}"',
    ]
    assert re.fullmatch(r"PASS: Approximate system memory used : -?\d+\.\d\d MB\.", lines[5])
    assert b"10000 / 10000" in answer.err
    assert side.run(["get", "--prefix", ""]).out == b""
