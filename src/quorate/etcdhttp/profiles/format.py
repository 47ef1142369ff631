"""Profiles as bytes: the message that pprof reads (google/pprof, proto/profile.proto), and text for flame graphs."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from quorate.api.encode import varint
from quorate.etcdhttp.profiles.stacks import Place, Stack

T = TypeVar("T")

Kind = tuple[str, str]
"""What a number counts, and its unit."""


class Profile:
    """Numbers by stack. `kinds` says what the numbers of a sample are; `began` in Unix, `seconds` it lasted."""

    def __init__(self, kinds: Sequence[Kind], began: float = 0.0, period: int = 0) -> None:
        self.kinds = list(kinds)
        self.began = began
        self.seconds = 0.0
        self.period = period
        """Of the last kind between two samples, 0 where none were taken."""
        self._samples: dict[tuple[str, Stack], list[int]] = {}

    def add(self, thread: str, stack: Stack, numbers: Sequence[int]) -> None:
        """More for one stack of a thread."""
        known = self._samples.setdefault((thread, stack), [0] * len(numbers))
        for place, number in enumerate(numbers):
            known[place] += number

    def total(self, place: int = 0) -> int:
        """Sum of the numbers at one place of all samples."""
        return sum(numbers[place] for numbers in self._samples.values())

    def text(self) -> str:
        """A line for each stack, the outermost frame first, and its last number: what flame graphs are made of."""
        lines = []
        for (thread, stack), numbers in self._samples.items():
            names = [thread, *(f"{_short(place.file)}:{place.function}" for place in reversed(stack))]
            lines.append(f"{';'.join(name.replace(';', ',') for name in names)} {numbers[-1]}\n")
        return "".join(sorted(lines))

    def message(self) -> bytes:
        """pprof's message, compressed."""
        return gzip.compress(b"".join(self._fields()), 6)

    def _fields(self) -> Iterator[bytes]:
        strings: _Numbers[str] = _Numbers()
        strings.of("")
        places: _Numbers[Place] = _Numbers(first=1)
        functions: _Numbers[tuple[str, str]] = _Numbers(first=1)
        for kind in self.kinds:
            yield _bytes(1, _kind(kind, strings))
        key = strings.of("thread")
        for (thread, stack), numbers in self._samples.items():
            label = _number(1, key) + _number(2, strings.of(thread))
            ids = b"".join(varint(places.of(place)) for place in stack)
            values = b"".join(varint(number) for number in numbers)
            yield _bytes(2, _bytes(1, ids) + _bytes(2, values) + _bytes(3, label))
        for place, number in places.all():
            line = _number(1, functions.of(place[:2])) + _number(2, place.line)
            yield _bytes(4, _number(1, number) + _bytes(4, line))
        for (function, file), number in functions.all():
            name, path = strings.of(f"{_short(file)}:{function}"), strings.of(file)
            yield _bytes(5, _number(1, number) + _number(2, name) + _number(3, name) + _number(4, path))
        if self.period:
            yield _bytes(11, _kind(self.kinds[-1], strings)) + _number(12, self.period)
        yield _number(9, int(self.began * 1e9)) + _number(10, int(self.seconds * 1e9))
        yield _number(14, strings.of(self.kinds[-1][0]))
        for text, _ in strings.all():
            yield _bytes(6, text.encode("utf-8", "replace"))


class _Numbers(Generic[T]):
    """Numbers for things, in the order in which they come."""

    def __init__(self, first: int = 0) -> None:
        self._first = first
        self._known: dict[T, int] = {}

    def of(self, thing: T) -> int:
        return self._known.setdefault(thing, len(self._known) + self._first)

    def all(self) -> Iterator[tuple[T, int]]:
        return iter(self._known.items())


def _kind(kind: Kind, strings: _Numbers[str]) -> bytes:
    return _number(1, strings.of(kind[0])) + _number(2, strings.of(kind[1]))


def _number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def _short(file: str) -> str:
    """The last two parts of a path."""
    return "/".join(file.rsplit("/", 2)[-2:])
