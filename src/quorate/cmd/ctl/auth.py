"""`auth enable`, `disable` and `status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.api import errors
from quorate.cmd.ctl.failures import BAD_ARGS, CallFail, Fail
from quorate.cmd.ctl.index import Command

if TYPE_CHECKING:
    from quorate.cmd.ctl.run import Run

ROOT = "root"
"""The user and the role that may do everything."""


def _enable(run: Run) -> None:
    _no_arguments(run, "enable")
    client = run.client()
    while True:
        try:
            client.call("AuthEnable")
            break
        except CallFail as fail:
            if fail.text != errors.RootRoleMissing.text:
                raise
        client.call("RoleAdd", name=ROOT)
        client.call("UserGrantRole", user=ROOT, role=ROOT)
    run.print("Authentication Enabled")


def _disable(run: Run) -> None:
    _no_arguments(run, "disable")
    run.client().call("AuthDisable")
    run.print("Authentication Disabled")


def _status(run: Run) -> None:
    _no_arguments(run, "status")
    reply = run.client().call("AuthStatus")
    enabled = "true" if reply.enabled else "false"
    run.show(reply, simple=lambda: [f"Authentication Status: {enabled}", f"AuthRevision: {reply.authRevision}"])


def _no_arguments(run: Run, word: str) -> None:
    if run.args:
        raise Fail(BAD_ARGS, f"auth {word} command does not accept any arguments")


COMMANDS = {
    "auth enable": Command("auth enable", _enable),
    "auth disable": Command("auth disable", _disable),
    "auth status": Command("auth status", _status),
}
