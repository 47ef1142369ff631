"""Log, unstable log and memory storage by themselves."""

import pytest
from raft_nodes import Notes, entries

from quorate.api.raftpb import ConfState, Entry, Snapshot
from quorate.raft import NO_LIMIT, EntriesCompacted, EntriesUnavailable, MemoryStorage, SnapshotOutOfDate
from quorate.raft.log import Log
from quorate.raft.storage import ENTRY_OVERHEAD, entries_size
from quorate.raft.unstable import Unstable


def a_log(*terms: int, stable: int = 0, limit: int = NO_LIMIT) -> Log:
    """A log of entries of `terms` from index 1, of which the first `stable` are in the storage."""
    storage = MemoryStorage()
    storage.append(entries(*terms[:stable]))
    log = Log(storage, Notes(), limit)
    log.append(entries(*terms[stable:], first=stable + 1))
    return log


def notes(log: Log) -> list[str]:
    assert isinstance(log.logger, Notes)
    return log.logger.lines


# Storage


def test_a_storage_keeps_the_term_of_what_it_compacted_and_nothing_before() -> None:
    storage = MemoryStorage()
    storage.append(entries(1, 1, 2, 3))
    storage.compact(2)
    assert (storage.first_index(), storage.last_index()) == (3, 4)
    assert [storage.term(index) for index in (2, 3, 4)] == [1, 2, 3]
    with pytest.raises(EntriesCompacted):
        storage.term(1)
    with pytest.raises(EntriesCompacted):
        storage.entries(2, 4, NO_LIMIT)
    with pytest.raises(EntriesCompacted):
        storage.compact(2)
    with pytest.raises(EntriesUnavailable):
        storage.term(5)


def test_entries_are_limited_by_size_but_there_is_always_one() -> None:
    storage = MemoryStorage()
    storage.append([Entry(1, index, b"x" * 100) for index in range(1, 6)])
    one = 100 + ENTRY_OVERHEAD
    assert [e.index for e in storage.entries(2, 6, 0)] == [2]
    assert [e.index for e in storage.entries(2, 6, 2 * one - 1)] == [2]
    assert [e.index for e in storage.entries(2, 6, 2 * one)] == [2, 3]
    assert [e.index for e in storage.entries(2, 6, NO_LIMIT)] == [2, 3, 4, 5]


def test_appending_to_a_storage_replaces_from_the_first_new_index_on() -> None:
    storage = MemoryStorage()
    storage.append(entries(1, 1, 1, 1))
    storage.append(entries(2, 2, first=3))
    assert storage.entries(1, 5, NO_LIMIT) == entries(1, 1, 2, 2)
    storage.append(entries(3, first=2))
    assert storage.entries(1, 3, NO_LIMIT) == entries(1, 3)


def test_appending_to_a_storage_leaves_out_what_is_compacted() -> None:
    storage = MemoryStorage()
    storage.append(entries(1, 1, 1))
    storage.compact(2)
    storage.append(entries(1, 1, 1, 1))
    assert storage.entries(3, 5, NO_LIMIT) == entries(1, 1, first=3)
    storage.append(entries(1, 1))
    assert storage.last_index() == 4


def test_a_gap_in_a_storage_is_impossible() -> None:
    storage = MemoryStorage()
    with pytest.raises(AssertionError, match="missing log entry"):
        storage.append(entries(1, first=2))


def test_an_older_snapshot_is_out_of_date() -> None:
    storage = MemoryStorage()
    storage.append(entries(1, 1, 1))
    made = storage.create_snapshot(2, ConfState((1,)), b"state")
    assert made == Snapshot(2, 1, ConfState((1,)), b"state") == storage.snapshot()
    with pytest.raises(SnapshotOutOfDate):
        storage.create_snapshot(2, None, b"")
    with pytest.raises(SnapshotOutOfDate):
        storage.apply_snapshot(Snapshot(2, 1))
    storage.apply_snapshot(Snapshot(9, 4, ConfState((1, 2))))
    assert (storage.first_index(), storage.last_index(), storage.term(9)) == (10, 9, 4)


# Unstable


def test_what_is_in_progress_is_not_handed_out_again() -> None:
    unstable = Unstable(5, Notes())
    unstable.truncate_and_append(entries(1, 1, first=5))
    assert len(unstable.next_entries()) == 2
    unstable.accept_in_progress()
    assert not unstable.has_next_entries()
    unstable.truncate_and_append(entries(1, first=7))
    assert unstable.next_entries() == entries(1, first=7)


@pytest.mark.parametrize(
    ("first", "offset", "in_progress", "terms"),
    [
        (8, 5, 8, [1, 1, 1, 2]),  # behind the end
        (7, 5, 7, [1, 1, 2]),  # in the middle: only what was before is still being written
        (5, 5, 5, [2]),  # all of it
        (3, 3, 3, [2]),  # and stable entries before it
    ],
)
def test_overwritten_entries_are_to_be_written_again(
    first: int, offset: int, in_progress: int, terms: list[int]
) -> None:
    unstable = Unstable(5, Notes())
    unstable.truncate_and_append(entries(1, 1, 1, first=5))
    unstable.accept_in_progress()
    unstable.truncate_and_append(entries(2, first=first))
    assert (unstable.offset, unstable.offset_in_progress) == (offset, in_progress)
    assert [entry.term for entry in unstable.entries] == terms
    assert unstable.next_entries() == entries(2, first=first)


def test_entries_replaced_while_they_were_written_do_not_become_stable() -> None:
    unstable = Unstable(5, Notes())
    unstable.truncate_and_append(entries(1, 1, first=5))
    unstable.truncate_and_append(entries(2, first=5))
    unstable.stable_to(6, 1)  # gone
    unstable.stable_to(5, 1)  # another one now
    unstable.stable_to(4, 1)  # stable already
    assert unstable.offset == 5
    unstable.stable_to(5, 2)
    assert (unstable.offset, unstable.offset_in_progress, unstable.entries) == (6, 6, [])


def test_a_snapshot_is_stable_when_its_own_index_is() -> None:
    unstable = Unstable(5, Notes())
    unstable.restore(Snapshot(9, 3))
    assert (unstable.last_index(), unstable.term(9), unstable.term(8)) == (9, 3, None)
    unstable.stable_snapshot_to(8)
    assert unstable.next_snapshot() == Snapshot(9, 3)
    unstable.accept_in_progress()
    assert unstable.next_snapshot() is None
    unstable.stable_snapshot_to(9)
    assert unstable.snapshot is None


# Log


@pytest.mark.parametrize("stable", range(4))
def test_the_log_reads_alike_wherever_its_entries_are(stable: int) -> None:
    log = a_log(1, 2, 3, stable=stable)
    assert (log.first_index(), log.last_index(), log.last_term()) == (1, 3, 3)
    assert [log.term(index) for index in range(5)] == [0, 1, 2, 3, None]
    assert log.slice(1, 4, NO_LIMIT) == entries(1, 2, 3)
    size = entries_size(entries(1, 2))
    assert log.slice(1, 4, size) == entries(1, 2)
    assert log.slice(1, 4, size - 1) == entries(1)
    assert log.slice(1, 4, 0) == entries(1)
    assert [len(page) for page in log.scan(1, 4, size)] == [2, 1]


@pytest.mark.parametrize(
    ("index", "term", "up_to_date"),
    [(2, 4, True), (4, 4, True), (3, 3, True), (4, 3, True), (2, 3, False), (4, 2, False)],
)
def test_the_longer_log_of_the_later_term_is_up_to_date(index: int, term: int, up_to_date: bool) -> None:
    assert a_log(1, 2, 3).is_up_to_date(index, term) is up_to_date


@pytest.mark.parametrize(
    ("terms", "first", "conflict"),
    [
        ([1, 2, 3], 1, 0),
        ([2, 3], 2, 0),
        ([], 1, 0),
        ([1, 2, 3, 4], 1, 4),
        ([3, 4, 4], 3, 4),
        ([4, 4], 1, 1),
        ([1, 4, 4], 2, 2),
        ([1, 2, 4, 4], 1, 3),
    ],
)
def test_a_conflict_is_the_first_entry_of_another_term(terms: list[int], first: int, conflict: int) -> None:
    assert a_log(1, 2, 3).find_conflict(entries(*terms, first=first)) == conflict


@pytest.mark.parametrize(
    ("index", "term", "found"),
    [
        ((7), 3, (5, 3)),  # 4 4 are skipped at once
        ((7), 2, (3, 2)),
        ((7), 9, (7, 4)),
        ((2), 0, (0, 0)),
        ((9), 3, (9, 0)),  # behind the end: unknown, so perhaps
    ],
)
def test_a_refusal_skips_all_entries_of_later_terms(index: int, term: int, found: tuple[int, int]) -> None:
    assert a_log(1, 2, 2, 3, 3, 4, 4).find_conflict_by_term(index, term) == found


def test_a_refusal_does_not_look_before_the_start_of_the_log() -> None:
    log = a_log(5, 5, 5, stable=3)
    assert isinstance(log.storage, MemoryStorage)
    log.storage.compact(2)
    assert log.find_conflict_by_term(3, 4) == (1, 0)


def test_an_append_that_does_not_follow_changes_nothing() -> None:
    log = a_log(1, 2, 3)
    assert log.maybe_append(3, 2, entries(4, first=4), 4) is None
    assert log.maybe_append(4, 4, [], 4) is None
    assert (log.last_index(), log.committed) == (3, 0)


def test_an_append_replaces_from_the_conflict_on_and_commits_what_it_vouches_for() -> None:
    log = a_log(1, 2, 3)
    assert log.maybe_append(1, 1, entries(2, 4, first=2), 9) == 3
    assert log.slice(1, 4, NO_LIMIT) == entries(1, 2, 4)
    assert log.committed == 3
    assert "found conflict at index 3 [existing term: 3, conflicting term: 4]" in notes(log)


def test_an_old_append_does_not_cut_the_log() -> None:
    log = a_log(1, 1, 1, 1)
    assert log.maybe_append(1, 1, entries(1, first=2), 2) == 2
    assert (log.last_index(), log.committed) == (4, 2)


def test_a_conflict_with_a_committed_entry_is_impossible() -> None:
    log = a_log(1, 2, 3)
    log.commit_to(2)
    with pytest.raises(AssertionError, match="conflict with committed entry"):
        log.maybe_append(1, 1, entries(3, first=2), 2)


def test_the_commit_index_never_goes_back_nor_past_the_end() -> None:
    log = a_log(1, 2, 3)
    log.commit_to(2)
    log.commit_to(1)
    assert log.committed == 2
    with pytest.raises(AssertionError, match="Was the raft log corrupted, truncated, or lost"):
        log.commit_to(4)


def test_a_leader_commits_entries_of_its_own_term_only() -> None:
    log = a_log(1, 2, 2)
    assert not log.maybe_commit(3, 3)
    log.append(entries(3, first=4))
    assert log.maybe_commit(4, 3)  # and all before with it
    assert log.committed == 4


def test_unstable_entries_are_applied_only_where_that_is_allowed() -> None:
    log = a_log(1, 1, 1, stable=2)
    log.commit_to(3)
    assert [entry.index for entry in log.next_committed(True)] == [1, 2, 3]
    assert [entry.index for entry in log.next_committed(False)] == [1, 2]


def test_committed_entries_are_handed_out_within_the_limit_until_some_are_applied() -> None:
    size = entries_size(entries(1, 1))
    log = a_log(1, 1, 1, 1, limit=size)
    log.commit_to(4)
    first = log.next_committed(True)
    assert [entry.index for entry in first] == [1, 2]
    log.accept_applying(2, entries_size(first), True)
    assert not log.has_next_committed(True)
    log.applied_to(1, entries_size(first[:1]))
    assert [entry.index for entry in log.next_committed(True)] == [3]
    log.accept_applying(3, entries_size(entries(1)), True)
    assert log.next_committed(True) == []
    log.applied_to(3, size)
    assert [entry.index for entry in log.next_committed(True)] == [4]


def test_nothing_is_applied_while_a_snapshot_is_pending() -> None:
    log = a_log(1, 1, stable=2)
    log.restore(Snapshot(5, 2))
    log.append(entries(2, first=6))
    log.commit_to(6)
    assert log.next_committed(True) == []
    log.unstable.stable_snapshot_to(5)
    log.applied_to(5, 0)
    assert [entry.index for entry in log.next_committed(True)] == [6]
    assert (log.first_index(), log.last_index()) == (1, 6)
