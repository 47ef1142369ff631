"""Running scripts and telling what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from quorate.testing.datadriven import confchange, interaction, quorum
from quorate.testing.datadriven.script import Command, ScriptError, parse


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
    run = _runner_for(commands)
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


def _runner_for(commands: list[Command]) -> Callable[[Command], str]:
    """The kind of a script shows in its commands, so that it may lie anywhere."""
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
