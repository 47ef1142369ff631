"""Members for programs without an event loop: theirs runs in a thread, and every call here waits for it."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

import uvloop

from quorate.embed.cluster import Cluster
from quorate.embed.config import DEFAULT_NAME, Config
from quorate.embed.member import Etcd

if TYPE_CHECKING:
    from quorate.client.sync import Client

T = TypeVar("T")


def start(
    config: Config | None = None,
    *,
    data_dir: str | Path | None = None,
    name: str = DEFAULT_NAME,
    listen: bool = True,
    in_memory: bool = False,
    **config_fields: Any,
) -> RunningEtcd:
    """Start a member; returns once it serves clients. Settings and errors are those of `Etcd`.

    with embed.start(in_memory=True) as etcd: ...
    """
    etcd = Etcd(config, data_dir=data_dir, name=name, listen=listen, in_memory=in_memory, **config_fields)
    running = RunningEtcd(etcd)
    running.start()
    return running


def start_cluster(
    size: int, *, data_dir: str | Path | None = None, in_memory: bool = False, **config_fields: Any
) -> RunningCluster:
    """Start a new cluster; returns once all its members serve clients. Settings and errors are those of `Cluster`.

    with embed.start_cluster(3, in_memory=True) as members: ...
    """
    cluster = Cluster(size, data_dir=data_dir, in_memory=in_memory, **config_fields)
    return RunningCluster(cluster)


class LoopThread:
    """An event loop in a daemon thread."""

    def __init__(self, name: str) -> None:
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self.thread = threading.Thread(target=_run_loop, args=(started,), name=name, daemon=True)
        self.thread.start()
        self.loop, self._end = started.result()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run it on the loop and wait for its result. After `timeout` seconds, or when the waiting is interrupted, it
        is cancelled. Raises TimeoutError, RuntimeError when called on the loop itself or after `stop`."""
        try:
            if threading.current_thread() is self.thread:
                raise RuntimeError("called on the member's own event loop: await the coroutine instead")
            result = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        except RuntimeError:
            coroutine.close()
            raise
        try:
            return result.result(timeout)
        except BaseException:
            result.cancel()
            raise

    def stop(self) -> None:
        """Cancel what still runs on the loop, and join the thread."""
        with contextlib.suppress(RuntimeError):  # closed already
            self.loop.call_soon_threadsafe(self._end.set)
        self.thread.join()


class RunningEtcd:
    """A member on a loop in another thread. A context manager; made by `start` and `start_cluster`."""

    def __init__(self, etcd: Etcd, thread: LoopThread | None = None) -> None:
        self.etcd = etcd
        """The member itself, for coroutines given to `run`."""
        self._thread = thread
        self._owns_thread = thread is None
        self._lock = threading.RLock()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The member's event loop. Raises RuntimeError once it has stopped."""
        return self._running().loop

    @property
    def client_urls(self) -> list[str]:
        return self.etcd.client_urls

    @property
    def endpoints(self) -> list[str]:
        """`host:port`, as clients take it."""
        return self.etcd.endpoints

    @property
    def peer_urls(self) -> list[str]:
        return self.etcd.peer_urls

    def client(self, *, user: str | None = None, password: str | None = None, timeout: float | None = None) -> Client:
        """A client of this member without a socket, for threads. It lives on the member's loop, and must be closed
        before that has stopped. Raises RuntimeError once it has."""
        from quorate.client.sync.hosted import hosted

        thread = self._running()
        inner = self.etcd.client(user=user, password=password, timeout=timeout)
        return hosted(inner, thread.loop, thread.thread)

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on the member's loop and return its result, as `LoopThread.run`."""
        try:
            thread = self._running()
        except RuntimeError:
            coroutine.close()
            raise
        return thread.run(coroutine, timeout)

    def start(self) -> None:
        """Start it again after `stop` or `kill`, at the same ports, on its data if it has not lived in memory."""
        with self._lock:
            if self._thread is None:
                self._thread = LoopThread("quorate-embed")
                atexit.register(self.kill)
            try:
                self._thread.run(self.etcd.start())
            except BaseException:
                if not self.etcd.is_running:
                    self._end_thread()
                raise

    def stop(self) -> None:
        """Stop it cleanly, and its thread if it has one of its own. A second time does nothing."""
        self._stop(self.etcd.stop)

    def kill(self) -> None:
        """Stop it as a crash would: nothing more is written."""
        self._stop(self.etcd.abort)

    def _stop(self, end: Any) -> None:
        with self._lock:
            if self._thread is not None:
                try:
                    self._thread.run(end())
                finally:
                    self._end_thread()

    def _end_thread(self) -> None:
        if self._owns_thread and self._thread is not None:
            atexit.unregister(self.kill)
            self._thread.stop()
            self._thread = None

    def _running(self) -> LoopThread:
        if self._thread is None:
            raise RuntimeError("this member has stopped")
        return self._thread

    def __enter__(self) -> RunningEtcd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()


class RunningCluster(Sequence[RunningEtcd]):
    """The members of a cluster on one loop in another thread: a sequence, and a context manager."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        """The cluster itself, for coroutines given to `run`."""
        self._thread = LoopThread("quorate-embed")
        self._stopped = False
        self._lock = threading.Lock()
        self._members = [RunningEtcd(member, self._thread) for member in cluster]
        try:
            self._thread.run(cluster.start())
        except BaseException:
            self._thread.stop()
            raise
        atexit.register(self._kill)

    def __len__(self) -> int:
        return len(self._members)

    @overload
    def __getitem__(self, place: int) -> RunningEtcd: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[RunningEtcd]: ...

    def __getitem__(self, place: int | slice) -> RunningEtcd | Sequence[RunningEtcd]:
        return self._members[place]

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._thread.loop

    @property
    def client_urls(self) -> list[str]:
        return self.cluster.client_urls

    @property
    def endpoints(self) -> list[str]:
        return self.cluster.endpoints

    @property
    def leader(self) -> RunningEtcd | None:
        """The member that leads, None while there is none."""
        leader = self.cluster.leader
        return next((member for member in self if member.etcd is leader), None)

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on the members' loop and return its result, as `LoopThread.run`."""
        return self._thread.run(coroutine, timeout)

    def stop(self) -> None:
        """Stop every member and the thread, for good. A second time does nothing."""
        with self._lock:
            if not self._stopped:
                self._stopped = True
                atexit.unregister(self._kill)
                try:
                    self._thread.run(self.cluster.stop())
                finally:
                    self._thread.stop()

    def _kill(self) -> None:
        for member in self:
            member.kill()

    def __enter__(self) -> RunningCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()


def _run_loop(started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    async def live() -> None:
        end = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), end))
        await end.wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(live())
