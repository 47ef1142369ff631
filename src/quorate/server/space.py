"""The NOSPACE alarm of this member: raised when a request does not fit, taken back when there is room again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.api import errors
from quorate.api.pb import rpc_pb2
from quorate.pkg.jsonlog import get_log

if TYPE_CHECKING:
    from quorate.server.member import Server

log = get_log(__name__)


class SpaceWatch:
    """One proposal is under way at a time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._member_id = server.member_id
        self._alarms = server.alarms
        self._quota = server.quota
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

    def _want(self, on: bool, msg: str) -> None:
        if self._asking:
            return
        self._asking = True
        log.warn(msg, quota_bytes=self._quota.limit)
        action = rpc_pb2.AlarmRequest.ACTIVATE if on else rpc_pb2.AlarmRequest.DEACTIVATE
        request = rpc_pb2.AlarmRequest(action=action, memberID=self._member_id, alarm=rpc_pb2.NOSPACE)
        self._server.spawn(self._propose(request))

    async def _propose(self, request: rpc_pb2.AlarmRequest) -> None:
        try:
            await self._server.propose("alarm", request)
        except errors.EtcdError as err:
            log.warn("alarm was not agreed on", error=str(err))
        finally:
            self._asking = False
