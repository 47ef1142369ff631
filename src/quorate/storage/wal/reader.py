"""Reading a log: the rules by which records become entries, state and metadata; and the repair of a torn tail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import NamedTuple, TypeVar

from google.protobuf.message import DecodeError

from quorate.api.pb import raft_pb2
from quorate.api.raftpb import Entry, HardState, decode_hard_state
from quorate.storage.files import Files
from quorate.storage.wal.errors import (
    Malformed,
    MetadataConflict,
    OutOfRange,
    SnapshotMismatch,
    SnapshotNotFound,
    UnexpectedEof,
)
from quorate.storage.wal.record import (
    CRC,
    ENTRY,
    METADATA,
    SNAPSHOT,
    STATE,
    WalSnapshot,
    decode_snapshot,
    records_of,
    scan,
)
from quorate.storage.wal.segment import SegmentName, all_segments, segments_from, without_gaps

BROKEN = ".broken"


class WalContents(NamedTuple):
    """What a log says from a snapshot on: the entries behind the snapshot's index, and the last state."""

    metadata: bytes
    hard_state: HardState
    entries: list[Entry]


class End(NamedTuple):
    """Where reading stopped: offset in the last segment, running checksum, index of the newest entry or snapshot."""

    offset: int
    crc: int
    last_index: int


def read_only(files: Files, directory: str, at: WalSnapshot) -> WalContents:
    """What the log in `directory` holds from `at` on, without lock and without changing anything.

    A torn tail ends it like a clean one. Raises WalError.
    """
    names = segments_from(files, directory, at.index)
    return collect(_contents(files, directory, names), directory, at, forgive_torn_tail=True)[0]


def valid_snapshots(files: Files, directory: str) -> list[WalSnapshot]:
    """The snapshots recorded in the log, oldest first, that the log vouches for; raises WalError.

    Those beyond the last commit index are left out: the record came to disk, the state that went with it did not.
    """
    return _snapshots(files, directory, without_gaps(directory, all_segments(files, directory)))


def newest_snapshot(files: Files, directory: str, up_to: int) -> WalSnapshot | None:
    """The newest valid snapshot at index `up_to` or before; None if there is none. Raises WalError.

    Reads the newest segments first and stops where it is found: a long log is not read for its end.
    """
    names = without_gaps(directory, all_segments(files, directory))
    count = 1
    while True:
        usable = [found for found in _snapshots(files, directory, names[-count:]) if found.index <= up_to]
        if usable or count >= len(names):
            return max(usable, key=lambda snapshot: snapshot.index, default=None)
        count *= 2


def _snapshots(files: Files, directory: str, names: list[SegmentName]) -> list[WalSnapshot]:
    found: list[WalSnapshot] = []
    state = HardState()
    crc = 0
    try:
        for segment, data, last in _contents(files, directory, names):
            offset = 0
            for kind, payload, running, end in scan(segment, data, crc, last=last):
                if kind == SNAPSHOT:
                    found.append(_decoded(decode_snapshot, payload, segment, offset))
                elif kind == STATE:
                    state = _decoded(decode_hard_state, payload, segment, offset)
                elif kind == ENTRY and found and found[-1].index > state.commit:
                    _void_uncovered(found, _decoded(_parse_entry, payload, segment, offset).Index)
                crc, offset = running, end
    except UnexpectedEof:
        pass  # what stands before a torn tail is good
    return [snapshot for snapshot in found if snapshot.index <= state.commit]


def _void_uncovered(found: list[WalSnapshot], index: int) -> None:
    """The state that was to cover the last snapshot never came to disk; an entry at or before it shows that the log
    went on from where it was."""
    if index <= found[-1].index:
        found.pop()


def repair(files: Files, directory: str) -> bool:
    """Cut a torn tail off the last segment; True when there was one. Raises WalError for any other damage.

    The segment as it was is kept next to it as `<name>.broken`. A crash at any point leaves either the torn segment,
    to be repaired again, or the cut one.
    """
    name = str(all_segments(files, directory)[-1])
    path = f"{directory}/{name}"
    with closing(files.open(path)) as segment:
        segment.lock()
        data = segment.read(0, segment.size())
        try:
            for _ in scan(path, data, 0, last=True):
                pass
            return False
        except UnexpectedEof as torn:
            _set_aside(files, path + BROKEN, data)
            files.sync_directory(directory)  # the copy is safe, then the cut
            segment.truncate(torn.offset)
            segment.sync()
            return True


def collect(
    segments: Iterable[tuple[str, bytes, bool]], directory: str, at: WalSnapshot, *, forgive_torn_tail: bool = False
) -> tuple[WalContents, End]:
    """Read `segments` (path, contents, whether it is the last) from snapshot `at` on; raises WalError."""
    reading = _Reading(at)
    try:
        for segment, data, last in segments:
            reading.segment(segment, data, last)
    except UnexpectedEof:
        if not forgive_torn_tail:
            raise
    if not reading.matched:
        raise SnapshotNotFound(
            f"the log in {directory} has no record of the snapshot at index {at.index}, term {at.term}"
        )
    if reading.metadata is None:
        raise Malformed(directory, 0, "the log does not say whose it is (no metadata record)")
    contents = WalContents(reading.metadata, reading.state, reading.entries)
    return contents, End(reading.offset, reading.crc, reading.last_index)


class _Reading:
    """The rules, record by record."""

    def __init__(self, at: WalSnapshot) -> None:
        self.at = at
        self.metadata: bytes | None = None
        self.state = HardState()
        self.entries: list[Entry] = []
        self.matched = False
        self.offset = 0
        self.crc = 0
        self.last_index = 0
        self._previous = b""
        """The last record's data if it was a snapshot."""
        self._repeated = 0
        """Index of the last snapshot if it was written twice."""

    def segment(self, segment: str, data: bytes, last: bool) -> None:
        entries = self.entries
        first = self.at.index + 1
        self.offset = 0
        for kind, payload, crc, end in scan(segment, data, self.crc, last=last):
            if kind == ENTRY:
                try:
                    message = _parse_entry(payload)
                except DecodeError:
                    raise Malformed(segment, self.offset, "not an entry") from None
                self.last_index = index = message.Index
                place = index - first
                if place < 0:
                    # Whatever followed an entry that was written anew is void (Raft thesis §3.5), also behind `at`.
                    entries.clear()
                elif place == len(entries):
                    entries.append(_make(Entry, (message.Term, index, message.Data, message.Type)))
                else:
                    self._replace(place, Entry(message.Term, index, message.Data, message.Type), segment)
                self._previous = b""
            else:
                self._other(kind, payload, segment)
                self._previous = payload if kind == SNAPSHOT else b""
            self.crc, self.offset = crc, end

    def _replace(self, place: int, entry: Entry, segment: str) -> None:
        """An entry seen before was overruled by a later leader, and with it all that followed (Raft thesis §3.5)."""
        if place > len(self.entries):
            expected = self.at.index + 1 + len(self.entries)
            raise OutOfRange(segment, self.offset, f"entry {entry.index} follows, where {expected} is the next")
        del self.entries[place:]
        self.entries.append(entry)

    def _other(self, kind: int, payload: bytes, segment: str) -> None:
        if kind == STATE:
            self.state = _decoded(decode_hard_state, payload, segment, self.offset)
            # A snapshot written twice replaced the log, if the state that covers it got to the disk right behind it:
            # without that it is not valid, and what the log held is still promised.
            if self._previous and 0 < self._repeated <= self.state.commit:
                self.entries.clear()
                self.last_index = self._repeated
        elif kind == SNAPSHOT:
            snapshot = _decoded(decode_snapshot, payload, segment, self.offset)
            self._snapshot(snapshot, segment)
            self._repeated = snapshot.index if payload == self._previous else 0
        elif kind == METADATA:
            if self.metadata is not None and payload != self.metadata:
                raise MetadataConflict(segment, self.offset, "the segment belongs to another member or cluster")
            self.metadata = payload
        elif kind != CRC:
            raise Malformed(segment, self.offset, f"record of unknown type {kind}")

    def _snapshot(self, snapshot: WalSnapshot, segment: str) -> None:
        self.last_index = max(self.last_index, snapshot.index)
        if snapshot.index != self.at.index:
            return
        if snapshot.term != self.at.term:
            what = f"the snapshot at index {snapshot.index} has term {snapshot.term} here, but {self.at.term} elsewhere"
            raise SnapshotMismatch(segment, self.offset, what)
        self.matched = True


def _contents(files: Files, directory: str, names: list[SegmentName]) -> Iterator[tuple[str, bytes, bool]]:
    for name in names:
        path = f"{directory}/{name}"
        with closing(files.open(path, read_only=True)) as segment:
            yield path, records_of(segment), name == names[-1]


def _set_aside(files: Files, path: str, data: bytes) -> None:
    """Keep `data` as `path`. The zeros at its end are not written: a full disk may be why this is needed."""
    with closing(files.open(path, create=True)) as copy:
        copy.truncate(0)
        copy.write(data.rstrip(b"\0"), 0)
        copy.truncate(len(data))
        copy.sync()


def _decoded(decode: Callable[[bytes], _T], payload: bytes, segment: str, offset: int) -> _T:
    try:
        return decode(payload)
    except DecodeError:
        raise Malformed(segment, offset, "the record's data makes no sense") from None


_T = TypeVar("_T")
_parse_entry = raft_pb2.Entry.FromString
_make = tuple.__new__  # a third of the cost of calling the class, for millions of entries
