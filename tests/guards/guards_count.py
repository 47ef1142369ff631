"""Counts that a busy machine does not change: calls made and instructions executed by the interpreter."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any


def calls(work: Iterator[None]) -> int:
    """Calls of Python functions and of C functions, from the first yield of `work` to the next one or its end."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    next(work)
    sys.setprofile(note)
    try:
        next(work, None)
    finally:
        sys.setprofile(None)
    _finish(work)
    return count


def instructions(work: Iterator[None]) -> int:
    """Instructions of Python's virtual machine, in the same part of `work`."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        if event == "call":
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        elif event == "opcode":
            count += 1
        return trace

    next(work)
    sys.settrace(trace)
    try:
        next(work, None)
    finally:
        sys.settrace(None)
    _finish(work)
    return count


def _finish(work: Iterator[None]) -> None:
    with contextlib.suppress(StopIteration):
        next(work)
