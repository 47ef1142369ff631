"""One raft machine on a real log: what is written in which order, and what leaves when."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from quorate.api.raftpb import ConfChange, ConfChangeType, ConfState, Entry, HardState, Message, MessageType, Snapshot
from quorate.raft import Config, MemoryStorage, RawNode, Role
from quorate.server.raft_loop import RaftLoop
from quorate.server.slow import SlowRequests
from quorate.storage.files import OsFiles
from quorate.storage.wal import WAL, WalWriter, WriteFailed
from quorate.storage.wal.record import ENTRY, SNAPSHOT, STATE, scan

VOTERS = ConfState((1, 2, 3))


class Member:
    """Member 1 of three, or of other voters, with entries 1 to 5 of term 1 in its log, none of them applied."""

    def __init__(self, directory: Path, *, writes: bool = True, voters: ConfState = VOTERS) -> None:
        self.applied: list[tuple[bytes, bool]] = []
        """What was applied, and whether it was in the log's file by then."""
        self.directory = directory
        self.sent: list[Message] = []
        self.installed: list[Snapshot] = []
        self.failures: list[BaseException] = []
        self.wal = WAL.create(OsFiles(), str(directory), b"member", segment_bytes=65536)
        entries = [Entry(1, index) for index in range(1, 6)]
        self.wal.save(HardState(1, 0, 0), entries)
        storage = MemoryStorage()
        storage.set_conf_state(voters)
        storage.set_hard_state(HardState(1, 0, 0))
        storage.append(entries)
        self.node = RawNode(Config(1, storage, random.Random(1), async_storage_writes=True))
        self.writer = WalWriter(self.wal)
        if writes:
            self.writer.start()
        self.loop = RaftLoop(
            asyncio.get_running_loop(),
            self.node,
            storage,
            self.writer,
            apply=self._apply,
            send=self._send,
            install=self.installed.append,
            before_turn=lambda: None,
            confirmed=lambda state: None,
            led_by=lambda leader: None,
            dropped=lambda batch: None,
            fail=self.failures.append,
            slow=SlowRequests(1.0),
        )

    def _apply(self, entries: Sequence[Entry]) -> None:
        log = b"".join(path.read_bytes() for path in self.directory.iterdir())
        self.applied += [(entry.data, entry.data in log) for entry in entries if entry.data]

    async def lead(self) -> None:
        """Elect the only member."""
        self.node.campaign()
        self.loop.poke()
        async with asyncio.timeout(5):
            while self.node.raft.log.applied < 6:
                assert not self.failures
                await asyncio.sleep(0.001)

    def _send(self, messages: Sequence[Message]) -> None:
        self.sent += messages


async def test_entries_that_come_with_a_snapshot_are_written_behind_the_state_that_makes_it_count(
    tmp_path: Path,
) -> None:
    member = Member(tmp_path / "wal")
    member.loop.receive(Message(MessageType.SNAP, 1, 2, 3, snapshot=Snapshot(20, 3, VOTERS)))
    later = [Entry(4, 21), Entry(4, 22)]
    member.loop.receive(Message(MessageType.APP, 1, 3, 4, log_term=3, index=20, entries=later, commit=21))
    async with asyncio.timeout(5):
        while not any(m.type == MessageType.APP_RESP and m.index == 22 for m in member.sent):
            assert not member.failures
            await asyncio.sleep(0.001)
    member.loop.stop()
    member.writer.close()
    assert [snapshot.index for snapshot in member.installed] == [20]
    assert member.loop.storage.last_index() == 22
    (segment,) = (tmp_path / "wal").iterdir()
    kinds = [kind for kind, *_ in scan(str(segment), segment.read_bytes(), 0, last=True)]
    first = kinds.index(SNAPSHOT, kinds.index(ENTRY))
    assert kinds[first : first + 5] == [SNAPSHOT, SNAPSHOT, STATE, ENTRY, ENTRY]


async def test_a_member_that_stopped_keeps_nothing_of_what_still_comes_in(tmp_path: Path) -> None:
    member = Member(tmp_path / "wal")
    member.loop.stop()
    message = Message(MessageType.HEARTBEAT, 1, 2, 3)
    before = sys.getrefcount(message)
    member.loop.receive(message)
    assert sys.getrefcount(message) == before
    member.writer.close()


async def test_nobody_is_asked_for_a_vote_before_the_own_one_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WalWriter, "save_now", lambda *batch: False)  # the disk is slow
    member = Member(tmp_path / "wal", writes=False)
    member.loop.receive(Message(MessageType.APP, 1, 2, 1, log_term=1, index=5, entries=[Entry(1, 6)]))
    await asyncio.sleep(0)
    member.node.campaign()
    member.loop.poke()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert member.node.raft.term == 2
    assert not member.sent, "elected and stopped now, it would forget term, vote and an entry that the votes hang on"
    member.writer.step()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked = [m for m in member.sent if m.type == MessageType.VOTE]
    assert [(m.to, m.term, m.index) for m in asked] == [(2, 2, 6), (3, 2, 6)]
    assert not member.failures
    member.loop.stop()
    member.writer.close()


async def test_a_leader_that_has_removed_itself_forgets_its_own_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WalWriter, "save_now", lambda *batch: False)  # the disk is slow
    member = Member(tmp_path / "wal", writes=False)

    async def write() -> None:
        member.loop.poke()
        await asyncio.sleep(0)
        member.writer.step()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    member.node.campaign()
    await write()
    member.loop.receive(Message(MessageType.VOTE_RESP, 1, 2, 2))
    await asyncio.sleep(0)
    assert member.node.raft.role is Role.LEADER
    member.node.apply_conf_change(ConfChange(ConfChangeType.REMOVE_NODE, 1))
    await write()  # the entry that its term begins with is on the disk, and it is no voter any more that says so
    assert member.loop.storage.last_index() == 6
    assert not member.failures
    member.loop.stop()


@pytest.mark.parametrize("quick", [True, False])
async def test_a_lone_member_applies_what_is_in_its_log(
    quick: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not quick:
        monkeypatch.setattr(WalWriter, "save_now", lambda *batch: False)
    member = Member(tmp_path / "wal", voters=ConfState((1,)))
    await member.lead()
    for n in range(300):
        member.loop.propose(b"entry-%d" % n)
        if n % 3 == 0:
            await asyncio.sleep(0)
    async with asyncio.timeout(5):
        while len(member.applied) < 300:
            assert not member.failures
            await asyncio.sleep(0.001)
    assert member.applied == [(b"entry-%d" % n, True) for n in range(300)]
    assert member.loop.storage.last_index() == 306 == member.node.raft.log.committed
    assert member.loop.storage.initial_state()[0].commit > 100, "the commit index follows on the disk"
    member.loop.stop()
    member.writer.close()


async def test_what_a_lone_member_cannot_write_is_neither_committed_nor_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = Member(tmp_path / "wal", voters=ConfState((1,)))
    await member.lead()

    def fail(*batch: object) -> bool:
        raise WriteFailed("the disk is gone")

    monkeypatch.setattr(WalWriter, "save_now", fail)
    member.loop.propose(b"lost")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [str(failure) for failure in member.failures] == ["the disk is gone"]
    assert not member.applied and member.node.raft.log.committed == 6
    member.loop.stop()
    member.writer.close()
