"""Command lines as cobra and pflag read them: `--name value`, `--name=value`, `-n value`, `-nvalue`, flags and other
words in any order, `--` before words that only look like flags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quorate.cmd.ctl.failures import UsageFail
from quorate.pkg.gotext import parse_bool, parse_int, parse_uint, quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BOOL = "bool"
STRING = "string"
STRINGS = "strings"
INT = "int"
UINT = "uint"
DURATION = "duration"
"""Seconds."""


class Flag:
    """One flag; `short` is a letter or nothing. No named tuple: making one takes longer than reading a command line."""

    __slots__ = ("default", "kind", "name", "short", "usage")

    def __init__(self, name: str, kind: str, default: Any, usage: str, short: str = "") -> None:
        self.name = name
        self.kind = kind
        self.default = default
        self.usage = usage
        self.short = short

    def read(self, text: str) -> Any:
        """The value of a text. Raises ValueError."""
        if self.kind == BOOL:
            return parse_bool(text)
        if self.kind == INT:
            return parse_int(text, 0)
        if self.kind == UINT:
            return parse_uint(text, 0)
        if self.kind == STRINGS:
            return _split(text)
        if self.kind == DURATION:
            return _duration(text)
        return text


class Parsed:
    """What a command line says."""

    __slots__ = ("args", "dash_at", "given", "values")

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        """Of all flags, by name."""
        self.given: set[str] = set()
        """Which of them were given."""
        self.args: list[str] = []
        """The other words."""
        self.dash_at = -1
        """How many of the other words stand before `--`; -1 without one."""


class HelpAsked(Exception):
    """`-h` or `--help`."""


HELP = Flag("help", BOOL, False, "", "h")


def parse(words: Sequence[str], flags: Iterable[Flag]) -> Parsed:
    """Raises UsageFail, HelpAsked."""
    known = {flag.name: flag for flag in flags}
    known.setdefault("help", HELP)
    shorts = {flag.short: flag for flag in known.values() if flag.short}
    parsed = Parsed({flag.name: flag.default for flag in known.values()})
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            parsed.dash_at = len(parsed.args)
            parsed.args.extend(rest)
            break
        if len(word) < 2 or word[0] != "-":
            parsed.args.append(word)
        elif word.startswith("--"):
            _long(word, known, rest, parsed)
        else:
            _short(word, shorts, rest, parsed)
    if parsed.values["help"]:
        raise HelpAsked
    return parsed


def _long(word: str, known: dict[str, Flag], rest: list[str], parsed: Parsed) -> None:
    name, equals, text = word[2:].partition("=")
    if not name or name[0] == "-":
        raise UsageFail(f"bad flag syntax: {word}")
    flag = known.get(name)
    if flag is None:
        raise UsageFail(f"unknown flag: --{name}")
    if not equals:
        if flag.kind == BOOL:
            text = "true"
        elif rest:
            text = rest.pop(0)
        else:
            raise UsageFail(f"flag needs an argument: {word}")
    _set(flag, text, parsed)


def _short(word: str, shorts: dict[str, Flag], rest: list[str], parsed: Parsed) -> None:
    letters = word[1:]
    while letters:
        letter, after = letters[0], letters[1:]
        flag = shorts.get(letter)
        if flag is None:
            raise UsageFail(f"unknown shorthand flag: {letter!r} in -{letters}")
        if len(letters) > 2 and after[0] == "=":
            text, letters = after[1:], ""
        elif flag.kind == BOOL:
            text, letters = "true", after
        elif after:
            text, letters = after, ""
        elif rest:
            text, letters = rest.pop(0), ""
        else:
            raise UsageFail(f"flag needs an argument: {letter!r} in -{letters}")
        _set(flag, text, parsed)


def _set(flag: Flag, text: str, parsed: Parsed) -> None:
    try:
        value = flag.read(text)
    except ValueError as error:
        name = f"-{flag.short}, --{flag.name}" if flag.short else f"--{flag.name}"
        raise UsageFail(f'invalid argument {quote(text)} for "{name}" flag: {error}') from None
    if flag.kind == STRINGS and flag.name in parsed.given:
        value = parsed.values[flag.name] + value
    parsed.values[flag.name] = value
    parsed.given.add(flag.name)


def _split(text: str) -> list[str]:
    """A list with commas, read as a line of CSV."""
    if '"' not in text:
        return text.split(",") if text else []
    import csv

    return next(csv.reader([text]), [])


def _duration(text: str) -> float:
    """Raises ValueError in the words of `time.ParseDuration`."""
    from quorate.pkg.goflag import parse_duration

    try:
        return float(parse_duration(text))
    except ValueError:
        pass
    if text and text.lstrip("+-").replace(".", "", 1).isdigit():
        raise ValueError(f"time: missing unit in duration {quote(text)}")
    raise ValueError(f"time: invalid duration {quote(text)}")


def words_of_command(words: Sequence[str], flags: Iterable[Flag]) -> list[int]:
    """Where in a command line the words are that may name a command: not flags, not their values."""
    known = {flag.name: flag for flag in flags}
    known.setdefault("help", HELP)
    shorts = {flag.short: flag for flag in known.values() if flag.short}
    places = []
    at = 0
    while at < len(words):
        word = words[at]
        if word == "--":
            break
        if word.startswith("--") and "=" not in word:
            flag = known.get(word[2:])
            at += flag is None or flag.kind != BOOL
        elif word.startswith("-") and "=" not in word and len(word) == 2:
            flag = shorts.get(word[1])
            at += flag is None or flag.kind != BOOL
        elif word and not word.startswith("-"):
            places.append(at)
        at += 1
    return places
