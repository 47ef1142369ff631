"""Says in time that files and sockets are about to run out: a member without any can neither serve nor write."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from quorate.etcdhttp.metrics.process import open_files, open_files_limit
from quorate.pkg.jsonlog import get_log

log = get_log(__name__)

LOOK_SECONDS = 600.0
MOST = 0.8
"""Part of what is allowed, from which on there is a warning."""


async def watch_open_files() -> NoReturn:
    """Look now and then; to be cancelled."""
    while True:
        warn_of_open_files(open_files(), open_files_limit())
        await asyncio.sleep(LOOK_SECONDS)


def warn_of_open_files(used: int, allowed: int) -> None:
    """Warn when most of what is allowed is in use."""
    if used >= MOST * allowed:
        log.warn("80% of file descriptors are used", used=used, limit=allowed)
