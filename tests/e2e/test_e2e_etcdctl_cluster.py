"""Stock etcdctl 3.5.1 cannot tell a cluster of three from one of real etcd: members, leadership, health, leases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from e2e_ctl import Ctl, difference
from e2e_play import Play

from quorate.testing.cluster import Cluster
from quorate.testing.process import Command, MemberProcess

pytestmark = pytest.mark.real

FORMATS = ("simple", "json", "fields", "table")
FLAGS = ("--heartbeat-interval=100", "--election-timeout=500")


Chapter = Callable[[Play], None]
CHAPTERS: list[Chapter] = []


def chapter(made: Chapter) -> Chapter:
    CHAPTERS.append(made)
    return made


@pytest.fixture
def play(tmp_path: Path, etcdctl: Path) -> Iterator[Callable[[str, Command], Play]]:
    """A function that starts a cluster of three members of one kind."""
    plays: list[Play] = []

    def start(name: str, command: Command) -> Play:
        place = tmp_path / name
        place.mkdir()
        cluster = Cluster(place, [command] * 3, flags=FLAGS)
        play = Play(cluster, None)  # type: ignore[arg-type]
        plays.append(play)
        cluster.start()
        cluster.move_leader(0)
        play.ctl = Ctl(etcdctl, cluster.members[0], cluster.members[1:])
        return play

    yield start
    for play in plays:
        play.close()
        play.cluster.close()


@pytest.mark.parametrize("told", CHAPTERS, ids=lambda c: c.__name__)
def test_etcdctl_sees_no_difference_between_clusters(
    told: Chapter, play: Callable[[str, Command], Play], real_command: Command, subject_command: Command
) -> None:
    plays = [play("real", real_command), play("subject", subject_command)]
    with ThreadPoolExecutor(2) as pool:
        transcripts = list(pool.map(lambda one: _tell(told, one), plays))
    assert transcripts[0], "a chapter without steps proves nothing"
    found = difference(*transcripts)
    assert not found, found


def _tell(told: Chapter, play: Play) -> list:
    try:
        told(play)
    finally:
        print(*play.ctl.steps, sep="\n")
    return play.ctl.steps


def _reach(play: Play) -> None:
    """Every member has everything acknowledged before."""
    for number in range(3):
        play.ctl.run(play.at(number), "get", "", "--prefix", "--count-only", "-w", "fields")


def _add(play: Play, name: str, *flags: str) -> tuple[MemberProcess, str]:
    """Have etcdctl add one more; the process, not started, and its ID."""
    new = play.member(name)
    return new, play.ctl.add(name, *flags, f"--peer-urls={new.peer_url}")


@chapter
def looked_at(play: Play) -> None:
    ctl = play.ctl
    for number in range(3):
        ctl.run(play.at(number), "put", f"key{number}", f"through {number}", "--prev-kv")
    for number in range(3):
        ctl.run(play.at(number), "get", "key", "--prefix", "-w", "json")
        ctl.run(play.at(number), "get", "key", "--prefix", "--consistency=s")
    _reach(play)
    for form in FORMATS:
        ctl.run("member", "list", "-w", form)
        ctl.run("endpoint", "status", "--cluster", "-w", form)
        ctl.run("endpoint", "health", "--cluster", "-w", form)
        ctl.run("endpoint", "hashkv", "--cluster", "-w", form)
        ctl.run(play.at(1, 2), "endpoint", "status", "-w", form)
    ctl.run("del", "key1")
    ctl.run("compaction", "4", "--physical")
    _reach(play)
    ctl.run("endpoint", "hashkv", "--cluster", "--rev=5")
    ctl.run("endpoint", "hashkv", "--cluster", "--rev=3")
    ctl.run("endpoint", "hashkv", "--cluster", "--rev=99")
    ctl.run("alarm", "list")
    ctl.run("alarm", "disarm")


@chapter
def defragmented(play: Play) -> None:
    ctl = play.ctl
    ctl.run("put", "a", "1")
    ctl.run("defrag", "--cluster")
    ctl.run(play.at(0, 1, 2), "defrag")
    ctl.run(play.at(1), "put", "a", "2", "--prev-kv", "-w", "json")
    ctl.run("endpoint", "hashkv", "--cluster", "-w", "json")


@chapter
def lead_is_moved(play: Play) -> None:
    ctl = play.ctl
    everywhere = play.at(0, 1, 2)
    ctl.run("move-leader")
    ctl.run("move-leader", "zz")
    ctl.run("move-leader", "1234")
    ctl.run(play.at(1, 2), "move-leader", ctl.ids[1])
    ctl.run(everywhere, "move-leader", ctl.ids[0])
    for number in (1, 2, 0):
        ctl.run(everywhere, "move-leader", ctl.ids[number])
        for asked in range(3):
            ctl.run(play.at(asked), "put", "led", f"by {number} through {asked}", "--prev-kv", "-w", "json")
        ctl.run(everywhere, "endpoint", "status", "-w", "json")


@chapter
def leases_through_every_member(play: Play) -> None:
    ctl = play.ctl
    long, short = ctl.grant(600), ctl.grant(3)
    for number in range(3):
        ctl.run(play.at(number), "put", f"key{number}", "x", "--lease", long)
        ctl.run(play.at(number), "lease", "timetolive", long, "--keys")
        ctl.run(play.at(number), "lease", "keep-alive", "--once", long)
        ctl.run(play.at(number), "lease", "keep-alive", "--once", "1234")
        ctl.run(play.at(number), "lease", "timetolive", "1234")
        ctl.run(play.at(number), "lease", "list")
    ctl.run("put", "short", "x", "--lease", short)
    with ctl.background(play.at(2), "watch", "short", "--rev", "5") as watch:
        with ctl.background(play.at(1), "lease", "keep-alive", short) as kept:
            kept.until("keepalived", 6)
            ctl.run(play.at(2), "get", "short")
            kept.process.kill()
            kept.process.wait()
        ctl.steps.pop()
        watch.until("DELETE", timeout=15.0)
    ctl.run(play.at(1), "lease", "timetolive", short)
    ctl.run(play.at(2), "lease", "keep-alive", "--once", short)
    ctl.run(play.at(2), "lease", "revoke", long)
    for number in range(3):
        ctl.run(play.at(number), "get", "key", "--prefix", "-w", "json")
        ctl.run(play.at(number), "lease", "revoke", long)
        ctl.run(play.at(number), "lease", "timetolive", long, "-w", "json")


@chapter
def a_learner_comes_and_goes(play: Play) -> None:
    ctl = play.ctl
    ctl.run("put", "before", "it came")
    new, number = _add(play, "new", "--learner")
    for form in FORMATS:
        ctl.run("member", "list", "-w", form)
    ctl.run("member", "promote", number)
    ctl.run(play.promoter(1), "member", "promote", number)
    ctl.run("member", "add", "second", "--learner", "--peer-urls=http://127.0.0.1:1")
    ctl.run("member", "add", "third", f"--peer-urls={play.cluster.members[1].peer_url}")
    play.start(new)
    at_learner = f"--endpoints={new.endpoint}"
    ctl.until(at_learner, "get", "before", "--consistency=s")
    ctl.run(at_learner, "get", "before")
    ctl.run(at_learner, "put", "by", "learner")
    ctl.run(at_learner, "member", "list")
    ctl.run(at_learner, "endpoint", "status", "-w", "json")
    ctl.run(at_learner, "endpoint", "health")
    ctl.run("move-leader", number)
    ctl.run("member", "list", "-w", "table")
    ctl.until(play.promoter(2), "member", "promote", number)
    ctl.run("member", "promote", number)
    ctl.run(play.promoter(2), "member", "promote", number)
    ctl.until(at_learner, "put", "by", "voter")
    ctl.run(at_learner, "member", "list", "-w", "table")
    ctl.run(play.at(1), "get", "by", "-w", "json")
    ctl.until("member", "remove", number)
    ctl.say(f"its process ended: {new.wait_exit(20.0) is not None}")
    ctl.run("member", "remove", number)
    ctl.run("member", "promote", number)
    ctl.run("member", "list")
    ctl.run("put", "after", "it left")


@chapter
def members_change(play: Play) -> None:
    ctl = play.ctl
    ctl.until("member", "update", ctl.ids[1], f"--peer-urls=http://127.0.0.1:1,{play.cluster.members[1].peer_url}")
    ctl.run("member", "list", "-w", "table")
    ctl.run("member", "update", ctl.ids[1], f"--peer-urls={play.cluster.members[2].peer_url}")
    ctl.run("member", "update", ctl.ids[1], f"--peer-urls={play.cluster.members[1].peer_url}")
    ctl.run("member", "update", "1234", "--peer-urls=http://127.0.0.1:2")
    ctl.run("member", "update", ctl.ids[1], "--peer-urls=nonsense")
    ctl.run("member", "update", ctl.ids[1])
    ctl.run("member", "promote", ctl.ids[1])
    ctl.run("member", "promote", "1234")
    ctl.run("member", "remove", "1234")
    ctl.run("member", "add", "x")
    ctl.run("member", "add", "--peer-urls=http://127.0.0.1:3")
    taken = f"--peer-urls={play.cluster.members[1].peer_url}"
    ctl.until("member", "add", "x", taken, refusal="Peer URLs already exists")  # it is unhealthy for 5 s
    _, number = _add(play, "new")
    ctl.run("member", "list", "-w", "fields")
    ctl.run("put", "with", "three of four")
    ctl.run("member", "remove", number)
    new, _ = _add(play, "next")
    play.start(new)
    ctl.until(f"--endpoints={new.endpoint}", "put", "through", "the fourth")
    ctl.until("member", "remove", ctl.ids[2])
    ctl.say(f"its process ended: {play.cluster.members[2].wait_exit(20.0) is not None}")
    ctl.run("member", "list", "-w", "json")
    ctl.run("put", "with", "the new one")
    ctl.until(play.at(1), "member", "remove", ctl.ids[0])
    ctl.until(play.at(1), "put", "without", "the old leader")
    ctl.run(play.at(1), "member", "list")
