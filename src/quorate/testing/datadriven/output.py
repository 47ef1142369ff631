"""What a command of a script prints, and what the nodes log meanwhile, in one text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE")
QUIET = LEVELS.index("NONE")


class Output:
    """What a command prints, and what the nodes log meanwhile."""

    def __init__(self) -> None:
        self.level = 0
        self.parts: list[str] = []

    def write(self, text: str) -> None:
        if self.level != QUIET:
            self.parts.append(text)

    def line(self, text: str) -> None:
        self.write(text + "\n")

    @contextmanager
    def indented(self) -> Iterator[None]:
        outer, self.parts = self.parts, []
        try:
            yield
        finally:
            inner, self.parts = "".join(self.parts), outer
            self.parts += [f"  {line}\n" for line in inner.splitlines()]

    def debug(self, text: str) -> None:
        self._log(0, text)

    def info(self, text: str) -> None:
        self._log(1, text)

    def warning(self, text: str) -> None:
        self._log(2, text)

    def error(self, text: str) -> None:
        self._log(3, text)

    def _log(self, level: int, text: str) -> None:
        if self.level <= level:
            self.parts.append(f"{LEVELS[level]} {text}\n")
