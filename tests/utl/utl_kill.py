"""A job that ends, as by a kill, where it reaches a line. Imports little: each child imports it anew."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

TRACED = tuple(
    f"/quorate/{name}.py"
    for name in (
        *("server/offline/staging", "server/offline/logs", "server/offline/restore"),
        *("server/offline/from_etcd", "server/offline/to_etcd"),
        *("storage/wal/log", "storage/backend/load", "storage/files"),
    )
)
"""Modules that write; between the lines of others nothing changes on disk."""

KILLED = 9

Line = tuple[str, int]


def lines_of(job: Callable[[], None]) -> list[Line]:
    """The lines that a job goes through, each once, in order."""
    found: dict[Line, None] = {}
    sys.settrace(_tracer(lambda line: found.setdefault(line, None)))
    try:
        job()
    finally:
        sys.settrace(None)
    return list(found)


def die_at(line: Line, job: Callable[[], None]) -> None:
    """Run a job up to a line."""
    sys.settrace(_tracer(lambda reached: os._exit(KILLED) if reached == line else None))
    job()


def _tracer(reach: Callable[[Line], object]) -> Any:
    def trace(frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.endswith(TRACED):
            return None
        if event == "line":
            reach((name, frame.f_lineno))
        return trace

    return trace
