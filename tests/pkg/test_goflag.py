"""Command lines are read as Go reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.pkg import goflag
from quorate.pkg.goflag import FlagError, FlagSet, HelpRequested


@pytest.fixture
def flags() -> FlagSet:
    flags = FlagSet()
    flags.section("All")
    flags.add("name", goflag.parse_string, "default", "a name")
    flags.add("count", goflag.parse_uint, 3, "a count")
    flags.add("fast", goflag.parse_bool, False, "a switch")
    flags.add("state", goflag.one_of("new", "existing"), "new", "a word")
    return flags


@pytest.mark.parametrize("words", [["--name", "x"], ["-name", "x"], ["--name=x"], ["-name=x"]])
def test_one_dash_or_two_and_space_or_equals(flags: FlagSet, words: list[str]) -> None:
    assert flags.parse(words) == {"name": "x"}


def test_a_boolean_does_not_take_the_next_word(flags: FlagSet) -> None:
    assert flags.parse(["--fast", "--name", "x"]) == {"fast": True, "name": "x"}
    assert flags.parse(["--fast=f"]) == {"fast": False}
    with pytest.raises(FlagError, match='"true" is not a valid flag'):
        flags.parse(["--fast", "true"])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--nope"], "flag provided but not defined: -nope"),
        (["--count", "abc"], 'invalid value "abc" for flag -count: parse error'),
        (["--count", "-1"], 'invalid value "-1" for flag -count: parse error'),
        (["--fast=maybe"], 'invalid boolean value "maybe" for -fast: parse error'),
        (["--state", "old"], 'invalid value "old" for flag -state: invalid value'),
        (["--name"], "flag needs an argument: -name"),
        (["foo"], '"foo" is not a valid flag'),
        (["-"], '"-" is not a valid flag'),
        (["--", "version"], '"version" is not a valid flag'),
    ],
)
def test_what_cannot_be_read_is_named(flags: FlagSet, words: list[str], text: str) -> None:
    with pytest.raises(FlagError) as caught:
        flags.parse(words)
    assert str(caught.value) == text


def test_help_is_not_an_error(flags: FlagSet) -> None:
    with pytest.raises(HelpRequested):
        flags.parse(["-h"])
    assert "--name 'default'" in flags.usage()


def test_the_environment_stands_in_and_empty_means_unset(flags: FlagSet) -> None:
    assert flags.from_environment({"X_COUNT": "7", "X_NAME": ""}, "X") == {"count": 7}
    with pytest.raises(FlagError, match='invalid value "abc" for X_COUNT: parse error'):
        flags.from_environment({"X_COUNT": "abc"}, "X")


@pytest.mark.parametrize(
    ("text", "value"), [("10", 10), ("0x1F", 31), ("010", 8), ("0o10", 8), ("0b11", 3), ("-5", -5)]
)
def test_integers_take_gos_literal_forms(text: str, value: int) -> None:
    assert goflag.parse_int(text) == value


@pytest.mark.parametrize("text", ["", "1.5", "99999999999999999999", "x"])
def test_other_integers_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        goflag.parse_int(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300ms", 0.3), ("5s", 5), ("1h30m", 5400), ("1.5h", 5400), ("0", 0), ("-2m", -120), (".5s", 0.5)],
)
def test_durations_need_a_unit(text: str, seconds: float) -> None:
    assert goflag.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "", "s", "5x", "1h 30m", "h1"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        goflag.parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.1, "100ms"),
        (1.5, "1.5s"),
        (60, "1m0s"),
        (7200, "2h0m0s"),
        (0.0000005, "500ns"),
        (0.015654192, "15.654192ms"),
        (5.000628626, "5.000628626s"),
    ],
)
def test_durations_print_as_go_prints_them(seconds: float, text: str) -> None:
    assert goflag.format_duration(seconds) == text


@given(st.integers(0, 10**9))
def test_a_printed_duration_reads_back(milliseconds: int) -> None:
    text = goflag.format_duration(milliseconds / 1000)
    assert goflag.parse_duration(text) == pytest.approx(milliseconds / 1000)
