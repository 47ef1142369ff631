"""`defrag` and `move-leader`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.cmd.ctl.each import CLUSTER, ask, client_of, targets
from quorate.cmd.ctl.failures import BAD_ARGS, ERROR, CallFail, Exit, Fail
from quorate.cmd.ctl.flags import STRING, Flag
from quorate.cmd.ctl.index import Command
from quorate.pkg.gotext import parse_uint

if TYPE_CHECKING:
    from quorate.cmd.ctl.run import Run


def _defrag(run: Run) -> None:
    if run.flags["data-dir"]:
        from quorate.cmd.ctl.snapshot import hand_over

        run.warn("Use `etcdutl defrag` instead, for members that do not run.", "")
        hand_over(run, ["defrag"], (DATA_DIR,))
    run.client()
    failed = False
    for target in targets(run):
        try:
            ask(run, target, "Defragment")
        except CallFail as fail:
            failed = True
            run.warn(f"Failed to defragment etcd member[{target}] ({fail.text})")
        else:
            run.print(f"Finished defragmenting etcd member[{target}]")
    if failed:
        raise Exit(ERROR)


def _move_leader(run: Run) -> None:
    if len(run.args) != 1:
        raise Fail(BAD_ARGS, "move-leader command needs 1 argument")
    try:
        target = parse_uint(run.args[0], 16)
    except ValueError as error:
        raise Fail(BAD_ARGS, str(error)) from None
    endpoints = [endpoint.text for endpoint in run.client().endpoints]
    for endpoint in endpoints:
        status = ask(run, endpoint, "Status")
        if status.header.member_id == status.leader:
            break
    else:
        raise Fail(BAD_ARGS, f"no leader endpoint given at [{' '.join(endpoints)}]")
    leader = client_of(run, endpoint, run.client().token)
    reply = leader.call("MoveLeader", targetID=target)
    run.show(reply, simple=lambda: [f"Leadership transferred from {status.leader:x} to {target:x}"])


DATA_DIR = Flag("data-dir", STRING, "", "deprecated: `etcdutl defrag` works on members that do not run")

COMMANDS = {
    "defrag": Command("defrag", _defrag, (CLUSTER, DATA_DIR)),
    "move-leader": Command("move-leader <transferee-member-id>", _move_leader),
}
