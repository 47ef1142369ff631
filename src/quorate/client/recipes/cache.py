"""A copy of all keys under a prefix that follows the store: read without asking, as old as `revision` says.

load: get at revision N ──► watch from N + 1 ──► each revision whole, in order
  ▲                             │ compacted before it was told
  └─────────────────────────────┘
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType

from quorate.client.client import Client
from quorate.client.errors import Closed, Compacted, EtcdError
from quorate.client.ops import Key, to_bytes
from quorate.client.recipes.place import UNCERTAIN
from quorate.client.recipes.waiting import Deadline, in_time
from quorate.client.results import KeyValue
from quorate.client.watch import Watch

ASK_SECONDS = 0.1
"""Of waiting for a revision, until the member is asked how far it has told everything. Most come by themselves, and
members before 3.5.8 may answer ahead of events that are just on their way."""
RELOAD_PAUSE = 0.2


class WatchCache:
    """`async with` loads it and keeps it current. Reading raises EtcdError once it cannot be kept current any more."""

    def __init__(self, client: Client, prefix: Key) -> None:
        self.revision = 0
        """The revision of the store that this is the copy of; 0 before it is open."""
        self._client = client
        self._prefix = to_bytes(prefix)
        self._kvs: dict[bytes, KeyValue] = {}
        self._error: EtcdError | None = None
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()
        self._watch: Watch | None = None

    async def __aenter__(self) -> WatchCache:
        """Raises EtcdError."""
        await self._load()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Follow no longer."""
        self._end(Closed())
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def get(self, key: Key) -> KeyValue | None:
        """One key; None when it was not there at `revision`."""
        return self._all().get(to_bytes(key))

    def kvs(self) -> list[KeyValue]:
        """All keys, in their order."""
        return [kv for _, kv in sorted(self._all().items())]

    def __contains__(self, key: Key) -> bool:
        return to_bytes(key) in self._all()

    def __iter__(self) -> Iterator[KeyValue]:
        return iter(self.kvs())

    def __len__(self) -> int:
        return len(self._all())

    async def wait_synced(self, revision: int, timeout: float | None = None) -> None:
        """Return when this is the copy of that revision or a later one. Raises DeadlineExceeded, EtcdError."""
        await in_time(self._until(revision), Deadline(timeout))

    def _all(self) -> dict[bytes, KeyValue]:
        if self._error is not None:
            raise self._error
        return self._kvs

    def _behind(self, revision: int) -> bool:
        self._all()
        return self.revision < revision

    async def _until(self, revision: int) -> None:
        while self._behind(revision):
            with suppress(TimeoutError):
                async with asyncio.timeout(ASK_SECONDS):
                    while self._behind(revision):
                        await self._moved.wait()
                    return
            if self._watch is not None:
                self._watch.ask_progress()  # a revision that touched no key here is told only to those who ask

    # The task.

    async def _run(self) -> None:
        while self._error is None:
            try:
                await self._follow()
            except Compacted:
                await self._reload()
            except EtcdError as error:
                self._end(error)

    async def _load(self) -> None:
        found = await self._client.get(self._prefix, prefix=True)
        self._kvs = {kv.key: kv for kv in found}
        self._move(found.header.revision)

    async def _reload(self) -> None:
        while True:
            try:
                return await self._load()
            except EtcdError as error:
                if error.code not in UNCERTAIN:
                    raise
            await asyncio.sleep(RELOAD_PAUSE)

    async def _follow(self) -> None:
        async with self._client.watch(self._prefix, prefix=True, start_revision=self.revision + 1) as watch:
            self._watch = watch
            try:
                while True:
                    for event in await watch.batch():
                        if event.is_put:
                            self._kvs[event.key] = event.kv
                        else:
                            self._kvs.pop(event.key, None)
                    self._move(watch.revision)
            finally:
                self._watch = None

    def _move(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        self._wake()

    def _end(self, error: EtcdError) -> None:
        self._error = self._error or error
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
