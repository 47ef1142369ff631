"""Running scripts and telling what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from quorate.testing.datadriven import confchange, interaction, quorum
from quorate.testing.datadriven.lease import LeaseScript
from quorate.testing.datadriven.mvcc import MvccScript
from quorate.testing.datadriven.room import Room
from quorate.testing.datadriven.script import Command, ScriptError, parse
from quorate.testing.datadriven.wal import WalScript

ROOMS: dict[str, type[Room]] = {"wal": WalScript, "mvcc": MvccScript, "lease": LeaseScript}
"""Rooms with a state, by the directive with which their scripts begin."""


class Difference(NamedTuple):
    line: int
    command: str
    expected: str
    actual: str


def run_script(text: str) -> list[Difference]:
    """Run every command of a script; returns those whose output is not the expected one. Raises ScriptError.

    Stops where something is raised that no script expects: what follows would only be consequences.
    """
    commands = list(parse(text))
    with ExitStack() as leaving:
        return _run(commands, _runner_for(commands, leaving))


def _run(commands: list[Command], run: Callable[[Command], str]) -> list[Difference]:
    differences: list[Difference] = []
    for command in commands:
        try:
            actual = run(command)
        except ScriptError:
            raise
        except Exception as error:
            actual = f"{type(error).__name__}: {error}"
            return [*differences, Difference(command.line, command.name, command.expected, actual + "\n")]
        if actual and not actual.endswith("\n"):
            actual += "\n"
        if actual != command.expected:
            differences.append(Difference(command.line, command.name, command.expected, actual))
    return differences


def _runner_for(commands: list[Command], leaving: ExitStack) -> Callable[[Command], str]:
    """The kind of a script shows in its commands, so that it may lie anywhere."""
    if commands and commands[0].name in ROOMS:
        directory = Path(leaving.enter_context(TemporaryDirectory()))
        return leaving.enter_context(closing(ROOMS[commands[0].name](directory))).run
    names = {command.name for command in commands}
    if names <= {"committed", "vote"}:
        return quorum.run
    if names <= {"simple", "enter-joint", "leave-joint"}:
        return confchange.Changer().run
    return interaction.Cluster().run


def scripts(places: list[Path]) -> Iterator[Path]:
    """The scripts that are, or are anywhere under, `places`."""
    for place in places:
        if place.is_dir():
            yield from sorted(path for path in place.rglob("*.txt") if path.is_file())
        else:
            yield place
