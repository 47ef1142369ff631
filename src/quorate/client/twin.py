"""Marks for `tools/gen_sync.py`, which writes the sync twin of this package. They change nothing.

Without a mark, an async method of the twin runs the one here, on the loop of the twin's thread, and waits for it; a
plain method is called as it is, by the caller's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def translated(function: F) -> F:
    """The twin has this very body, without `await`, run by the caller's thread: because it calls a function of the
    caller's, or is cheap most of the time. On a class: all its methods. Private names that it uses have twins, too."""
    return function


def on_loop(function: F) -> F:
    """A plain method that changes what belongs to the loop: the twin calls it there."""
    return function
