"""Bucket `alarm`: all is in the key."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.api.pb import rpc_pb2
from quorate.storage.schema.buckets import ALARM, Store


class AlarmRecords:
    """The stored alarms. An object, because the room that applies alarms asks for one and knows no store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def alarms(self) -> Iterator[tuple[int, int]]:
        """Member ID and alarm type of each."""
        for key, _ in self._store.scan(ALARM):
            message = rpc_pb2.AlarmMember.FromString(key)
            yield message.memberID, message.alarm

    def put_alarm(self, member_id: int, alarm: int) -> None:
        self._store.put(ALARM, _key(member_id, alarm), b"")

    def delete_alarm(self, member_id: int, alarm: int) -> None:
        self._store.delete(ALARM, _key(member_id, alarm))


def _key(member_id: int, alarm: int) -> bytes:
    return rpc_pb2.AlarmMember(memberID=member_id, alarm=alarm).SerializeToString()  # type: ignore[arg-type]
