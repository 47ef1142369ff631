"""Where threads and tasks are, as stacks of frames: the innermost first."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, NamedTuple


class Place(NamedTuple):
    """A line in a function."""

    function: str
    file: str
    line: int


Stack = tuple[Place, ...]
"""Innermost first."""

MAX_DEPTH = 128
"""Frames of a stack that are looked at."""


def thread_stacks() -> Iterator[tuple[threading.Thread, Stack]]:
    """Every thread that Python knows, and where it is now."""
    threads = {thread.ident: thread for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        thread = threads.get(ident)
        if thread is not None:
            yield thread, stack_of(frame)


def task_stacks() -> Iterator[tuple[str, Stack]]:
    """Name and stack of every task of the running loop."""
    for task in sorted(asyncio.all_tasks(), key=lambda task: task.get_name()):
        yield task.get_name(), _stack_of_coroutine(task.get_coro())


def stack_of(frame: FrameType | None) -> Stack:
    """The stack that ends in `frame`."""
    places: list[Place] = []
    while frame is not None and len(places) < MAX_DEPTH:
        places.append(_place(frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return tuple(places)


def _stack_of_coroutine(coroutine: Any) -> Stack:
    """A coroutine, what it awaits, and so on."""
    places: list[Place] = []
    while coroutine is not None and len(places) < MAX_DEPTH:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            places.append(_place(frame.f_code, frame.f_lineno or 0))
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return tuple(reversed(places))


def _place(code: CodeType, line: int) -> Place:
    return Place(code.co_qualname, code.co_filename, line)
