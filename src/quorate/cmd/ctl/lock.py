"""`lock`: hold a lock until a signal comes, or while a command runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.cmd.ctl import kv
from quorate.cmd.ctl.failures import BAD_ARGS, ERROR, Fail
from quorate.cmd.ctl.flags import INT, Flag
from quorate.cmd.ctl.holding import Signalled, end_by_signals, hold
from quorate.cmd.ctl.index import Command
from quorate.cmd.ctl.queueing import Place, Session
from quorate.cmd.ctl.run import as_bytes
from quorate.cmd.ctl.spawn import Ended, spawn

if TYPE_CHECKING:
    from quorate.cmd.ctl.run import Run


def _lock(run: Run) -> None:
    if not run.args:
        raise Fail(BAD_ARGS, "lock takes a lock name argument and an optional command to execute")
    end_by_signals()
    with Session(run, run.flags["ttl"]) as session:
        place = Place(session, as_bytes(run.args[0]), b"")
        try:
            try:
                place.wait()
                reply = place.get()
            except Signalled:
                raise Fail(ERROR, "context canceled") from None
            if run.args[1:]:
                _run_command(run, place)
                return
            run.show(reply, simple=lambda: kv.get_lines(reply, run.hex), fields=lambda: kv.get_fields(reply))
            hold(session)
        except Signalled:
            return
        finally:
            place.leave()


def _run_command(run: Run, place: Place) -> None:
    key = place.key.decode("utf-8", "surrogateescape")
    try:
        spawn(run.args[1:], run.environ, {"ETCD_LOCK_KEY": key, "ETCD_LOCK_REV": str(place.header.revision)})
    except Ended as ended:
        raise Fail(ended.code & 0xFF, ended.text) from None


FLAGS = (Flag("ttl", INT, 10, "seconds that the lock is held after this program has gone without a word"),)
COMMANDS = {"lock": Command("lock <lockname> [exec-command arg1 arg2 ...]", _lock, FLAGS)}
