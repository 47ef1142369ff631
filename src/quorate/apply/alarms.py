"""Active alarms of the cluster: what each blocks. They are agreed on like any write and kept in bucket `alarm`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from quorate.api.pb import rpc_pb2 as rpc

Alarm = tuple[int, int]
"""Member ID and alarm type."""


def alarm_name(kind: int) -> str:
    """NOSPACE, CORRUPT; of a kind that this release has not heard of the number."""
    return rpc.AlarmType.Name(rpc.AlarmType.ValueType(kind)) if kind in rpc.AlarmType.values() else str(kind)


class AlarmRecords(Protocol):
    """Where alarms are kept."""

    def alarms(self) -> Iterable[Alarm]: ...

    def put_alarm(self, member_id: int, alarm: int) -> None: ...

    def delete_alarm(self, member_id: int, alarm: int) -> None: ...


class Alarms:
    """The set of active alarms, kept in step with its records."""

    def __init__(self, records: AlarmRecords) -> None:
        self._records = records
        self.reload()

    def reload(self) -> None:
        """Read the records anew; others may have replaced them."""
        self.on: set[Alarm] = set(self._records.alarms())
        """For a glance at whether there are any, on the way of every put."""

    def active(self, kind: int = rpc.NONE) -> list[Alarm]:
        """All alarms, or those of one kind, by member."""
        return sorted(alarm for alarm in self.on if kind in (rpc.NONE, alarm[1]))

    def has(self, kind: int) -> bool:
        return bool(self.on) and any(alarm[1] == kind for alarm in self.on)

    def activate(self, member_id: int, kind: int) -> list[Alarm]:
        """The alarm that is now on; nothing for NONE, which is not an alarm."""
        if kind == rpc.NONE:
            return []
        if (member_id, kind) not in self.on:
            self.on.add((member_id, kind))
            self._records.put_alarm(member_id, kind)
        return [(member_id, kind)]

    def deactivate(self, member_id: int, kind: int) -> list[Alarm]:
        """The alarm that was on and is off now; nothing if it was not on."""
        if (member_id, kind) not in self.on:
            return []
        self.on.remove((member_id, kind))
        self._records.delete_alarm(member_id, kind)
        return [(member_id, kind)]
