"""`endpoint status` and `endpoint hashkv`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.cmd.ctl.each import CLUSTER, ask, targets
from quorate.cmd.ctl.failures import ERROR, CallFail, Exit, Fail
from quorate.cmd.ctl.flags import INT, Flag
from quorate.cmd.ctl.index import Command
from quorate.cmd.ctl.show import Flat, header_fields, table
from quorate.pkg.gotext import quote, si_bytes

if TYPE_CHECKING:
    from quorate.api.plain import Message
    from quorate.cmd.ctl.run import Run
    from quorate.cmd.ctl.show import Line

STATUS_HEADS = (
    "endpoint",
    "ID",
    "version",
    "db size",
    "is leader",
    "is learner",
    "raft term",
    "raft index",
    "raft applied index",
    "errors",
)
HASH_HEADS = ("endpoint", "hash")

Found = tuple[str, "Message"]
"""An endpoint and its answer."""


def _status(run: Run) -> None:
    found: list[Found] = []
    run.client()
    asked = targets(run)
    for target in asked:
        try:
            found.append((target, ask(run, target, "Status")))
        except CallFail as fail:
            run.warn(f"Failed to get the status of endpoint {target} ({fail.text})")
    run.show(
        None,
        simple=lambda: [", ".join(_status_row(*one)) for one in found],
        fields=lambda: [line for one in found for line in _status_fields(*one)],
        table=lambda: table(STATUS_HEADS, [_status_row(*one) for one in found]),
        json=lambda: [Flat(Endpoint=target, Status=status) for target, status in found],
    )
    if len(found) < len(asked):
        raise Exit(ERROR)


def _status_row(target: str, status: Message) -> list[str]:
    return [
        target,
        f"{status.header.member_id:x}",
        status.version,
        si_bytes(status.dbSize),
        _bool(status.leader == status.header.member_id),
        _bool(status.isLearner),
        str(status.raftTerm),
        str(status.raftIndex),
        str(status.raftAppliedIndex),
        ", ".join(status.errors),
    ]


def _status_fields(target: str, status: Message) -> list[Line]:
    return [
        *header_fields(status.header),
        f'"Version" : {quote(status.version)}',
        f'"DBSize" : {status.dbSize}',
        f'"Leader" : {status.leader}',
        f'"IsLearner" : {_bool(status.isLearner)}',
        f'"RaftIndex" : {status.raftIndex}',
        f'"RaftTerm" : {status.raftTerm}',
        f'"RaftAppliedIndex" : {status.raftAppliedIndex}',
        f'"Errors" : [{" ".join(status.errors)}]',
        f'"Endpoint" : {quote(target)}',
        "",
    ]


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _hash_kv(run: Run) -> None:
    found: list[Found] = []
    failed: CallFail | None = None
    run.client()
    asked = targets(run)
    for target in asked:
        try:
            found.append((target, ask(run, target, "HashKV", revision=run.flags["rev"])))
        except CallFail as fail:
            failed = fail
            run.warn(f"Failed to get the hash of endpoint {target} ({fail.text})")
    rows = [[target, str(reply.hash)] for target, reply in found]
    run.show(
        None,
        simple=lambda: [", ".join(row) for row in rows],
        fields=lambda: [line for one in found for line in _hash_fields(*one)],
        table=lambda: table(HASH_HEADS, rows),
        json=lambda: [Flat(Endpoint=target, HashKV=reply) for target, reply in found],
    )
    if failed is not None:
        raise Fail(ERROR, failed.text)


def _hash_fields(target: str, reply: Message) -> list[Line]:
    return [*header_fields(reply.header), f'"Endpoint" : {quote(target)}', f'"Hash" : {reply.hash}', ""]


ABOUT_STATUS = f"""In the simple format there is a line for each endpoint:
{", ".join(STATUS_HEADS)}."""

COMMANDS = {
    "endpoint status": Command("endpoint status", _status, (CLUSTER,), ABOUT_STATUS),
    "endpoint hashkv": Command(
        "endpoint hashkv",
        _hash_kv,
        (CLUSTER, Flag("rev", INT, 0, "hash what there was up to this revision (0: up to the last one)")),
    ),
}
