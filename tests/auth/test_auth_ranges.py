"""Whether a range is covered by what was granted piece by piece: the same as looking at every key."""

from __future__ import annotations

import random
from itertools import product

import pytest

from quorate.auth.ranges import OPEN_END, Range, Ranges, is_grantable

LETTERS = [bytes(made) for size in (1, 2) for made in product(b"abc", repeat=size)]
"""Keys to grant and ask for, and, each with what comes right behind it, all keys that can tell two ranges apart."""
UNIVERSE = [key + tail for key in LETTERS for tail in (b"", b"\0", b"z")]


def holds(given: Range, key: bytes) -> bool:
    start, end = given
    if not end:
        return key == start
    return start <= key and (end == OPEN_END or key < end)


def test_any_range_is_covered_when_every_key_of_it_is() -> None:
    dice = random.Random(1)
    covered = 0
    for _ in range(3000):
        granted = [_draw(dice) for _ in range(dice.randrange(5))]
        ranges = Ranges(granted)
        key, end = _draw(dice)
        if end and end != OPEN_END and end <= key:
            continue
        keys = [one for one in UNIVERSE if holds((key, end), one)]
        wanted = all(any(holds(given, one) for given in granted) for one in keys)
        if end == OPEN_END:  # no finite set of keys stands for all
            wanted = wanted and any(given[1] == OPEN_END for given in granted)
        assert ranges.covers(key, end) == wanted, (granted, key, end)
        covered += wanted
    assert 300 < covered < 2500


def _draw(dice: random.Random) -> Range:
    end = dice.choice([b"", OPEN_END, dice.choice(LETTERS), dice.choice(LETTERS)])
    return dice.choice(LETTERS), end


def test_ranges_that_touch_are_one() -> None:
    assert Ranges([(b"b", b"c"), (b"a", b"b"), (b"c", OPEN_END)]).covers(b"a", OPEN_END)
    assert not Ranges([(b"a", b"b"), (b"b\0", b"c")]).covers(b"a", b"c")
    assert Ranges([(b"a", b"b"), (b"b\0", b"c"), (b"b", b"")]).covers(b"a", b"c")


def test_one_key_is_not_all_keys_from_it_on() -> None:
    """GHSA-xg4h-6gfc-h4m8."""
    assert Ranges([(b"foo", b"")]).covers(b"foo", b"")
    assert not Ranges([(b"foo", b"")]).covers(b"foo", OPEN_END)
    assert not Ranges([(b"a", b"z")]).covers(b"foo", OPEN_END)


def test_a_range_without_a_key_grants_nothing_and_is_read_by_who_may_read_its_start() -> None:
    assert not Ranges([(b"b", b"a"), (b"b", b"b")]).covers(b"b", b"")
    assert Ranges([(b"b", b"c")]).covers(b"b", b"a")
    assert not Ranges([(b"a", b"b")]).covers(b"b", b"a")


@pytest.mark.parametrize(
    ("key", "end", "grantable"),
    [
        (b"", b"", False),
        (b"", OPEN_END, False),
        (b"a", b"", True),
        (b"a", OPEN_END, True),
        (b"a", b"b", True),
        (b"a", b"a", False),
        (b"b", b"a", False),
    ],
)
def test_15294_a_permission_needs_a_key_and_must_not_end_before_it_begins(
    key: bytes, end: bytes, grantable: bool
) -> None:
    assert is_grantable(key, end) is grantable
