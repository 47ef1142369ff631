"""One node of a script: a RawNode, its storage, and an application that appends everything to one string."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from quorate.api.raftpb import Entry, EntryType, HardState, Message, Snapshot
from quorate.raft import MemoryStorage, RawNode
from quorate.raft.proposals import decoded_conf_change
from quorate.testing.datadriven.script import ScriptError


class ScriptStorage(MemoryStorage):
    """Hands out as snapshot the newest applied state, whatever the log was compacted to."""

    __slots__ = ("history",)

    def __init__(self) -> None:
        super().__init__()
        self.history: list[Snapshot] = []

    def snapshot(self) -> Snapshot:
        return self.history[-1] if self.history else super().snapshot()


class Member:
    def __init__(self, node: RawNode, storage: ScriptStorage, async_writes: bool) -> None:
        self.node = node
        self.id = node.raft.id
        self.storage = storage
        self.async_writes = async_writes
        self.append_work: deque[Message] = deque()
        self.apply_work: deque[Message] = deque()

    def write(self, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None) -> None:
        if hard_state is not None:
            self.storage.set_hard_state(hard_state)
        if snapshot is None:
            self.storage.append(entries)
        elif entries:
            raise ScriptError("can't apply snapshot and entries at the same time")
        else:
            self.storage.apply_snapshot(snapshot)
            self.storage.history.append(snapshot)

    def write_message(self, m: Message) -> None:
        state = HardState(m.term, m.vote, m.commit)
        self.write(state if state != HardState() else None, m.entries, m.snapshot)

    def apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            last = self.storage.history[-1]
            update, conf_state = entry.data, last.conf_state
            if entry.type != EntryType.NORMAL:
                change = decoded_conf_change(entry)
                update = change.context
                conf_state = self.node.apply_conf_change(change)
            self.storage.history.append(Snapshot(entry.index, entry.term, conf_state, last.data + update))
