"""Stock etcdctl 3.5.1, and Debian's of 3.4, cannot tell three members behind TLS and auth from three of real etcd.

Every command that etcdctl has is run on them. With `QUORATE_E2E_CHAPTERS=1` that of 3.4 makes the whole tour as well,
the chapters of the other modules are told here, and `check` runs to its end. All play on two clusters that live as long
as this module.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from e2e_ctl import Step, difference
from e2e_play import Play, Stage, level
from e2e_tour import MAIN, TOUR, commands, left_out
from test_e2e_etcdctl import CHAPTERS as OF_ONE
from test_e2e_etcdctl_cluster import CHAPTERS as OF_THREE

pytestmark = pytest.mark.real

MORE = bool(os.environ.get("QUORATE_E2E_CHAPTERS"))
ALONE = ("members", "watch_periodic_progress", "txn_refused")
"""Chapters for a member that is alone or has flags of its own; the last has members of 3.5.1 come apart (18667)."""
STEPS_OF_TOUR = 150
"""At least."""

Told = Callable[..., None]
Ran = dict[Path, list[tuple[str, int]]]


@pytest.fixture(scope="module")
def ran() -> Ran:
    """What each etcdctl has run on the cluster under test."""
    return {}


@pytest.mark.parametrize("told", TOUR, ids=lambda c: c.__name__)
def test_etcdctl_sees_no_difference(told: Told, stages: list[Stage], etcdctl: Path, ran: Ran) -> None:
    ran.setdefault(etcdctl, []).extend(_compare(told, stages, etcdctl))


@pytest.mark.parametrize("told", [c for c in TOUR if MORE or c.__name__ in MAIN], ids=lambda c: c.__name__)
def test_etcdctl_of_debian_sees_no_difference(told: Told, stages: list[Stage], debian_etcdctl: Path, ran: Ran) -> None:
    ran.setdefault(debian_etcdctl, []).extend(_compare(told, stages, debian_etcdctl))


@pytest.mark.parametrize("fixture", ["etcdctl", "debian_etcdctl"])
def test_every_command_of_etcdctl_has_been_run(fixture: str, request: pytest.FixtureRequest, ran: Ran) -> None:
    binary = request.getfixturevalue(fixture)
    if len(ran.get(binary, ())) < STEPS_OF_TOUR:
        pytest.skip("the whole tour has not been made")
    assert len(commands(binary)) > 40
    assert left_out(binary, ran[binary]) == ({"migrate"} & commands(binary)), "migrate needs data of etcd 2"


@pytest.mark.slow
@pytest.mark.skipif(not MORE, reason="runs when QUORATE_E2E_CHAPTERS=1")
@pytest.mark.parametrize("check", ["perf", "datascale"])
def test_a_check_runs_to_its_end(check: str, stages: list[Stage], etcdctl: Path) -> None:
    """Whether it is pleased depends on the machine; a write that fails would not."""
    level(stages)
    ctl = stages[1].play(etcdctl, 1).ctl
    env = {"SSL_CERT_FILE": stages[1].keys.ca}
    with ctl.background(f"--endpoints={ctl.member.client_url}", "check", check, "--auto-defrag", env=env) as running:
        assert running.until_ended(150.0)
        told = running.output()
    print(told)
    assert "PASS: " in told and "ERROR(" not in told, told


@pytest.mark.skipif(not MORE, reason="runs when QUORATE_E2E_CHAPTERS=1")
@pytest.mark.parametrize("told", [c for c in (*OF_ONE, *OF_THREE) if c.__name__ not in ALONE], ids=lambda c: c.__name__)
def test_etcdctl_sees_no_difference_in_any_chapter(told: Told, stages: list[Stage], etcdctl: Path) -> None:
    """The last one takes the clusters apart."""
    _compare(told, stages, etcdctl)


def _compare(told: Told, stages: list[Stage], binary: Path) -> list[tuple[str, int]]:
    """What has been run on the second stage."""
    first = level(stages)
    plays = [stage.play(binary, first) for stage in stages]
    with ThreadPoolExecutor(2) as pool:
        transcripts = list(pool.map(lambda play: _tell(told, play), plays))
    assert transcripts[0], "a chapter without steps proves nothing"
    found = difference(*transcripts)
    assert not found, found
    return plays[1].ctl.ran


def _tell(told: Told, play: Play) -> list[Step]:
    try:
        told(play.ctl if told in OF_ONE else play)
    finally:
        play.close()
        print(*play.ctl.steps, sep="\n")
    return play.ctl.steps
