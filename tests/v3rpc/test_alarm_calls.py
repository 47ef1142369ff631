"""Alarms as clients set and see them."""

from __future__ import annotations

from v3rpc_support import Caller

from quorate.api import errors
from quorate.api.pb import rpc_pb2

ACTIVATE, DEACTIVATE = rpc_pb2.AlarmRequest.ACTIVATE, rpc_pb2.AlarmRequest.DEACTIVATE


async def test_status_names_the_member_of_an_alarm_if_it_has_one(caller: Caller) -> None:
    for member in (0, 7):
        await caller.call("Maintenance/Alarm", action=ACTIVATE, memberID=member, alarm=rpc_pb2.CORRUPT)
    status = await caller.call("Maintenance/Status")
    assert status.errors == ["alarm:CORRUPT", "memberID:7 alarm:CORRUPT"]


async def test_an_alarm_or_action_that_is_not_declared_is_refused_and_changes_nothing(caller: Caller) -> None:
    index = caller.server.committed_index
    for fields in ({"action": ACTIVATE, "alarm": 9}, {"action": 9, "alarm": rpc_pb2.NOSPACE}, {"action": -1}):
        await caller.refused(errors.UnknownMethod, "Maintenance/Alarm", memberID=5, **fields)
    assert caller.server.committed_index == index
    for action in (rpc_pb2.AlarmRequest.GET, DEACTIVATE):
        assert not (await caller.call("Maintenance/Alarm", action=action, alarm=9)).alarms
