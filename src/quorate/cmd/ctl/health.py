"""`endpoint health`: does a linearizable read succeed, and is there no alarm?"""

from __future__ import annotations

import time
from contextlib import closing
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from quorate.api import errors
from quorate.cmd.ctl.alarm import KINDS
from quorate.cmd.ctl.dial import credentials, log_in
from quorate.cmd.ctl.each import CLUSTER, client_of, targets
from quorate.cmd.ctl.failures import ERROR, CallFail, Fail
from quorate.cmd.ctl.index import Command
from quorate.cmd.ctl.show import Flat, table
from quorate.pkg.goflag import format_duration
from quorate.pkg.gotext import quote

if TYPE_CHECKING:
    from quorate.cmd.ctl.rpc import Client
    from quorate.cmd.ctl.run import Run
    from quorate.cmd.ctl.show import Line

HEADS = ("endpoint", "health", "took", "error")
KEY = b"health"


class Health(NamedTuple):
    """`took` as Go prints durations; `error` is empty for a healthy endpoint."""

    target: str
    took: str
    error: str


def _health(run: Run) -> None:
    asked = targets(run)
    _ = run.format
    user, password = credentials(run.flags["user"], run.flags["password"])
    answers: SimpleQueue[Health] = SimpleQueue()

    def probe(target: str) -> None:
        with closing(client_of(run, target, run.flags["auth-jwt-token"])) as client:
            started = time.monotonic_ns()
            error = _error_of(client, user, password, run.settings.dial_timeout)
            took = format_duration((time.monotonic_ns() - started) / 1e9)
        answers.put(Health(target, took, error))

    for target in asked:
        Thread(target=probe, args=(target,), daemon=True).start()
    found = [answers.get() for _ in asked]
    if run.format == "simple":
        for one in found:
            (run.warn if one.error else run.print)(_line(one))
    else:
        rows = [[one.target, "false" if one.error else "true", one.took, one.error] for one in found]
        run.show(
            None,
            fields=lambda: [line for row in rows for line in _fields(*row)],
            table=lambda: table(HEADS, rows),
            json=lambda: [_json(one) for one in found],
        )
    if any(one.error for one in found):
        raise Fail(ERROR, "unhealthy cluster")


def _error_of(client: Client, user: str, password: str, dial_timeout: float) -> str:
    """What is wrong with an endpoint; nothing for a healthy one."""
    try:
        if user and password and not client.token:
            log_in(client, user, password, dial_timeout)
        try:
            client.call("Range", key=KEY)
        except CallFail as fail:
            if fail.text != errors.PermissionDenied.text:  # the answer of a member that can agree with the others
                raise
    except Fail as fail:
        return fail.text
    try:
        alarms = client.call("Alarm").alarms
    except CallFail:
        return "Unable to fetch the alarm list"
    if not alarms:
        return ""
    return "Active Alarm(s): " + "".join(f"{KINDS.get(alarm.alarm, 'UNKNOWN')} " for alarm in alarms)


def _line(one: Health) -> str:
    if one.error:
        return f"{one.target} is unhealthy: failed to commit proposal: {one.error}"
    return f"{one.target} is healthy: successfully committed proposal: took = {one.took}"


def _fields(target: str, healthy: str, took: str, error: str) -> list[Line]:
    return [f'"Endpoint" : {quote(target)}', f'"Health" : {healthy}', f'"Took" : {took}', f'"Error" : {error}', ""]


def _json(one: Health) -> Flat:
    shown = Flat(endpoint=one.target, health=not one.error, took=one.took)
    if one.error:
        shown["error"] = one.error
    return shown


COMMANDS = {"endpoint health": Command("endpoint health", _health, (CLUSTER,))}
