"""lock and elect answer as stock etcdctl does, and queue behind it."""

from __future__ import annotations

import re
import signal

import pytest

from ctl_pair import Answer, Pair  # isort: skip

pytestmark = pytest.mark.real

BAD = (
    "lock",
    "lock l --ttl abc",
    "lock l sh -c true",
    "elect",
    "elect e",
    "elect -l e p",
    "elect a b c",
)
ID = re.compile(rb"\d{18,20}|[0-9a-f]{12,16}|[A-Za-z0-9+/]{20,}=*")
"""Leases, in keys as well."""


def plain(answer: Answer) -> Answer:
    return Answer(answer.code, ID.sub(b"<id>", answer.out), answer.err)


def alike(pair: Pair, *words: str) -> Answer:
    answers = [plain(side.shown(side.run(words))) for side in (pair.stock, pair.ours)]
    assert answers[0] == answers[1], words
    return answers[1]


def alike_held(pair: Pair, *words: str, number: int = signal.SIGTERM) -> Answer:
    """The same for what holds until a signal comes."""
    answers = []
    for side in (pair.stock, pair.ours):
        started = side.start(words)
        started.wait_for(lambda out: out.endswith(b"\n") and (b"-w" in words or out.count(b"\n") > 1 or b"{" in out))
        answers.append(plain(side.shown(started.end(number))))
    assert answers[0] == answers[1], words
    return answers[1]


def test_a_command_runs_with_the_lock_and_gives_its_exit_code(pair: Pair) -> None:
    script = "env | grep ^ETCD_LOCK | sort; exit 3"
    assert alike(pair, "lock", "l", "--", "sh", "-c", script).code == 3
    alike(pair, "lock", "l", "echo", "hi", "--ttl", "5")
    alike(pair, "lock", "l", "nosuchcmd")
    alike(pair, "lock", "l", "--", "sh", "-c", "kill -9 $$")
    alike(pair, "get", "--prefix", "l")


def test_what_cannot_be_done_is_refused_alike(pair: Pair) -> None:
    for words in BAD:
        pair.same(*words.split())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_lock_is_held_until_a_signal_comes(pair: Pair, number: int) -> None:
    for form in ("simple", "json", "fields"):
        assert alike_held(pair, "lock", "l", "-w", form, number=number).code == 0
    alike(pair, "get", "--prefix", "l", "--count-only", "-w", "fields")


def test_a_leader_is_elected_until_a_signal_comes(pair: Pair) -> None:
    for form in ("simple", "json", "fields"):
        assert alike_held(pair, "elect", "e", "me", "-w", form).code == 0
    alike(pair, "get", "--prefix", "e", "--count-only", "-w", "fields")


def test_leaders_are_seen_as_they_come(pair: Pair) -> None:
    for form, first, second in (("simple", b"one\n", b"two\n"), ("json", b"b25l", b"dHdv"), ("fields", b"one", b"two")):
        answers = []
        for side in (pair.stock, pair.ours):
            listening = side.start(["elect", "-l", "e", "-w", form])
            leader = side.start(["elect", "e", "one"])
            listening.wait_for(lambda out, text=first: text in out)  # type: ignore[misc]
            leader.wait_for(lambda out: b"one\n" in out)
            leader.end(signal.SIGTERM)
            leader = side.start(["elect", "e", "two"])
            listening.wait_for(lambda out, text=second: text in out and out.endswith(b"\n"))  # type: ignore[misc]
            leader.wait_for(lambda out: b"two\n" in out)
            leader.end(signal.SIGTERM)
            answers.append(plain(side.shown(listening.end(signal.SIGTERM))))
        assert answers[0] == answers[1]


def test_stock_and_ours_wait_for_each_other(pair: Pair) -> None:
    pair.ours.endpoint = pair.stock.endpoint
    for first, second in ((pair.stock, pair.ours), (pair.ours, pair.stock)):
        holder = first.start(["lock", "x"])
        holder.wait_for(lambda out: out.endswith(b"\n\n"))
        waiter = second.start(["lock", "x", "echo", "mine"])
        other = second.start(["lock", "other", "echo", "free"])
        other.wait_for(lambda out: out == b"free\n")
        assert waiter.process.poll() is None
        holder.end(signal.SIGTERM)
        waiter.wait_for(lambda out: out == b"mine\n")
        assert waiter.end(None).code == 0
        assert other.end(None).code == 0
