"""Request IDs that are unique across members and restarts without talking to anyone."""

from __future__ import annotations

_MASK_64 = (1 << 64) - 1


class IdGenerator:
    """64-bit IDs: 2 bytes of the member's ID, then 5 bytes of milliseconds and 1 byte counting up as one number.

    A restart a millisecond later starts above all that the last run gave, unless that run gave more than 256 IDs per
    millisecond for its whole life.
    """

    def __init__(self, member_id: int, unix_seconds: float) -> None:
        milliseconds = int(unix_seconds * 1000) & ((1 << 40) - 1)
        self._prefix = (member_id & 0xFFFF) << 48
        self._suffix = milliseconds << 8

    def next(self) -> int:
        self._suffix = (self._suffix + 1) & ((1 << 48) - 1)
        return (self._prefix | self._suffix) & _MASK_64
