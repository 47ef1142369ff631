"""Whole databases on their way to and from a peer: backend ──► bbolt file, bbolt file ──► backend file.

    member/snap/tmp.*                     a bbolt file being made, sent or received; means nothing after a restart
    member/snap/<index, 16 hex>.snap.db   a received database as backend file, whole; waits to take the place of `db`
    member/snap/<…>.snap.db.tmp           the same, not yet whole

A peer's file is turned into a backend file before raft hears of the snapshot, so that nothing can fail or take long
between the moment raft has accepted it and the moment it is in place. Two snapshots may wait at a time: a received file
stays until it is applied or a later one is (etcd 18055).

`export` and `take_in` are generators: whoever owns the loop takes a bite, about a millisecond of work or of waiting for
the disk, and gives others their turn. Closing one takes back what it made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from quorate.api.raftpb import ConfState
from quorate.pkg.jsonlog import get_log
from quorate.storage import bbolt, schema
from quorate.storage.backend import BackendError, Bucket, View, load
from quorate.storage.files import OS_FILES, File, Files

log = get_log(__name__)

Load = Callable[[str | Path, Sequence[Bucket], Iterable[tuple[Bucket, bytes, bytes]]], Generator[None, None, None]]
"""`quorate.storage.backend.load`, or what a simulator has in its place."""

_RECEIVED = re.compile(r"([0-9a-f]{16})\.snap\.db")
_TEMPORARY = re.compile(r"tmp\..+|[0-9a-f]{16}\.snap\.db(\.tmp|\.tmp-lock|-lock)")


def export(view: View, path: str | Path, files: Files = OS_FILES) -> Generator[None, None, int]:
    """Write the rows of `view` to `path` as a bbolt file that etcd takes as a member's database; its size in bytes.

    Yields between bites. The caller closes the view, and soon: pages freed while it is open are not used again.
    Raises OSError.
    """
    return (yield from bbolt.write(path, ((bucket.name, view.scan(bucket)) for bucket in schema.BUCKETS), files))


def take_in(
    bbolt_path: str | Path,
    path: str | Path,
    conf_state: ConfState,
    index: int,
    term: int,
    files: Files = OS_FILES,
    load: Load = load,
) -> Generator[None, None, None]:
    """Turn a peer's bbolt file into a backend file at `path`, durable when this ends. Yields between bites.

    `conf_state`, `index` and `term` are the snapshot's, and become those of the new file. The old one may stand at an
    earlier entry: etcd before 3.5.3 let its index lag behind entries that changed no row. A later one is refused.
    A simulator hands in `files` to read from and its own `load` to write with.
    Raises BboltError for a damaged file, BackendError for rows that cannot be stored, OSError.
    """
    reader = bbolt.Reader.open(bbolt_path, files)
    try:
        known = {bucket.name for bucket in schema.BUCKETS}
        for name in reader.buckets():
            if name not in known:
                log.warn("left an unknown bucket out of a received database", bucket=name.decode(errors="replace"))
        draft = schema.Draft(schema.BboltSource(reader))
        _complete(draft, conf_state, index, term)
        yield from load(path, schema.BUCKETS, draft.rows())
    finally:
        reader.close()


def database_path(snap_dir: Path, index: int) -> Path:
    """Where the received database of the snapshot at `index` waits."""
    return snap_dir / f"{index:016x}.snap.db"


def unname(path: Path, files: Files = OS_FILES) -> Iterator[File]:
    """Remove a file by its name at once. What it gives, if the file was there, is to be closed aside: the disk takes
    its time for the last one to close a file without a name, a third of a second a gigabyte."""
    with suppress(FileNotFoundError):
        file = files.open(str(path), read_only=True)
        files.unlink(str(path))
        yield file


def remove_superseded(snap_dir: Path, index: int, files: Files = OS_FILES) -> list[File]:
    """Remove received databases that nobody waits for once the snapshot at `index` is in place: those up to it.

    What it returns is to be closed aside."""
    removed: list[File] = []
    for name in files.list(str(snap_dir)):
        match = _RECEIVED.fullmatch(name)
        if match and int(match[1], 16) <= index:
            removed += unname(snap_dir / name, files)
            log.info("removed a received database that is no longer needed", path=str(snap_dir / name))
    return removed


def remove_leftovers(snap_dir: Path, files: Files = OS_FILES) -> None:
    """Remove what a stopped process left: temporary files, and received databases. To be called at a start, when the
    database that the log asks for is in place."""
    for name in files.list(str(snap_dir)):
        if _RECEIVED.fullmatch(name) or _TEMPORARY.fullmatch(name):
            _remove(files, snap_dir / name)
            log.info("removed a leftover file", path=str(snap_dir / name))


def _remove(files: Files, path: Path) -> None:
    with suppress(FileNotFoundError):
        files.unlink(str(path))


def _complete(rows: schema.Store, conf_state: ConfState, index: int, term: int) -> None:
    """Make `rows` tell the snapshot's index, term and voters. Raises BackendError when they stand behind the snapshot:
    the entries between would be applied a second time."""
    stands = schema.get_applied(rows)
    if stands.index > index:
        raise BackendError(f"a database at entry {stands.index} came with a snapshot of entry {index}")
    if stands.index < index:
        log.info("a received database lags behind its snapshot", consistent_index=stands.index, index=index)
    schema.put_applied(rows, index, term)
    # Who votes is the snapshot's to say: a database restored from a backup tells the voters of its old cluster until
    # the next change.
    schema.put_conf_state(rows, conf_state)
