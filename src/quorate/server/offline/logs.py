"""A log written anew, with the entries of another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from google.protobuf.message import DecodeError

from quorate.api.internal import Request, decode_request
from quorate.api.raftpb import Entry, EntryType, HardState
from quorate.server.offline.errors import OfflineError
from quorate.storage import wal
from quorate.storage.files import OS_FILES

BATCH_BYTES = 1 << 24
"""Of entries that are saved at a time: a segment ends behind a batch, and becomes so much longer at most."""


def write_log(path: Path, metadata: bytes, start: wal.WalSnapshot, entries: Sequence[Entry], state: HardState) -> None:
    """Make a log at `path` that begins at the snapshot `start`, or with its first entry when that is at 0. Durable when
    this returns. Raises WalError, OSError."""
    opened = wal.WAL.create(OS_FILES, str(path), metadata)
    try:
        if start.index:
            opened.save(snapshot=start)
        for batch in _batches(entries):
            opened.save(entries=batch)
        opened.save(state)
    finally:
        opened.close()


def decode_entry(entry: Entry) -> Request | None:
    """What a normal entry asks for, None for one that is empty or changes members. Raises OfflineError when members
    here could not apply it."""
    if entry.type != EntryType.NORMAL or not entry.data:
        return None
    try:
        return decode_request(entry.data)
    except (DecodeError, ValueError) as err:
        raise OfflineError(f"entry {entry.index} of the log cannot be applied here: {err}") from err


def _batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += len(entry.data)
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
