"""A coroutine that is stepped without a task, whenever the future that it waits for is done.

A task and its wake-up cost more than the rest of a small call.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Coroutine
from typing import Any

_log = logging.getLogger(__name__)


class Steps:
    """Base of calls that are under way; what becomes of the coroutine is told by `_returned` and `fail`."""

    __slots__ = ("_coroutine", "_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._coroutine: Coroutine[Any, Any, Any] | None = None
        self._future: asyncio.Future[Any] | None = None

    @abstractmethod
    def _returned(self, value: Any) -> None:
        """The coroutine has come to its end."""

    @abstractmethod
    def fail(self, error: BaseException) -> None:
        """It has raised."""

    def _step(self, _: object = None) -> None:
        coroutine = self._coroutine
        if coroutine is None:
            return
        self._future = None
        try:
            awaited = coroutine.send(None)
        except StopIteration as done:
            self._coroutine = None
            self._returned(done.value)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self._coroutine = None
            self.fail(error)
        else:
            self._wait(awaited)

    def _wait(self, awaited: Any) -> None:
        """Step on when `awaited` is done. What a coroutine yields is a future, or None to let others go first."""
        if awaited is None:
            self._loop.call_soon(self._step)
            return
        if not getattr(awaited, "_asyncio_future_blocking", False):
            self.fail(RuntimeError(f"a unary handler may wait for asyncio futures only, not for {awaited!r}"))
            return
        awaited._asyncio_future_blocking = False
        self._future = awaited
        awaited.add_done_callback(self._step)

    def _stop(self) -> None:
        """End the coroutine where it waits.

        The future it waited for may have others waiting and is left alone, unlike a task would do.
        """
        if self._future is not None:
            self._future.remove_done_callback(self._step)
            self._future = None
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is not None:
            stop(coroutine)


def stop(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Throw CancelledError into a waiting coroutine. One that goes on waiting is closed."""
    try:
        coroutine.throw(asyncio.CancelledError())
        coroutine.close()
    except (StopIteration, asyncio.CancelledError):
        pass
    except Exception:
        _log.exception("a cancelled handler failed")
