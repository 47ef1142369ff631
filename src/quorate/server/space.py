"""The NOSPACE alarm of this member: raised when a request does not fit, taken back when there is room again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quorate.api.pb import rpc_pb2
from quorate.apply import Alarms, Quota
from quorate.pkg.jsonlog import get_log

log = get_log(__name__)

Propose = Callable[[rpc_pb2.AlarmRequest], Any]


class SpaceWatch:
    """`propose(request)` has the cluster agree on an alarm; one proposal is under way at a time."""

    def __init__(self, member_id: int, alarms: Alarms, quota: Quota, propose: Propose) -> None:
        self._member_id = member_id
        self._alarms = alarms
        self._quota = quota
        self._propose = propose
        self._asking = False

    def exceeded(self) -> None:
        """A request did not fit."""
        if not self._alarms.has(rpc_pb2.NOSPACE):
            self._want(True, "space quota exceeded, raising the alarm")

    def look(self) -> None:
        """Once deletes and compaction have made room, writes are welcome again: no operator needed."""
        own = (self._member_id, rpc_pb2.NOSPACE)
        if own in self._alarms.active(rpc_pb2.NOSPACE) and self._quota.has_room():
            self._want(False, "space is free again, clearing the alarm")

    def settled(self) -> None:
        """The proposal under way has ended, one way or the other."""
        self._asking = False

    def _want(self, on: bool, msg: str) -> None:
        if self._asking:
            return
        self._asking = True
        log.warn(msg, quota_bytes=self._quota.limit)
        action = rpc_pb2.AlarmRequest.ACTIVATE if on else rpc_pb2.AlarmRequest.DEACTIVATE
        self._propose(rpc_pb2.AlarmRequest(action=action, memberID=self._member_id, alarm=rpc_pb2.NOSPACE))
