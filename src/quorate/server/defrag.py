"""Defragmentation on demand: the database file shrinks to what is in use, and nobody waits for it but who asked."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from quorate.api import errors
from quorate.pkg.histogram import Histogram, doubling
from quorate.pkg.jsonlog import get_log
from quorate.storage.backend import DefragmentError

if TYPE_CHECKING:
    from quorate.server.member import Server

log = get_log(__name__)

BITE_PAUSE = 0.005
"""Seconds between two bites. The copy goes as fast with longer ones, by larger bites; with shorter ones it takes more
of the processor, and of the disk, from those who write."""


class Defragmenter:
    """One run at a time; who asks meanwhile waits for that one."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._running: asyncio.Future[None] | None = None
        self._turned = asyncio.Event()
        self.seconds = Histogram(doubling(0.1, 13))
        """How long each took that came to its end."""

    @property
    def is_running(self) -> bool:
        return self._running is not None

    async def turned(self) -> None:
        """Return when one begins or ends."""
        await self._turned.wait()

    def _turn(self) -> None:
        self._turned.set()
        self._turned = asyncio.Event()

    async def defragment(self) -> None:
        """Return when the file is defragmented. It is, even if nobody waits any more.

        Raises DefragmentError when it could not be, and Stopped.
        """
        if self._running is None:
            self._running = asyncio.get_running_loop().create_future()
            self._turn()
            self._server.spawn(self._run(self._running))
        await asyncio.shield(self._running)

    async def defragment_at_start(self) -> None:
        """Do so if it frees as much as was set for a start; one that fails keeps no member from serving."""
        wanted, backend = self._server.config.bootstrap_defrag_bytes, self._server.backend
        if not wanted:
            return
        freed = backend.size() - backend.size_in_use()
        if freed < wanted:
            log.info("skipping defragmentation", bytes_to_be_freed=freed, threshold_bytes=wanted)
            return
        with suppress(DefragmentError):  # it was logged
            await self.defragment()

    async def _run(self, done: asyncio.Future[None]) -> None:
        try:
            await self._work()
        except DefragmentError as err:
            log.error("failed to defragment", error=str(err))
            done.set_exception(err)
        except BaseException:
            done.set_exception(errors.Stopped())  # this member stops, in one way or the other
            raise
        else:
            done.set_result(None)
        finally:
            self._running = None
            self._turn()
            done.exception()  # nobody may be waiting

    async def _work(self) -> None:
        backend = self._server.backend
        loop = asyncio.get_running_loop()
        size, in_use, began = backend.size(), backend.size_in_use(), loop.time()
        path = str(self._server.config.snap_dir / "db")
        log.info("defragmenting", path=path, current_db_size_bytes=size, current_db_size_in_use_bytes=in_use)
        job = backend.defragment()
        try:
            for _ in job:
                await asyncio.sleep(BITE_PAUSE)
        finally:
            job.close()
        took = loop.time() - began
        self.seconds.observe(took)
        log.info(
            "finished defragmenting directory",
            path=path,
            current_db_size_bytes_diff=backend.size() - size,
            current_db_size_bytes=backend.size(),
            current_db_size_in_use_bytes_diff=backend.size_in_use() - in_use,
            current_db_size_in_use_bytes=backend.size_in_use(),
            took=f"{took:.6f}s",
        )
