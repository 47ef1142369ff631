"""The text format of golden scripts: commands, their input, and the output they must have.

    # comment
    command arg key=value key=(value, value)
    input lines …
    ----
    expected output, up to the first blank line

Output that has blank lines itself stands between two lines `----` more on either side. A directive may go on in the
next line after a backslash. This is the format of the datadriven package that etcd's raft is tested with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

SEPARATOR = "----"


class ScriptError(Exception):
    """A script that cannot be read, or a command that cannot be run: a fault of the script, not of what it tests."""


class Argument(NamedTuple):
    key: str
    values: tuple[str, ...]


class Command(NamedTuple):
    line: int
    """Of the directive, from 1."""
    name: str
    arguments: tuple[Argument, ...]
    input: str
    expected: str

    def positional(self) -> list[str]:
        return [argument.key for argument in self.arguments if not argument.values]

    def options(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        return ((argument.key, argument.values) for argument in self.arguments if argument.values)

    def option(self, key: str) -> str | None:
        """The only value of `key`, or None."""
        for name, values in self.options():
            if name == key:
                return values[0]
        return None


def parse(text: str) -> Iterator[Command]:
    """The commands of a script; raises ScriptError."""
    lines = text.split("\n")
    position = 0
    while position < len(lines):
        start = position
        directive = lines[position].strip()
        position += 1
        if not directive or directive.startswith("#"):
            continue
        while directive.endswith("\\") and position < len(lines):
            directive = directive[:-1].rstrip() + " " + lines[position].strip()
            position += 1
        given = []
        while position < len(lines) and lines[position] != SEPARATOR:
            given.append(lines[position])
            position += 1
        if position == len(lines):
            raise ScriptError(f"line {start + 1}: no {SEPARATOR} after {directive!r}")
        expected, position = _expected(lines, position + 1)
        name, arguments = _directive(directive)
        yield Command(start + 1, name, arguments, "\n".join(given).strip(), expected)


def parse_directive(text: str) -> Command:
    """A line of input that is written as a directive is."""
    name, arguments = _directive(text)
    return Command(0, name, arguments, "", "")


def _expected(lines: list[str], position: int) -> tuple[str, int]:
    if position < len(lines) and lines[position] == SEPARATOR:
        end = position + 1
        while lines[end : end + 2] != [SEPARATOR, SEPARATOR]:
            end += 1
            if end >= len(lines):
                raise ScriptError(f"line {position + 1}: expected output does not end")
        return "".join([line + "\n" for line in lines[position + 1 : end]]), end + 2
    end = position
    while end < len(lines) and lines[end].strip():
        end += 1
    return "".join([line + "\n" for line in lines[position:end]]), end


def _directive(text: str) -> tuple[str, tuple[Argument, ...]]:
    words = _words(text)
    return words[0], tuple(_argument(word) for word in words[1:])


def _words(text: str) -> list[str]:
    """Split at blanks outside of parentheses."""
    words, word, depth = [], "", 0
    for ch in text:
        if ch.isspace() and not depth:
            if word:
                words.append(word)
            word = ""
            continue
        depth += (ch == "(") - (ch == ")")
        word += ch
    return [*words, word] if word else words


def _argument(word: str) -> Argument:
    key, equals, value = word.partition("=")
    if not equals:
        return Argument(key, ())
    if value.startswith("(") and value.endswith(")"):
        inner = value[1:-1].strip()
        return Argument(key, tuple(part.strip() for part in inner.split(",")) if inner else ())
    return Argument(key, (value,))
