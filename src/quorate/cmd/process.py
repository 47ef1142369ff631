"""What the process of a member tells the machine: its name, that it is ready, that its memory is to stay; and what it
hears from it: how urgent its reads and writes are, and that it is to end.

Sources: prctl(2), mlockall(2), sd_notify(3), ioprio_set(2).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import platform
import signal
import socket
from collections.abc import Iterator, Mapping

from quorate.pkg.jsonlog import get_log

log = get_log(__name__)

NAME = "etcd"
"""By which `pgrep`, `pidof` and `top` find a member, however it was started."""
_PR_SET_NAME = 15
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
NOTIFY_SOCKET = "NOTIFY_SOCKET"
IO_PRIORITY_SECONDS = 1.0
"""Between two looks at the I/O priority of the process."""
_IOPRIO_CALLS = {"x86_64": (252, 251), "aarch64": (31, 30)}
"""Numbers of ioprio_get and ioprio_set, which the C library has no names for."""
_IOPRIO_WHO_PROCESS = 1
ENDING = (signal.SIGINT, signal.SIGTERM)
"""Signals that ask a process to end."""


@contextlib.contextmanager
def catch_signals() -> Iterator[asyncio.Queue[signal.Signals]]:
    """Where those that ask for the end come while this lasts, on the running loop."""
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in ENDING:
        loop.add_signal_handler(number, signals.put_nowait, number)
    try:
        yield signals
    finally:
        for number in ENDING:
            loop.remove_signal_handler(number)  # a loop of uvloop keeps them when it is closed


def let_signals_kill() -> None:
    """The next one ends this process at once."""
    loop = asyncio.get_running_loop()
    for number in ENDING:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)


def end_by(number: signal.Signals) -> int:
    """End this process by the signal that it was sent; the exit code where that cannot be, as process 1."""
    if os.getpid() == 1:
        return 0
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number


def take_name(name: str = NAME) -> None:
    """Be called `name`; the command line stays as it is. Does nothing where there is no such call."""
    call = getattr(ctypes.CDLL(None), "prctl", None)
    if call is not None:
        call(_PR_SET_NAME, name.encode(), 0, 0, 0)


def lock_memory() -> None:
    """Keep every page of this process in memory once it is there, those of files that are mapped too. Raises OSError.

    Pages are not brought in for that: most of the space that the database may grow into is never used.
    """
    call = getattr(ctypes.CDLL(None, use_errno=True), "mlockall", None)
    if call is None:
        raise OSError("cannot lock memory: this system has no mlockall")
    if call(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT):
        number = ctypes.get_errno()
        raise OSError(number, f"cannot lock memory: {os.strerror(number)} (RLIMIT_MEMLOCK has to be unlimited)")
    log.info("locked the memory of this process")


def tell_service_manager(state: str, environment: Mapping[str, str]) -> bool:
    """Send `state`, such as READY=1, to who asked for it by NOTIFY_SOCKET; whether that was done."""
    path = environment.get(NOTIFY_SOCKET, "")
    if not path:
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect(address)
            channel.send(state.encode())
    except OSError as err:
        log.error("failed to notify systemd", error=str(err), notify_socket=path)
        return False
    log.info("notified the service manager", state=state)
    return True


async def share_io_priority() -> None:
    """Give all threads the I/O priority that somebody gives to the process, for as long as this runs.

    `ionice -p` changes one thread, the first. The log is written by another.
    """
    numbers = _IOPRIO_CALLS.get(platform.machine())
    if numbers is None:
        return
    call, (get, put) = ctypes.CDLL(None, use_errno=True).syscall, numbers
    told = -1
    while True:
        await asyncio.sleep(IO_PRIORITY_SECONDS)
        wanted = call(get, _IOPRIO_WHO_PROCESS, os.getpid())
        others = [task for task in _threads() if call(get, _IOPRIO_WHO_PROCESS, task) != wanted]
        if wanted < 0 or not others:
            continue
        for task in others:
            call(put, _IOPRIO_WHO_PROCESS, task, wanted)
        if wanted != told:
            told = wanted
            log.info("all threads take the I/O priority of the process", io_class=wanted >> 13, level=wanted & 7)


def _threads() -> list[int]:
    try:
        return sorted(map(int, os.listdir("/proc/self/task")))
    except OSError:
        return []
