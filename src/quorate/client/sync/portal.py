"""One thread with one event loop, for all sync clients of a process.

    caller's thread: Call ──► loop's thread: task ──► result or error ──► caller's thread
                      ▲                       │
                      └── functions to run ◄──┘

The thread starts with the first call and ends with the process; it keeps no process alive. Ctrl-C while a call waits
cancels the call. A child made by fork gets a thread of its own, and what the parent made answers there with `Forked`.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from quorate.client.errors import Closed

T = TypeVar("T")

STOP_SECONDS = 2.0
"""At the end of the process, for what is under way to be cancelled."""


class Forked(RuntimeError):
    """Made by the process that this one was forked from: its connections are the parent's."""

    def __str__(self) -> str:
        return "this client was made before the fork: make another one in the child"


class Portal:
    """The thread and its loop. Any thread may call, but not the portal's own. Both are its own, unless they are given:
    then somebody else runs and ends them."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None, thread: threading.Thread | None = None) -> None:
        self.is_parents = False
        self._starting = threading.Lock()
        self._loop = loop
        self._thread = thread
        self._stopped = False

    @property
    def started(self) -> bool:
        return self._thread is not None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Raises Forked, Closed at the end of the process, RuntimeError on the portal's own thread."""
        loop, thread = self._loop, self._thread
        if self.is_parents:
            raise Forked()
        if loop is None or thread is None:
            loop, thread = self._start()
        if thread.ident == threading.get_ident():
            raise RuntimeError("a sync call cannot be made on the thread that serves it: it would wait for itself")
        if self._stopped:
            raise Closed()
        return loop

    def run(self, work: Awaitable[T]) -> T:
        """Await `work` on the loop while this thread waits; what it returns or raises."""
        try:
            call = Call[T](self)
        except BaseException:
            _close(work)
            raise
        return call.run(work)

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call a plain function on the loop's thread."""

        async def work() -> T:
            return function(*args)

        return self.run(work())

    def soon(self, work: Callable[[], Awaitable[object]]) -> None:
        """Await what `work` makes, some time from now, and wait for nothing. For any thread, also at the end."""
        if self._loop is None or self.is_parents or self._stopped:
            return
        self._loop.call_soon_threadsafe(_begin, work)

    def iterate(self, items: AsyncIterator[T]) -> Generator[T, None, None]:
        """Take from an async iterator one by one; it is closed when this is dropped half way."""
        try:
            while True:
                try:
                    item = self.run(anext(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                # Not waited for: whoever drops the last reference may be any thread, this portal's too.
                self.soon(close)

    def stop(self) -> None:
        """Cancel all calls, and end the thread."""
        with self._starting:
            loop, thread = self._loop, self._thread
            if self._stopped or self.is_parents or loop is None or thread is None:
                return
            self._stopped = True
        loop.call_soon_threadsafe(loop.stop)
        thread.join(STOP_SECONDS)

    def _start(self) -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
        with self._starting:
            if self._loop is None or self._thread is None:
                self._loop = _new_loop()
                self._thread = threading.Thread(
                    target=_serve, args=(self._loop,), name="quorate-client-sync", daemon=True
                )
                self._thread.start()
            return self._loop, self._thread


class Call(Generic[T]):
    """One call from a thread: waits for its end, and runs what it asks this thread to run."""

    def __init__(self, portal: Portal) -> None:
        self._loop = portal.loop
        self._told: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._task: asyncio.Task[None] | None = None
        self._result: Any = None
        self._error: BaseException | None = None

    def here(self, function: Callable[..., object] | None) -> Callable[..., None] | None:
        """A function for the loop to call, that has `function` called by this thread, later. What it raises ends the
        call; what it returns is lost."""
        if function is None:
            return None

        def tell(*args: Any) -> None:
            self._told.put(lambda: function(*args))

        return tell

    def run(self, work: Awaitable[T]) -> T:
        try:
            self._loop.call_soon_threadsafe(self._begin, work)
            while (function := self._told.get()) is not None:
                function()
        except BaseException:
            self._cancel()
            raise
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # its traceback has this frame: no circle
        result: T = self._result
        return result

    def _cancel(self) -> None:
        """Cancel it and wait until it is over: a second Ctrl-C waits no longer."""
        self._loop.call_soon_threadsafe(self._end)
        while self._told.get() is not None:
            pass

    # On the loop.

    def _end(self) -> None:
        if self._task is None:
            self._told.put(None)
        else:
            self._loop.call_soon(self._task.cancel)  # behind its first step: what has not begun tells nothing

    def _begin(self, work: Awaitable[T]) -> None:
        self._task = self._loop.create_task(self._await(work))

    async def _await(self, work: Awaitable[T]) -> None:
        try:
            self._result = await work
        except asyncio.CancelledError:
            self._error = Closed()
        except BaseException as error:
            self._error = error
        finally:
            self._told.put(None)


def _close(work: Awaitable[object]) -> None:
    """Nobody will await it: a coroutine complains of that otherwise."""
    if isinstance(work, Coroutine):
        work.close()


_unwaited: set[asyncio.Future[None]] = set()
"""A loop alone does not keep tasks from being collected."""


def _begin(work: Callable[[], Awaitable[object]]) -> None:
    task = asyncio.ensure_future(_quiet(work))
    _unwaited.add(task)
    task.add_done_callback(_unwaited.discard)


async def _quiet(work: Callable[[], Awaitable[object]]) -> None:
    try:
        await work()
    except Exception:
        return


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


_portal = Portal()
_of_parents: list[Portal] = []
"""Kept for good: to collect them would close descriptors in ways that their process hears of."""


def current() -> Portal:
    """That of this process."""
    return _portal


def _forked() -> None:
    global _portal
    if _portal.started:
        _portal.is_parents = True
        _of_parents.append(_portal)
        _portal = Portal()


os.register_at_fork(after_in_child=_forked)
atexit.register(lambda: _portal.stop())
