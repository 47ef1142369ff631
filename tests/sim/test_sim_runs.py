"""Whole members under faults that a seed draws, and whether the verdict can be trusted; for more seeds: make sim."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from quorate.pkg.jsonlog import get_log
from quorate.testing.sim import __main__ as command
from quorate.testing.sim import run
from quorate.testing.sim.cluster import Settings, SimCluster
from quorate.testing.sim.run import logs_to, run_seed
from quorate.testing.sim.trace import Trace

SECONDS = 12.0
PATIENCE = 2400.0
"""Seconds for two hundred runs."""


def run_command(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "quorate.testing.sim", *arguments],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


@pytest.mark.timeout(PATIENCE)
def test_no_promise_is_broken_in_200_runs() -> None:
    done = run_command("--seeds", "1..200", "--jobs", str(os.cpu_count() or 1))
    assert done.stdout.splitlines()[-1] == "200 passed, 0 failed", done.stdout


def test_the_same_seed_gives_the_same_trace_whatever_strings_hash_to() -> None:
    trace = Trace()
    run_seed(7, seconds=SECONDS, trace=trace)
    arguments = ["--seed", "7", "--trace", "--seconds", str(SECONDS)]
    done = run_command(*arguments, hash_seed="4242")
    lines = done.stdout.splitlines()
    begin = lines.index(trace.lines[0])
    assert lines[begin : begin + len(trace.lines)] == trace.lines


def test_what_others_log_in_this_process_is_not_in_the_trace() -> None:
    cluster = SimCluster(1, 1, trace=Trace())
    with logs_to(cluster):
        log = get_log("quorate.server")
        log.info("ours")
        stranger = threading.Thread(target=log.info, args=("theirs",))
        stranger.start()
        stranger.join()
    assert [line for line in cluster.trace.lines if "info:" in line] == ["0.000000 sim info: ours"]


def test_several_processes_give_the_digests_that_one_gives() -> None:
    seeds = ("--seeds", "1..3", "--digests", "--seconds", "3")
    one, two = (run_command(*seeds, "--jobs", jobs).stdout.splitlines() for jobs in ("1", "2"))
    assert one[-1] == "3 passed, 0 failed"
    assert sorted(two[:3]) == sorted(one[:3])


def test_a_member_comes_back_with_what_it_had_promised_after_a_loss_of_power() -> None:
    cluster = SimCluster(3, 3, Settings(snapshot_count=5, catchup_entries=1))
    cluster.boot()
    cluster.wait_healthy()
    terms = [server.term for server in cluster.servers()]
    for machine in cluster.members:
        machine.crash(power=True)
    assert not cluster.running()
    cluster.boot()
    cluster.wait_healthy()
    assert all(machine.lives == 2 for machine in cluster.members)
    assert max(server.term for server in cluster.servers()) > max(terms)
    cluster.close()


def test_a_failing_seed_is_named_and_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "judge", lambda *_, **__: ["all is lost"])
    assert command.main(["--seeds", "2..3", "--seconds", "1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["seed 2: all is lost", "seed 3: all is lost"]
    assert lines[-1] == "0 passed, 2 failed"
