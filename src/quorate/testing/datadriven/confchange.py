"""Scripts about configurations: from change to change, with the progress of every member."""

from __future__ import annotations

from quorate.raft import confchange
from quorate.raft.errors import InvalidConfChange
from quorate.raft.tracker import Membership, Tracker
from quorate.testing.datadriven.interaction import parse_changes
from quorate.testing.datadriven.script import Command, ScriptError


class Changer:
    """A configuration that every command changes; the last index is the number of commands run before."""

    def __init__(self) -> None:
        self._tracker = Tracker(10)
        self._last_index = 0

    def run(self, command: Command) -> str:
        """The output of `simple`, `enter-joint` and `leave-joint`; raises ScriptError."""
        try:
            membership, progress = self._apply(command)
        except InvalidConfChange as error:
            return f"{error}\n"
        finally:
            self._last_index += 1
        self._tracker.install(membership, progress)
        members = [f"{id_}: {member}\n" for id_, member in self._tracker.progress.items()]
        return "".join([f"{membership}\n", *members])

    def _apply(self, command: Command) -> tuple[Membership, confchange.ProgressMap]:
        changes = parse_changes(command.input)
        if command.name == "simple":
            return confchange.simple(self._tracker, changes, self._last_index)
        if command.name == "enter-joint":
            auto_leave = command.option("autoleave") == "true"
            return confchange.enter_joint(self._tracker, changes, self._last_index, auto_leave=auto_leave)
        if command.name == "leave-joint":
            if changes:
                raise InvalidConfChange("this command takes no input")
            return confchange.leave_joint(self._tracker)
        raise ScriptError(f"line {command.line}: unknown command {command.name}")
