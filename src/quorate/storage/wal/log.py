"""`WAL`: the log of one member as files, opened for writing.

Everything here blocks. Two callers share a log: the owner of the entries calls `encode`, one other thread (or the
same) calls everything that touches files, in the order of encoding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

from quorate.api.raftpb import Entry, HardState
from quorate.storage.files import File, Files
from quorate.storage.wal.errors import WalClosed, WalError, WalExists, WriteFailed
from quorate.storage.wal.reader import WalContents, collect
from quorate.storage.wal.record import Batch, Cut, Encoder, WalSnapshot, records_of
from quorate.storage.wal.segment import PREPARED, SEGMENT_BYTES, SegmentName, exists, segments_from


class WAL:
    """A log opened for writing. Every segment that may still be needed is locked.

    `on_write(seconds)` is called after every write of batches, `on_sync(seconds)` after every sync; `bytes_written`
    counts what went into segments. With `unsafe_no_fsync` batches are not synced: a power failure then loses promises,
    for tests and throw-away data only.
    """

    def __init__(
        self, files: Files, directory: str, encoder: Encoder, segments: list[tuple[SegmentName, File]], offset: int
    ) -> None:
        self.directory = directory
        self.encoder = encoder
        self.unsafe_no_fsync = False
        self.on_write: Callable[[float], None] | None = None
        self.on_sync: Callable[[float], None] | None = None
        self.bytes_written = 0
        self.failure: WalError | None = None
        self._files = files
        self._segments = segments
        self._offset = offset
        self._prepared: File | None = None

    @classmethod
    def create(cls, files: Files, directory: str, metadata: bytes, *, segment_bytes: int = SEGMENT_BYTES) -> WAL:
        """Make a new log, complete or not at all; raises WalExists, OSError.

        It is prepared as `<directory>.tmp` and renamed. What a crash left there is thrown away, and so is an empty
        `directory`.
        """
        if exists(files, directory):
            raise WalExists(f"there is a write-ahead log in {directory} already")
        temporary = directory + ".tmp"
        files.make_directory(temporary)
        for leftover in files.list(temporary):
            files.unlink(f"{temporary}/{leftover}")
        encoder = Encoder(metadata, segment_bytes=segment_bytes)
        head = encoder.begin()
        name = SegmentName(0, 0)
        segment = files.open(f"{temporary}/{name}", create=True)
        try:
            segment.lock()
            segment.preallocate(segment_bytes)
            segment.write(head, 0)
            segment.sync()
            files.sync_directory(temporary)
            files.rename(temporary, directory)
            files.sync_directory(_parent(directory))
        except BaseException:
            segment.close()
            raise
        return cls(files, directory, encoder, [(name, segment)], len(head))

    @classmethod
    def open(
        cls, files: Files, directory: str, at: WalSnapshot, *, segment_bytes: int = SEGMENT_BYTES
    ) -> tuple[WAL, WalContents]:
        """Lock and read the log from snapshot `at` on, ready to append.

        Raises FileLocked, OSError and WalError; UnexpectedEof stands for a torn tail, which `repair` cuts off.
        """
        names = segments_from(files, directory, at.index)
        segments: list[tuple[SegmentName, File]] = []
        try:
            for name in names:
                segments.append((name, files.open(f"{directory}/{name}")))
                segments[-1][1].lock()
            contents, end = collect(_read(directory, segments), directory, at)
            _clear_behind(segments[-1][1], end.offset, segment_bytes)
            with suppress(FileNotFoundError):
                files.unlink(f"{directory}/{PREPARED}")
            # A process that died in the middle of a creation or a cut may have left names only in memory.
            files.sync_directory(directory)
            files.sync_directory(_parent(directory))
        except BaseException:
            _close(segments)
            raise
        encoder = Encoder(contents.metadata, segment_bytes=segment_bytes)
        encoder.crc, encoder.offset, encoder.last_index = end.crc, end.offset, end.last_index
        encoder.sequence, encoder.state = names[-1].sequence, contents.hard_state
        return cls(files, directory, encoder, segments, end.offset), contents

    @property
    def is_prepared(self) -> bool:
        """True when the next segment is made, or cannot be."""
        return self._prepared is not None or self.failure is not None

    def encode(
        self,
        hard_state: HardState | None = None,
        entries: Sequence[Entry] = (),
        snapshot: WalSnapshot | None = None,
        *,
        sync: bool = False,
    ) -> Batch:
        """The batch that saves these; batches must reach `append` in the order in which they were encoded."""
        return self.encoder.encode(hard_state, entries, snapshot, sync=sync)

    def append(self, batches: Sequence[Batch]) -> None:
        """Write `batches`: one write and at most one sync, and more only where a segment ends.

        Durable on return when any of them asked for it. Raises WriteFailed, and WalClosed ever after.
        """
        parts: list[bytes] = []
        sync = False
        for data, wants_sync, cut in batches:
            parts.append(data)
            sync = sync or wants_sync
            if cut is not None:
                self._write(b"".join(parts), True)
                self._cut(cut)
                parts, sync = [], False
        if parts:
            self._write(b"".join(parts), sync)

    def save(
        self, hard_state: HardState | None = None, entries: Sequence[Entry] = (), snapshot: WalSnapshot | None = None
    ) -> None:
        """Encode and append at once, for callers with no thread in between."""
        self.append([self.encode(hard_state, entries, snapshot)])

    def prepare(self) -> None:
        """Make the next segment ahead of time, so that a cut costs little. A failure waits for the cut to report it."""
        if self._prepared is None and self.failure is None:
            with suppress(OSError):
                self._prepared = self._make_prepared()

    def release_to(self, index: int) -> None:
        """Unlock the segments that nobody needs who starts at `index`; the purge may take them then.

        Only after the snapshot at `index` is durable in the log.
        """
        while len(self._segments) > 1 and self._segments[1][0].first < index:
            self._segments.pop(0)[1].close()

    def close(self) -> None:
        """Sync what was written and give up the locks; raises WriteFailed. After a failure it just lets go."""
        try:
            if self.failure is None:
                with self._fail_stop("close"):
                    self._segments[-1][1].sync()
                self.failure = WalClosed(f"the log in {self.directory} is closed")
        finally:
            if self._prepared is not None:
                self._prepared.close()
                self._prepared = None
                with suppress(OSError):
                    self._files.unlink(f"{self.directory}/{PREPARED}")
            _close(self._segments)
            self._segments = []

    def _write(self, data: bytes, sync: bool) -> None:
        if self.failure is not None:
            raise self.failure
        segment = self._segments[-1][1]
        began = time.perf_counter()
        try:
            segment.write(data, self._offset)
        except OSError as error:
            # Nobody waits for the part that was written. Without it the next start finds a clean end; should this
            # fail too, it finds a torn one.
            with suppress(OSError):
                segment.truncate(self._offset)
            self._fail("write", error)
        self._offset += len(data)
        self.bytes_written += len(data)
        written = time.perf_counter()
        if self.on_write is not None:
            self.on_write(written - began)
        if sync and not self.unsafe_no_fsync:
            try:
                segment.sync()
            except OSError as error:
                self._fail("write", error)
            if self.on_sync is not None:
                self.on_sync(time.perf_counter() - written)

    def _cut(self, cut: Cut) -> None:
        """Go on in a new segment. Until its name is durable nothing is in it that anyone was promised."""
        with self._fail_stop("cut"):
            self._segments[-1][1].truncate(self._offset)
            following = self._prepared or self._make_prepared()
            self._prepared = following
            following.write(cut.head, 0)
            following.sync()
            self._files.rename(f"{self.directory}/{PREPARED}", f"{self.directory}/{cut.name}")
            self._prepared = None
            self._segments.append((cut.name, following))
            self._files.sync_directory(self.directory)
            self._offset = len(cut.head)

    def _make_prepared(self) -> File:
        path = f"{self.directory}/{PREPARED}"
        prepared = self._files.open(path, create=True)
        try:
            prepared.lock()
            prepared.truncate(0)
            prepared.preallocate(self.encoder.segment_bytes)
        except BaseException:
            prepared.close()
            with suppress(OSError):
                self._files.unlink(path)
            raise
        return prepared

    @contextmanager
    def _fail_stop(self, what: str) -> Iterator[None]:
        """Whatever fails inside closes the log for good: what the disk then holds is only known by reading it anew."""
        if self.failure is not None:
            raise self.failure
        try:
            yield
        except OSError as error:
            self._fail(what, error)

    def _fail(self, what: str, error: OSError) -> NoReturn:
        self.failure = WalClosed(f"the log in {self.directory} is closed since this failed: {error}")
        where = f"{self.directory}/{self._segments[-1][0]}, offset {self._offset}"
        raise WriteFailed(f"{where}: {what} failed: {error}; restart the member when this is mended") from error


def _parent(directory: str) -> str:
    return directory.rstrip("/").rpartition("/")[0] or ("/" if directory.startswith("/") else ".")


def _read(directory: str, segments: list[tuple[SegmentName, File]]) -> Iterator[tuple[str, bytes, bool]]:
    for name, segment in segments:
        yield f"{directory}/{name}", records_of(segment), name == segments[-1][0]


def _clear_behind(segment: File, offset: int, segment_bytes: int) -> None:
    """Leave nothing but zeros behind the last record, and nothing before it that is only in memory.

    Pieces of a write that was never finished may lie there; a shorter record written over them must not make them
    look like its successors. And what was read may be from a process that died before its sync: from now on it counts
    as promised.
    """
    segment.truncate(offset)
    segment.preallocate(segment_bytes)
    segment.sync()


def _close(segments: list[tuple[SegmentName, File]]) -> None:
    for _, segment in segments:
        segment.close()
