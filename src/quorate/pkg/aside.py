"""One blocking call on a thread of its own, seen as a job in bites."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator

WAIT_SECONDS = 0.001
"""How long one bite waits for the thread: as long as a bite of work takes."""


def aside(call: Callable[[], None], wait: float = WAIT_SECONDS) -> Generator[None, None, None]:
    """Run `call` on its own thread, yield until it has ended, and raise what it raised.

    Each bite waits for it for `wait` seconds: none, for a caller that paces itself.

    For calls that wait outside the interpreter, as fsync does. A job that is closed meanwhile waits for the call,
    because what it works on is about to be taken away.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run, name="aside", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            yield
            thread.join(wait)
    finally:
        thread.join()
    if failures:
        raise failures[0]
