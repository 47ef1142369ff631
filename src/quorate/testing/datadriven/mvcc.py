"""Scripts about keys at revisions: what is written, what can be read of the past, who is told, what a crash leaves.

    mvcc [compaction-batch=N]        the first directive; compaction takes bites of 1000 if nothing is said
    put KEY VALUE [lease=ID]         one change
    delete KEY [END]                 of the keys in [KEY, END); `\\0` as END is everything from KEY on
    get KEY [END] [rev=R] [limit=N] [keys-only] [count-only]
    txn                              the changes and gets of the input, as one transaction
    grant ID                         a lease to hang keys on
    lease-keys ID                    what hangs there
    compact R [bites=N]              to the end, or N bites of it and no more
    finish                           what is left of compactions
    hash [rev=R]
    rows                             the rows as they lie in bucket `key`, and what `meta` says of compaction
    watch KEY [END] [id=N] [start=R] [prev-kv] [no-put] [no-delete]
    cancel ID, progress ID           of a watcher
    room N                           the watchers' client takes N batches more; `room all`, as at the start
    sync, retry                      bring watchers that are behind further
    restart [from=NAME]              stop, and start again on what is in the file, or on a copy of it
    copy NAME                        the file as it is now
    replace NAME                     go on with a copy, as when a snapshot came from the leader

What a watcher is told stands below the output of the command that made it known.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from quorate.api.errors import EtcdError
from quorate.api.pb import kv_pb2
from quorate.lease import Lessor
from quorate.storage.backend import Backend
from quorate.storage.mvcc import (
    Mode,
    RangeResult,
    Store,
    WatchableStore,
    WatchBatch,
    WatchRefused,
    WatchStream,
    WriteTxn,
)
from quorate.storage.mvcc.compaction import BATCH_LIMIT
from quorate.storage.mvcc.revision import parse_revision
from quorate.storage.schema import BUCKETS, KEY, get_finished_compact_revision, get_scheduled_compact_revision
from quorate.testing.datadriven.room import Room, data_of, number, shown
from quorate.testing.datadriven.script import Command, ScriptError, parse_directive


class Client:
    """Where the batches of all watchers go."""

    def __init__(self) -> None:
        self.room: int | None = None
        """Batches it still takes; None for any number."""
        self.batches: list[WatchBatch] = []

    def deliver(self, batch: WatchBatch) -> bool:
        if self.room is not None:
            if not self.room:
                return False
            self.room -= 1
        self.batches.append(batch)
        return True


class MvccScript(Room):
    expected = (EtcdError, WatchRefused)

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._batch_limit = BATCH_LIMIT
        self._file = directory / "0"
        self._files = 1
        self._jobs: list[Iterator[None]] = []
        self._backend: Backend
        self._client: Client
        self._lessor: Lessor
        self._store: WatchableStore
        self._stream: WatchStream
        self._start()

    def _start(self) -> None:
        self._backend = self._opened()
        self._lessor = Lessor(self._backend, min_ttl=1)
        self._lessor.restore()
        self._store = WatchableStore(self._backend, self._lessor, compaction_batch_limit=self._batch_limit)
        self._store.restore()
        self._take_unfinished()
        self._client = Client()
        self._stream = self._store.watch_stream(self._client)

    def afterwards(self) -> Iterator[str]:
        batches, self._client.batches = self._client.batches, []
        for batch in batches:
            if batch.compact_revision:
                yield f"> watcher {batch.watch_id} ended, compacted at {batch.compact_revision}"
            else:
                yield f"> watcher {batch.watch_id} at {batch.revision}"
            yield from [f"    {_event(kv_pb2.Event.FromString(event))}" for event in batch.events]

    def close(self) -> None:
        self._backend.close()

    # Writing and reading

    def do_mvcc(self, command: Command) -> Iterator[str]:
        self.close()
        self._batch_limit = number(command, "compaction-batch", BATCH_LIMIT)
        self._start()
        return iter(())

    def do_put(self, command: Command) -> Iterator[str]:
        with self._store.write() as txn:
            yield from _step(txn, command)

    do_delete = do_put

    def do_txn(self, command: Command) -> Iterator[str]:
        steps = [parse_directive(line) for line in command.input.splitlines()]
        with self._store.write() as txn:
            for step in steps:
                yield from _step(txn, step)

    def do_get(self, command: Command) -> Iterator[str]:
        return _got(_range(self._store, command))

    def do_grant(self, command: Command) -> Iterator[str]:
        self._lessor.grant(int(command.positional()[0]), 60, 0.0)
        return iter(())

    def do_lease_keys(self, command: Command) -> Iterator[str]:
        yield " ".join(map(shown, self._lessor.keys(int(command.positional()[0])))) or "none"

    # History and its end

    def do_compact(self, command: Command) -> Iterator[str]:
        self._jobs.append(self._store.compact(int(command.positional()[0])))
        bites = command.option("bites")
        return self._take_bites(None if bites is None else int(bites))

    def do_finish(self, command: Command) -> Iterator[str]:
        return self._take_bites(None)

    def do_hash(self, command: Command) -> Iterator[str]:
        job = self._store.hash_kv(number(command, "rev"))
        while True:
            try:
                next(job)
            except StopIteration as stop:
                crc, revision, compacted = stop.value
                yield f"{crc:08x} at revision {revision}, compacted at {compacted}"
                return

    def do_rows(self, command: Command) -> Iterator[str]:
        for place, row in self._backend.scan(KEY):
            main, sub, tombstone = parse_revision(place)
            kv = kv_pb2.KeyValue.FromString(row)
            yield f"{main}_{sub}{'t' if tombstone else ''} " + (shown(kv.key) if tombstone else _kv(kv))
        scheduled, finished = (
            get_scheduled_compact_revision(self._backend),
            get_finished_compact_revision(self._backend),
        )
        yield f"compaction scheduled {scheduled}, finished {finished}"

    def _take_bites(self, limit: int | None) -> Iterator[str]:
        taken = 0
        while self._jobs and taken != limit:
            taken += 1
            if next(self._jobs[0], "ended") == "ended":
                del self._jobs[0]
        yield f"bites: {taken}, {'more to do' if self._jobs else 'done'}"

    # Watching

    def do_watch(self, command: Command) -> Iterator[str]:
        flags = set(command.positional()) & {"prev-kv", "no-put", "no-delete"}
        key, end, *_ = [*(data_of(word) for word in command.positional() if word not in flags), b""]
        watch_id = self._stream.watch(
            number(command, "id"),
            key,
            end,
            number(command, "start"),
            no_put="no-put" in flags,
            no_delete="no-delete" in flags,
            prev_kv="prev-kv" in flags,
        )
        yield f"watcher {watch_id}"

    def do_cancel(self, command: Command) -> Iterator[str]:
        yield "cancelled" if self._stream.cancel(int(command.positional()[0])) else "no such watcher"

    def do_progress(self, command: Command) -> Iterator[str]:
        revision = self._stream.request_progress(int(command.positional()[0]))
        yield "not in sync" if revision is None else f"told everything up to {revision}"

    def do_room(self, command: Command) -> Iterator[str]:
        (room,) = command.positional()
        self._client.room = None if room == "all" else int(room)
        return iter(())

    def do_sync(self, command: Command) -> Iterator[str]:
        yield "more to do" if self._store.sync_watchers() else "done"

    def do_retry(self, command: Command) -> Iterator[str]:
        yield "some are behind" if self._store.retry_victims() else "all are in sync"

    # Starting anew

    def do_restart(self, command: Command) -> Iterator[str]:
        self.close()
        name = command.option("from")
        if name is not None:
            self._take(name)
        self._start()
        return self._where()

    def do_copy(self, command: Command) -> Iterator[str]:
        self._backend.commit()
        shutil.copy(self._file, self.directory / command.positional()[0])
        return iter(())

    def do_replace(self, command: Command) -> Iterator[str]:
        self._take(command.positional()[0])
        before, self._backend = self._backend, self._opened()
        self._lessor.restore(self._backend)
        self._store.restore(self._backend)
        before.close()
        self._take_unfinished()
        return self._where()

    def _take(self, name: str) -> None:
        """Let the file be one made of the copy `name`, which stays as it is."""
        self._file = self.directory / str(self._files)
        self._files += 1
        shutil.copy(self.directory / name, self._file)

    def _opened(self) -> Backend:
        return Backend.open(self._file, BUCKETS, unsafe_no_fsync=True)

    def _take_unfinished(self) -> None:
        self._jobs = [self._store.pending_compaction] if self._store.pending_compaction is not None else []

    def _where(self) -> Iterator[str]:
        unfinished = ", compaction to be finished" if self._jobs else ""
        yield f"revision {self._store.revision}, compacted at {self._store.compacted_revision}{unfinished}"


def _step(txn: WriteTxn, command: Command) -> Iterator[str]:
    """One line of a transaction."""
    words = list(map(data_of, command.positional()))
    if command.name == "put":
        key, value = words
        yield f"put at {txn.put(key, value, number(command, 'lease'))}"
    elif command.name == "delete":
        gone = txn.delete_range(*words)
        yield f"{len(gone)} deleted at {txn.revision}"
    elif command.name == "get":
        yield from _got(_range(txn, command))
    else:
        raise ScriptError(f"{command.name} is no part of a transaction")


def _range(source: Store | WriteTxn, command: Command) -> RangeResult:
    words = command.positional()
    mode = Mode.KEYS if "keys-only" in words else Mode.COUNT if "count-only" in words else Mode.FULL
    keys = [data_of(word) for word in words if word not in ("keys-only", "count-only")]
    return source.range(*keys, revision=number(command, "rev"), limit=number(command, "limit"), mode=mode)


def _got(result: RangeResult) -> Iterator[str]:
    yield from [_kv(kv_pb2.KeyValue.FromString(row)) for row in result.kvs]
    yield f"{result.count} in range at {result.revision}"


def _kv(kv: kv_pb2.KeyValue) -> str:
    lease = f" lease={kv.lease}" if kv.lease else ""
    stamps = f"create={kv.create_revision} mod={kv.mod_revision} version={kv.version}"
    return f"{shown(kv.key)}={shown(kv.value) if kv.value else ''} {stamps}{lease}"


def _event(event: kv_pb2.Event) -> str:
    deleted = event.type == kv_pb2.Event.DELETE
    text = f"delete {shown(event.kv.key)} at {event.kv.mod_revision}" if deleted else f"put {_kv(event.kv)}"
    return f"{text}, before {_kv(event.prev_kv)}" if event.HasField("prev_kv") else text
