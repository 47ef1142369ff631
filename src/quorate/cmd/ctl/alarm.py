"""`alarm list` and `alarm disarm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.api.plain import Message, encode
from quorate.cmd.ctl.failures import BAD_ARGS, Fail
from quorate.cmd.ctl.index import Command
from quorate.cmd.ctl.show import header_fields

if TYPE_CHECKING:
    from quorate.cmd.ctl.run import Run
    from quorate.cmd.ctl.show import Line

KINDS = {1: "NOSPACE", 2: "CORRUPT"}
DEACTIVATE = 2


def _list(run: Run) -> None:
    if run.args:
        raise Fail(BAD_ARGS, "alarm list command accepts no arguments")
    reply = run.client().call("Alarm")
    run.show(
        reply,
        simple=lambda: _lines(reply),
        fields=lambda: [*header_fields(reply.header), *_fields(reply)],
    )


def _disarm(run: Run) -> None:
    if run.args:
        raise Fail(BAD_ARGS, "alarm disarm command accepts no arguments")
    client = run.client()
    ended: list[Message] = []
    for alarm in client.call("Alarm").alarms:
        ended += client.call("Alarm", action=DEACTIVATE, memberID=alarm.memberID, alarm=alarm.alarm).alarms
    # Of several answers one is made, which has no header.
    values = {"alarms": ended} if ended else {}
    all_ended = Message("AlarmResponse", values, encode("AlarmResponse", values))
    run.show(all_ended, simple=lambda: _lines(all_ended), fields=lambda: _fields(all_ended))


def _lines(reply: Message) -> list[Line]:
    return [_text(alarm) for alarm in reply.alarms]


def _text(alarm: Message) -> str:
    """As Go prints the message: members that are zero are left out, and each is followed by a space."""
    member = f"memberID:{alarm.memberID} " if alarm.memberID else ""
    kind = f"alarm:{KINDS.get(alarm.alarm, alarm.alarm)} " if alarm.alarm else ""
    return member + kind


def _fields(reply: Message) -> list[Line]:
    lines: list[Line] = []
    for alarm in reply.alarms:
        kind = KINDS.get(alarm.alarm, "NONE")
        lines += [f'"MemberID" : {alarm.memberID}', f'"AlarmType" : {kind}', ""]
    return lines


COMMANDS = {"alarm list": Command("alarm list", _list), "alarm disarm": Command("alarm disarm", _disarm)}
