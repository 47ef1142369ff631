"""`compaction`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.cmd.ctl.failures import BAD_ARGS, ERROR, Fail
from quorate.cmd.ctl.flags import BOOL, Flag
from quorate.cmd.ctl.index import Command
from quorate.pkg.gotext import parse_int

if TYPE_CHECKING:
    from quorate.cmd.ctl.run import Run


def _compaction(run: Run) -> None:
    if len(run.args) != 1:
        raise Fail(BAD_ARGS, "compaction command needs 1 argument")
    try:
        revision = parse_int(run.args[0])
    except ValueError as error:
        raise Fail(ERROR, str(error)) from None
    run.client().call("Compact", revision=revision, physical=run.flags["physical"])
    run.print(f"compacted revision {revision}")


FLAGS = (Flag("physical", BOOL, False, "wait until what is compacted has gone from the disk"),)
COMMANDS = {"compaction": Command("compaction [options] <revision>", _compaction, FLAGS)}
