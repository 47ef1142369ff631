"""What the scripts of the rooms with a state have in common: a directory, a method for each command, errors as output.

Here the first directive of a script names the room and gives it its options. The directory is a real one, gone when
the script ends; its path is cut out of everything printed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from quorate.testing.datadriven.script import Command, ScriptError


class Room:
    """A command `some-thing` is run by the generator `do_some_thing`: the lines it yields are the output."""

    expected: ClassVar[tuple[type[Exception], ...]] = ()
    """Errors that are a command's output: class and text, behind what was printed before."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, command: Command) -> str:
        """The output of `command`, `ok` if there is none; raises ScriptError for one that makes no sense."""
        handler = getattr(self, "do_" + command.name.replace("-", "_"), None)
        if handler is None:
            raise ScriptError(f"line {command.line}: unknown command {command.name}")
        lines: list[str] = []
        try:
            lines += handler(command)
            lines += self.afterwards()
        except self.expected as error:
            lines.append(f"{type(error).__name__}: {error}")
        except (IndexError, ValueError) as error:
            raise ScriptError(f"line {command.line}: {command.name}: {error}") from error
        return "\n".join(lines).replace(f"{self.directory}/", "") or "ok"

    def afterwards(self) -> Iterator[str]:
        """What has happened besides, printed below the output of whichever command brought it about."""
        return iter(())

    def close(self) -> None:
        """The script has ended, well or not."""


def number(command: Command, key: str, default: int = 0) -> int:
    """The integer given as option `key`."""
    value = command.option(key)
    return default if value is None else int(value)


def data_of(word: str) -> bytes:
    """The bytes a word stands for: `x*300` is 300 times x, `\\0` a zero byte."""
    letter, star, count = word.partition("*")
    return (letter * int(count) if star else word).replace("\\0", "\0").encode()


def shown(data: bytes) -> str:
    """The same word again."""
    text = data.decode().replace("\0", "\\0")
    return f"{text[0]}*{len(text)}" if len(text) > 8 and len(set(text)) == 1 else text
