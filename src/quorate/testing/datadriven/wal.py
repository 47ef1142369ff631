"""Scripts about the log on disk: what is written, what is read again, and what a crash or a bad disk leaves.

wal [segment-bytes=N]                the first directive; segments are 4096 bytes long if nothing is said
create                               make the log
open [at=TERM/INDEX]                 lock it, read it from a snapshot on, go on writing
read-only [at=TERM/INDEX]            the same, without lock and writing nothing
save                                 save what the input lists, in one batch:
                                     `entry TERM/INDEX DATA`, `state term=T vote=V commit=C`, `snapshot TERM/INDEX`
    file-limit=BYTES                 while the system lets no file grow beyond that
prepare, release-to INDEX, close     as the methods of these names
repair, valid-snapshots, newest-snapshot up-to=INDEX
files                                names, bytes and locks
records [segment=N]                  a segment as it lies on disk (-1, the last, if nothing is said)
truncate, zero, flip, remove         damage a segment: offset=N, and bytes=N for `zero`
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from quorate.api.raftpb import ConfState, Entry, HardState, decode_entry, decode_hard_state
from quorate.storage.files import FileLocked, OsFiles
from quorate.storage.wal import (
    WAL,
    WalContents,
    WalError,
    WalSnapshot,
    newest_snapshot,
    read_only,
    repair,
    valid_snapshots,
)
from quorate.storage.wal.record import CRC, ENTRY, METADATA, SNAPSHOT, STATE, decode_snapshot, scan
from quorate.testing.datadriven.room import Room, data_of, number, shown
from quorate.testing.datadriven.script import Command, ScriptError, parse_directive

FILES = OsFiles()
VOTERS = ConfState(voters=(1, 2, 3))
"""Who is in the cluster of every recorded snapshot."""


class WalScript(Room):
    expected = (WalError, FileLocked)

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._path = directory / "wal"
        self._segment_bytes = 4096
        self._wal: WAL | None = None

    def close(self) -> None:
        if self._wal is not None:
            self._wal.close()
            self._wal = None

    # Making, opening, closing

    def do_wal(self, command: Command) -> Iterator[str]:
        self._segment_bytes = number(command, "segment-bytes", self._segment_bytes)
        return iter(())

    def do_create(self, command: Command) -> Iterator[str]:
        self._wal = WAL.create(FILES, str(self._path), b"member", segment_bytes=self._segment_bytes)
        return iter(())

    def do_open(self, command: Command) -> Iterator[str]:
        wal, contents = WAL.open(FILES, str(self._path), _at(command), segment_bytes=self._segment_bytes)
        self._wal = wal
        return _contents(contents)

    def do_read_only(self, command: Command) -> Iterator[str]:
        return _contents(read_only(FILES, str(self._path), _at(command)))

    def do_close(self, command: Command) -> Iterator[str]:
        self.close()
        return iter(())

    # Writing

    def do_save(self, command: Command) -> Iterator[str]:
        state, snapshot, entries = None, None, []
        for directive in map(parse_directive, command.input.splitlines()):
            if directive.name == "state":
                state = HardState(number(directive, "term"), number(directive, "vote"), number(directive, "commit"))
            elif directive.name == "snapshot":
                snapshot = WalSnapshot(*_place(directive.positional()[0]), VOTERS)
            elif directive.name == "entry":
                place, *data = directive.positional()
                index, term = _place(place)
                entries.append(Entry(term, index, data_of(" ".join(data))))
            else:
                raise ScriptError(f"line {command.line}: {directive.name} cannot be saved")
        wal = self._opened
        batch = wal.encode(state, entries, snapshot)
        with _file_limit(command.option("file-limit")):
            wal.append([batch])
        yield f"{len(batch.data)} bytes, {'synced' if batch.sync else 'not synced'}"
        if batch.cut is not None:
            yield f"cut, goes on in {batch.cut.name}"

    def do_prepare(self, command: Command) -> Iterator[str]:
        self._opened.prepare()
        return iter(())

    def do_release_to(self, command: Command) -> Iterator[str]:
        self._opened.release_to(int(command.positional()[0]))
        return iter(())

    # Asking

    def do_repair(self, command: Command) -> Iterator[str]:
        yield "cut" if repair(FILES, str(self._path)) else "nothing to cut"

    def do_valid_snapshots(self, command: Command) -> Iterator[str]:
        found = valid_snapshots(FILES, str(self._path))
        yield " ".join([f"{it.term}/{it.index}" for it in found]) or "none"

    def do_newest_snapshot(self, command: Command) -> Iterator[str]:
        found = newest_snapshot(FILES, str(self._path), number(command, "up-to"))
        yield f"{found.term}/{found.index}" if found else "none"

    def do_files(self, command: Command) -> Iterator[str]:
        for path in sorted(self._path.iterdir()):
            yield f"{path.name} {path.stat().st_size} bytes{', locked' if _is_locked(path) else ''}"

    def do_records(self, command: Command) -> Iterator[str]:
        path = self._segment(command)
        offset = 0
        for kind, data, crc, end in scan(str(path), path.read_bytes(), 0, last=True):
            yield f"{offset:>5} {_record(kind, data, crc)}"
            offset = end
        yield f"{offset:>5} end"

    # Damaging

    def do_truncate(self, command: Command) -> Iterator[str]:
        os.truncate(self._segment(command), number(command, "offset"))
        return iter(())

    def do_zero(self, command: Command) -> Iterator[str]:
        self._overwrite(command, bytes(number(command, "bytes")))
        return iter(())

    def do_flip(self, command: Command) -> Iterator[str]:
        byte = self._segment(command).read_bytes()[number(command, "offset")]
        self._overwrite(command, bytes((byte ^ 1,)))
        return iter(())

    def do_remove(self, command: Command) -> Iterator[str]:
        self._segment(command).unlink()
        return iter(())

    def _overwrite(self, command: Command, data: bytes) -> None:
        with self._segment(command).open("r+b") as file:
            file.seek(number(command, "offset"))
            file.write(data)

    def _segment(self, command: Command) -> Path:
        return sorted(self._path.glob("*.wal"))[number(command, "segment", -1)]

    @property
    def _opened(self) -> WAL:
        if self._wal is None:
            raise ScriptError("no log is open")
        return self._wal


def _at(command: Command) -> WalSnapshot:
    return WalSnapshot(*_place(command.option("at") or "0/0"))


def _place(text: str) -> tuple[int, int]:
    """(index, term) of `term/index`, the notation of raft's scripts."""
    term, _, index = text.partition("/")
    return int(index), int(term)


def _contents(contents: WalContents) -> Iterator[str]:
    yield f"metadata {shown(contents.metadata)}"
    yield _state(contents.hard_state)
    yield from map(_entry, contents.entries)


def _record(kind: int, data: bytes, crc: int) -> str:
    if kind == METADATA:
        return f"metadata {shown(data)}"
    if kind == ENTRY:
        return _entry(decode_entry(data))
    if kind == STATE:
        return _state(decode_hard_state(data))
    if kind == SNAPSHOT:
        snapshot = decode_snapshot(data)
        return f"snapshot {snapshot.term}/{snapshot.index}"
    assert kind == CRC
    return f"crc {crc:08x}"


def _state(state: HardState) -> str:
    return f"state term={state.term} vote={state.vote} commit={state.commit}"


def _entry(entry: Entry) -> str:
    return f"entry {entry.term}/{entry.index} {shown(entry.data)}".rstrip()


def _is_locked(path: Path) -> bool:
    with closing(FILES.open(str(path))) as file:
        try:
            file.lock()
        except FileLocked:
            return True
    return False


@contextmanager
def _file_limit(size: str | None) -> Iterator[None]:
    """The next best thing to a full disk: the system refuses what lies behind `size` bytes of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft if size is None else int(size), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
