"""The window of Append messages that are on the way to a follower, limited by number and by bytes."""

from __future__ import annotations

from collections import deque

from quorate.raft.config import NO_LIMIT


class Inflights:
    """Each message is known by the index of its last entry; an acknowledged index frees all up to it."""

    __slots__ = ("_sent", "bytes", "max_bytes", "size")

    def __init__(self, size: int, max_bytes: int = NO_LIMIT) -> None:
        self.size = size
        self.max_bytes = max_bytes
        self.bytes = 0
        self._sent: deque[tuple[int, int]] = deque()

    def __len__(self) -> int:
        return len(self._sent)

    def full(self) -> bool:
        return len(self._sent) >= self.size or self.bytes >= self.max_bytes

    def add(self, index: int, size: int) -> None:
        """A message up to `index` leaves. The one that fills the window in bytes may overfill it."""
        assert not self.full(), "cannot add into a Full inflights"
        self._sent.append((index, size))
        self.bytes += size

    def free_to(self, index: int) -> None:
        sent = self._sent
        while sent and sent[0][0] <= index:
            self.bytes -= sent.popleft()[1]

    def reset(self) -> None:
        self._sent.clear()
        self.bytes = 0

    def copy(self) -> Inflights:
        twin = Inflights(self.size, self.max_bytes)
        twin._sent = self._sent.copy()
        twin.bytes = self.bytes
        return twin
