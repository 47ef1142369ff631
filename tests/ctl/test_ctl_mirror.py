"""make-mirror copies what is there and follows what changes."""

from __future__ import annotations

import time

import pytest

from quorate.testing.process import MemberProcess

from ctl_pair import OURS, Pair, Side  # isort: skip

pytestmark = pytest.mark.real

BAD = ("make-mirror", "make-mirror a b", "make-mirror --dest-prefix x --no-dest-prefix a")


def settled(side: Side, *words: str, want: bytes) -> None:
    """Until a read answers so."""
    deadline = time.monotonic() + 20.0
    while (found := side.run(["get", *words]).out) != want:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_what_cannot_be_mirrored_is_refused_alike(pair: Pair) -> None:
    for words in BAD:
        pair.same(*words.split())


@pytest.mark.parametrize(
    ("flags", "there"),
    [
        ([], b"p/a"),
        (["--dest-prefix", "q/"], b"q/a"),
        (["--no-dest-prefix"], b"a"),
    ],
)
def test_keys_of_a_prefix_are_there_too_and_stay_alike(pair: Pair, flags: list[str], there: bytes) -> None:
    source, target = Side(OURS, pair.stock.endpoint), Side(OURS, pair.ours.endpoint)
    source.run(["put", "p/a", "1"])
    source.run(["put", "other", "1"])
    mirror = source.start(["make-mirror", "--prefix", "p/", *flags, target.endpoint])
    settled(target, "--prefix", "", want=there + b"\n1\n")
    source.run(["put", "p/a", "2"])
    settled(target, "--prefix", "", want=there + b"\n2\n")
    source.run(["txn"], stdin=b"\ndel p/a\nput p/b 3\n\n\n")
    settled(target, "--prefix", "", want=there.replace(b"a", b"b") + b"\n3\n")
    assert mirror.end().err == b""


def test_a_mirror_may_begin_at_a_revision(pair: Pair) -> None:
    source, target = Side(OURS, pair.stock.endpoint), Side(OURS, pair.ours.endpoint)
    source.run(["put", "a", "1"])
    source.run(["put", "b", "1"])
    mirror = source.start(["make-mirror", "--rev", "3", target.endpoint])
    settled(target, "--prefix", "", want=b"b\n1\n")
    mirror.end()


def test_a_mirror_goes_on_when_its_source_was_away(member: MemberProcess, pair: Pair) -> None:
    source, target = Side(OURS, member.endpoint), Side(OURS, pair.ours.endpoint)
    source.run(["put", "a", "1"])
    mirror = source.start(["make-mirror", target.endpoint])
    settled(target, "a", want=b"a\n1\n")
    member.stop()
    member.start()
    source.run(["put", "a", "2"])
    settled(target, "a", want=b"a\n2\n")
    mirror.end()
