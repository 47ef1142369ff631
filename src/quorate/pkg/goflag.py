"""Command lines as Go's flag package reads them: one dash or two, `-name value` or `-name=value`, Go's durations.

    flags = FlagSet("etcd")
    flags.add("name", parse_string, "default", "human-readable name of this member")
    values = flags.parse(sys.argv[1:])          # {"name": "default", ...}; raises FlagError

Environment variables stand in for flags that are not given: PREFIX_ plus the name in capitals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Parser = Callable[[str], Any]


class FlagError(Exception):
    """A command line that cannot be read; the text says which part."""


class HelpRequested(Exception):
    """-h or --help was given."""


@dataclass(frozen=True, slots=True)
class Flag:
    name: str
    parse: Parser
    default: Any
    usage: str
    section: str


class FlagSet:
    """The flags of one command."""

    def __init__(self) -> None:
        self.flags: dict[str, Flag] = {}
        self.removed: dict[str, str] = {}
        """What to use now, by the name of a flag that older releases had. Who gives such a flag is told."""
        self.ignored: set[str] = set()
        """Words that are taken like booleans and mean nothing any more. They are given back as None."""
        self._section = ""

    def section(self, title: str) -> None:
        """Flags added from here on are listed under `title`."""
        self._section = title

    def add(self, name: str, parse: Parser, default: Any, usage: str) -> None:
        self.flags[name] = Flag(name, parse, default, usage, self._section)

    def parse(self, arguments: Sequence[str]) -> dict[str, Any]:
        """Values of the flags that `arguments` set. Raises FlagError, HelpRequested."""
        given: dict[str, Any] = {}
        words = iter(arguments)
        for word in words:
            if word == "--":
                word = next(words, "")
                if not word:
                    break
                raise FlagError(f'"{word}" is not a valid flag')
            if len(word) < 2 or word[0] != "-":
                raise FlagError(f'"{word}" is not a valid flag')
            name, equals, text = word.removeprefix("-").removeprefix("-").partition("=")
            if name in ("h", "help"):
                raise HelpRequested
            if name in self.ignored:
                given[name] = None
                continue
            flag = self.flags.get(name)
            if flag is None:
                hint = f" ({self.removed[name]})" if name in self.removed else ""
                raise FlagError(f"flag provided but not defined: -{name}{hint}")
            given[name] = _value(flag, text if equals else None, words)
        return given

    def from_environment(self, environment: Mapping[str, str], prefix: str) -> dict[str, Any]:
        """Values of the flags whose variable is set and not empty. Raises FlagError."""
        found: dict[str, Any] = {}
        for name, hint in self.removed.items():
            if environment.get(variable := variable_name(prefix, name)):
                raise FlagError(f"{variable} has no meaning any more ({hint})")
        for flag in self.flags.values():
            variable = variable_name(prefix, flag.name)
            text = environment.get(variable, "")
            if not text:
                continue
            try:
                found[flag.name] = flag.parse(text)
            except ValueError as err:
                raise FlagError(f'invalid value "{text}" for {variable}: {err}') from None
        return found

    def usage(self) -> str:
        """All flags by section, with their defaults."""
        lines = []
        section = None
        for flag in self.flags.values():
            if flag.section != section:
                section = flag.section
                lines.append(f"\n{section}:\n")
            lines.append(f"  --{flag.name} '{show(flag.default)}'\n    \t{flag.usage}")
        return "\n".join(lines) + "\n"


def variable_name(prefix: str, name: str) -> str:
    """The environment variable that stands in for flag `name`."""
    return f"{prefix}_{name.upper().replace('-', '_')}"


def _value(flag: Flag, text: str | None, words: Iterator[str]) -> Any:
    if text is None:
        if flag.parse is parse_bool:  # a boolean never takes the next word: it may be the next flag
            return True
        text = next(words, None)
        if text is None:
            raise FlagError(f"flag needs an argument: -{flag.name}")
    try:
        return flag.parse(text)
    except ValueError as err:
        kind = "boolean value" if flag.parse is parse_bool else "value"
        tail = f" for -{flag.name}" if flag.parse is parse_bool else f" for flag -{flag.name}"
        raise FlagError(f'invalid {kind} "{text}"{tail}: {err}') from None


def show(value: Any) -> str:
    """A value as Go prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ",".join(f"{name}={show(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ",".join(str(item) for item in value)
    return format_duration(value) if isinstance(value, Duration) else str(value)


def parse_string(text: str) -> str:
    return text


def parse_list(text: str) -> list[str]:
    """A comma-separated list."""
    return [item.strip() for item in text.split(",") if item.strip()]


def parse_bool(text: str) -> bool:
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError("parse error")


def parse_int(text: str) -> int:
    """A 64-bit integer in any of Go's literal forms."""
    octal = re.fullmatch(r"([+-]?)0([0-7_]+)", text)
    try:
        value = int(octal[1] + octal[2], 8) if octal else int(text, 0)
    except ValueError:
        raise ValueError("parse error") from None
    if not -(2**63) <= value < 2**63:
        raise ValueError("value out of range")
    return value


def parse_uint(text: str) -> int:
    """A non-negative 64-bit integer."""
    if text.startswith("-"):
        raise ValueError("parse error")
    return parse_int(text)


def parse_uint32(text: str) -> int:
    """A non-negative 32-bit integer."""
    value = parse_uint(text)
    if value >= 2**32:
        raise ValueError("value out of range")
    return value


def one_of(*words: str) -> Parser:
    """A parser that takes just these words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError("invalid value")
        return text

    return parse


class Duration(float):
    """A length of time in seconds that prints as Go prints it."""


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]*\.?[0-9]+|[0-9]+\.)(ns|us|µs|μs|ms|s|m|h)")


def parse_duration(text: str) -> Duration:
    """Go's duration syntax, such as `300ms` or `1h30m`; a unit is required except for 0. Raises ValueError."""
    rest = text.lstrip("+-") if text[:1] in "+-" else text
    sign = -1.0 if text.startswith("-") else 1.0
    if rest == "0":
        return Duration(0)
    parts = _PART.findall(rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise ValueError("parse error")
    return Duration(sign * sum(float(number) * _UNITS[unit] for number, unit in parts))


def format_duration(seconds: float) -> str:
    """`seconds` as Go prints a duration: 0s, 100ms, 1.5s, 2h0m0s."""
    if seconds == 0:
        return "0s"
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if seconds < 1:
        for unit, scale in (("ms", 1e3), ("µs", 1e6), ("ns", 1e9)):
            if seconds * scale >= 1:
                return f"{_decimal(seconds * scale, 6)}{unit}"
    minutes, left = divmod(round(seconds, 9), 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{_decimal(left, 9)}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _decimal(number: float, places: int) -> str:
    """Without zeros at the end."""
    return f"{number:.{places}f}".rstrip("0").rstrip(".")
