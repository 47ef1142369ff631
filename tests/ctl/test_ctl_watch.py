"""watch answers as stock etcdctl does: alone, with commands, and typed line by line."""

from __future__ import annotations

import signal
import time

import pytest

from quorate.testing.process import MemberProcess

from ctl_pair import OURS, Pair, Side  # isort: skip

pytestmark = pytest.mark.real

FORMATS = ("simple", "json", "fields", "protobuf")
BAD = (
    "watch",
    "watch --",
    "watch foo --",
    "watch foo bar --prefix",
    "watch -- foo",
    "watch a b -1",
    "watch foo -w bogus",
    "watch wk --rev 2 -w table",
    "watch wk --rev 2 -- /bin/false x",
    "watch wk --rev 2 -- nosuchcmd",
)
KEY, END = "ETCDCTL_WATCH_KEY", "ETCDCTL_WATCH_RANGE_END"


def fill(pair: Pair) -> None:
    for words in ("put wk 1", "put wk 2", "put wl x", "del wk", "put wm <>&", "put wk 3"):
        pair.same(*words.split())


@pytest.mark.parametrize("form", FORMATS)
def test_events_look_alike(pair: Pair, form: str) -> None:
    fill(pair)
    enough = {"simple": b"wk\n3\n", "json": b'"Mw=="', "fields": b'"Value" : "3"', "protobuf": b"*\x013"}[form]
    for words in ("wk --rev 2", "wk --rev 2 --prev-kv", "w --prefix --rev 3", "wk wm --rev 2"):
        pair.same_started("watch", *words.split(), "-w", form, enough=lambda out: enough in out)


def test_bytes_in_hex_look_alike(pair: Pair) -> None:
    fill(pair)
    pair.same_started("watch", "wk", "--rev", "2", "--hex", "--prev-kv", enough=lambda out: b"x33" in out)


def test_what_cannot_be_watched_is_refused_alike(pair: Pair) -> None:
    fill(pair)
    for words in BAD:
        pair.same(*words.split())
    pair.same("watch", "foo", env={KEY: "a"})
    pair.same("watch", env={END: "a"})


def test_the_key_may_be_in_the_environment(pair: Pair) -> None:
    fill(pair)
    pair.same_started("watch", "--rev", "2", env={KEY: "wk"}, enough=lambda out: b"3\n" in out)
    pair.same_started("watch", "--rev", "2", env={KEY: "wk", END: "wz"}, enough=lambda out: b"3\n" in out)


def test_commands_are_run_for_each_event_with_its_facts(pair: Pair) -> None:
    fill(pair)
    script = "env | grep ^ETCD_WATCH | sort"
    words = ("watch", "wk", "--rev", "2", "--", "sh", "-c", script)
    pair.same_started(*words, enough=lambda out: b'VALUE="3"' in out)
    pair.same_started("watch", "--rev=2", "--", "echo", "hi", env={KEY: "wm"}, enough=lambda out: b"hi" in out)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(pair: Pair, number: int) -> None:
    fill(pair)
    answer = pair.same_started("watch", "wk", "--rev", "2", enough=lambda out: b"3\n" in out, number=number)
    assert answer.code == -number


def test_lines_that_are_typed_are_taken_alike(pair: Pair) -> None:
    fill(pair)
    typed = b'foo\n\n \nwatch\nwatch a b --prefix\nwatch -- echo hi\nwatch "wm" --rev 2 -- echo hi\n'
    pair.same_started("watch", "-i", typed=typed, enough=lambda out: b"hi" in out, number=None)
    for line in BAD_LINES:
        pair.same("watch", "-i", stdin=line)


BAD_LINES = (
    b"watch a -- \n",
    b"watch a b --prefix\n",
    b"watch --prefix\n",
    b"watch a --nope\n",
    b"watch a --rev abc\n",
    b"watch -h\n",
    b"",
)


@pytest.mark.parametrize(
    ("form", "watches", "last"),
    # Two watches of the stock one write two lines each as they like, one between the other's.
    [("simple", b"watch b\nwatch c\n", b"progress notify: 2\n"), ("json", b"watch b\n", b'"Created":false}\n')],
)
def test_progress_can_be_asked_for(pair: Pair, form: str, watches: bytes, last: bytes) -> None:
    pair.same("put", "a", "1")
    words = ("watch", "-i", "-w", form)
    count = watches.count(b"watch")
    typed = watches + b"progress\n"
    pair.same_started(*words, typed=typed, enough=lambda out: out.count(last) == count, number=None)


def test_a_watch_goes_on_where_it_was_when_the_server_comes_back(member: MemberProcess) -> None:
    side = Side(OURS, member.endpoint)
    started = side.start(["watch", "a"])
    deadline = time.monotonic() + 20.0
    while not started.out:
        assert time.monotonic() < deadline
        side.run(["put", "a", "1"])
        started.out += started.process.stdout.read() or b""  # type: ignore[union-attr]
    first = started.out
    member.stop()
    member.start()
    side.run(["put", "a", "2"])
    started.wait_for(lambda out: out[len(first) :].endswith(b"PUT\na\n2\n"))
    assert started.end().out.count(b"2\n") == 1


def test_events_look_alike_beside_quorate(quorate_pair: Pair) -> None:
    fill(quorate_pair)
    for form, enough in (("simple", b"wk\n3\n"), ("json", b'"Mw=="')):
        words = ("watch", "w", "--prefix", "--rev", "2", "--prev-kv", "-w", form)
        quorate_pair.same_started(*words, enough=lambda out, enough=enough: enough in out)  # type: ignore[misc]
    quorate_pair.same("compaction", "4")
    quorate_pair.same("watch", "wk", "--rev", "2")


def test_who_may_not_watch_is_told_alike(pair: Pair) -> None:
    for side in (pair.stock, pair.ours):
        for words in ("user add root:pw", "user grant-role root root", "user add u:pw", "auth enable"):
            Side(pair.stock.command, side.endpoint).run(words.split())
    pair.same("watch", "a", "--user", "u:pw")
    for form in FORMATS:
        pair.same("watch", "a", "--user", "u:pw", "-w", form)
    pair.same("watch", "a")
    pair.same("watch", "a", "--user", "u:bad")
