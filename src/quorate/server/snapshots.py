"""The whole state on its way between members: to one that lags too far behind, and from a leader to this one.

    sender:    rows held still ──export──► bbolt file ──► POST ──► report to raft
    receiver:  POST ──► bbolt file ──take_in──► <index>.snap.db ──► raft accepts ──► log ──► replaces the backend

Both conversions run in bites, so that the member goes on meanwhile. Index, term and members of a snapshot that is sent
are those that the rows themselves say they are at, whatever raft had in mind when it asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from quorate.api.raftpb import Message, Snapshot
from quorate.membership import Cluster, encode_v2_store
from quorate.pkg.histogram import Histogram, doubling
from quorate.pkg.jsonlog import get_log
from quorate.server.snapshot_files import database_path, export, remove_superseded, take_in, unname
from quorate.storage import schema
from quorate.storage.backend import SPARE_BYTES, BackendError, View
from quorate.storage.bbolt import BboltError
from quorate.storage.files import File, Files

if TYPE_CHECKING:
    from quorate.server.member import Server

log = get_log(__name__)

T = TypeVar("T")

REST_SECONDS = 1.0
"""Before another attempt to make a snapshot for the same member."""
CHUNK_BYTES = 1 << 18
"""Bytes read from the file, and handed to the connection, at a time."""


class NoRoom(OSError):
    """There is not enough space on the disk for one more file."""


class SnapshotReplaced(Exception):
    """The rows that were being read have been replaced by others."""


class Snapshots:
    """Sends and receives snapshots of one member."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._directory = server.config.snap_dir
        self._files = server.world.files
        self._sending: dict[int, tuple[Path, File]] = {}
        self._resting: set[int] = set()
        """Members that no snapshot could be made for a moment ago."""
        self._views: set[View] = set()
        self._stopped = False
        self._receiving = asyncio.Lock()
        self.received_seconds = Histogram(doubling(0.1, 10))
        """How long they took to be kept that came from a leader."""

    @property
    def are_leaving(self) -> bool:
        """True while one is being sent: the log behind it must not be cut, its receiver will need it."""
        return bool(self._sending)

    @property
    def is_arriving(self) -> bool:
        """True while one is received and made ready to take the place of what is here."""
        return self._receiving.locked()

    def send(self, message: Message) -> None:
        """Have the state of now sent in place of what `message` names; raft is told how that went."""
        if message.to in self._sending or message.to in self._resting:
            return  # the one on its way tells raft
        path = self._directory / f"tmp.{message.to:016x}.{self._server.next_id():016x}.bbolt"
        try:
            check_room(self._directory, self._server.backend.size_in_use(), self._files)
            # Open to the end, so that closing it aside is what gives the space back.
            file = self._files.open(str(path), create=True)
        except OSError as err:
            self._fail(message.to, err)
            return
        self._sending[message.to] = path, file
        self._server.spawn(self._send(message, path))

    def sent(self, to: int) -> None:
        """The one to member `to` has arrived, or will not."""
        found = self._sending.pop(to, None)
        if found is not None:
            path, file = found
            with suppress(FileNotFoundError):
                self._files.unlink(str(path))
            self.close_aside([file])

    def _remove(self, path: Path) -> None:
        self.close_aside(unname(path, self._files))

    def close_aside(self, files: Iterable[File]) -> None:
        """Close files that have no name any more, without waiting for the disk."""
        for file in files:
            if self._stopped:
                file.close()
            else:
                self._server.spawn(close_aside(file, self._files))

    def stop(self) -> None:
        """Let go of all that is open; what files are left has no meaning at the next start."""
        self._stopped = True
        self.release_views()
        for to in list(self._sending):
            self.sent(to)

    def _fail(self, to: int, reason: Exception) -> None:
        log.warn("failed to make a snapshot", to=f"{to:x}", error=str(reason))
        self._resting.add(to)
        self._server.spawn(self._rest(to))

    async def _rest(self, to: int) -> None:
        """Tell raft after a while that there is no snapshot: it asks again at once."""
        await asyncio.sleep(REST_SECONDS)
        self._resting.discard(to)
        self._server.peers.report_snapshot(to, False)

    async def _send(self, message: Message, path: Path) -> None:
        try:
            snapshot, size = await self.write(path, self._describe, self._check_room)
        except (OSError, SnapshotReplaced) as err:
            self.sent(message.to)
            self._fail(message.to, err)
            return
        message.snapshot = snapshot
        log.info("sending database snapshot", to=f"{message.to:x}", snapshot_index=snapshot.index, bytes=size)
        self._server.transport.send_snapshot(message, _chunks(self._files, path), size)

    def _check_room(self) -> None:
        """Raises NoRoom."""
        check_room(self._directory, 1, self._files)

    def _describe(self, rows: schema.Store) -> Snapshot:
        """What the rows are a snapshot of."""
        applied = schema.get_applied(rows)
        conf_state = schema.get_conf_state(rows)
        assert conf_state is not None, "a member that leads has applied a configuration"
        members = Cluster.restore(rows, self._server.cluster_id, self._server.member_id)
        return Snapshot(applied.index, applied.term, conf_state, encode_v2_store(members))

    async def write(
        self, path: Path, describe: Callable[[schema.Store], T], check: Callable[[], None] = lambda: None
    ) -> tuple[T, int]:
        """Write the rows of now to `path` as a bbolt file; what `describe` tells of them, and the size of the file.

        Between two bites `check` may raise. What fails leaves no file.
        Raises OSError, BboltError, SnapshotReplaced.
        """
        server = self._server
        await server.committed()
        view = server.backend.view()
        self._views.add(view)
        try:
            described = describe(cast(schema.Store, view))  # it is only read
            with closing(export(view, path, self._files)) as job:
                while not await bite(job):
                    if view not in self._views:
                        raise SnapshotReplaced("the rows were replaced by a snapshot from a leader")
                    check()
            with closing(self._files.open(str(path), read_only=True)) as file:
                return described, file.size()
        finally:
            if view in self._views:
                self._views.discard(view)
                view.close()

    def release_views(self) -> None:
        """Let go of rows that are about to be replaced."""
        views, self._views = self._views, set()
        for view in views:
            view.close()

    async def receive(self, message: Message, chunks: AsyncIterator[bytes]) -> None:
        """Keep what a leader sends, then let raft decide whether it is wanted.

        Raises OSError, and ValueError when it is no database of a member.
        """
        snapshot = message.snapshot or Snapshot()
        began = asyncio.get_running_loop().time()
        async with self._receiving:
            # Those that raft did not want.
            self.close_aside(remove_superseded(self._directory, self._server.applied_index, self._files))
            path = self._directory / f"tmp.{snapshot.index:016x}.bbolt"
            try:
                size = 0
                with closing(self._files.open(str(path), create=True)) as file:
                    file.truncate(0)
                    async for chunk in chunks:
                        file.write(chunk, size)
                        size += len(chunk)
                log.info("received database snapshot", snapshot_index=snapshot.index, bytes=size)
                database = database_path(self._directory, snapshot.index)
                job = take_in(
                    path,
                    database,
                    snapshot.conf_state,
                    snapshot.index,
                    snapshot.term,
                    self._files,
                    self._server.world.load,
                )
                while not await bite(job):
                    pass
            except (BboltError, BackendError) as err:
                raise ValueError(str(err)) from err
            finally:
                self._remove(path)
            self.received_seconds.observe(asyncio.get_running_loop().time() - began)
            self._server.raft.receive(message)


async def _chunks(files: Files, path: Path) -> AsyncIterator[bytes]:
    file = files.open(str(path), read_only=True)
    try:
        offset = 0
        while chunk := file.read(offset, CHUNK_BYTES):
            offset += len(chunk)
            yield chunk
    finally:
        await close_aside(file, files)


def check_room(directory: Path, size: int, files: Files) -> None:
    """Raises NoRoom when `size` bytes more would leave too little for the log."""
    free = files.free(str(directory))
    if free < size + SPARE_BYTES:
        raise NoRoom(f"a file of {size} bytes more would leave too little of {free} bytes of free space")


async def close_aside(file: File, files: Files) -> None:
    """Close it without waiting for the disk; others get their turns meanwhile."""
    job = files.aside(file.close)
    while not await bite(job):
        pass


async def bite(job: Generator[None, None, Any]) -> bool:
    """Let `job` take a bite and everything else a turn; True when the job is done."""
    try:
        next(job)
    except StopIteration:
        return True
    await asyncio.sleep(0)
    return False
