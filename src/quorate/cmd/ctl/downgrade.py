"""`downgrade validate`, `enable` and `cancel`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.cmd.ctl.failures import BAD_ARGS, Fail
from quorate.cmd.ctl.index import Command

if TYPE_CHECKING:
    from collections.abc import Callable

    from quorate.cmd.ctl.run import Run

ACTIONS = {"validate": 0, "enable": 1, "cancel": 2}


def _downgrade(action: str) -> Callable[[Run], None]:
    def do(run: Run) -> None:
        version = ""
        if action != "cancel":
            if len(run.args) != 1:
                raise Fail(BAD_ARGS, "TARGET_VERSION not provided")
            version = run.args[0]
        reply = run.client().call("Downgrade", action=ACTIONS[action], version=version)
        run.show(reply, simple=lambda: [f"Downgrade {action} success, cluster version {reply.version}"])

    return do


COMMANDS = {
    "downgrade validate": Command("downgrade validate <TARGET_VERSION>", _downgrade("validate")),
    "downgrade enable": Command("downgrade enable <TARGET_VERSION>", _downgrade("enable")),
    "downgrade cancel": Command("downgrade cancel", _downgrade("cancel")),
}
