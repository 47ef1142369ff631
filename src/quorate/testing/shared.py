"""One server for all tests of a session, emptied between them: a member in this process, or one that exists already.

MemberInside     in memory, at free ports; what cannot be undone by requests is undone by a new member there
ExistingServer   somebody else's: wiped only by who was told that it may be, and used by one test at a time
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from quorate import embed
from quorate.client import Client
from quorate.client.endpoints import parse_endpoints
from quorate.client.errors import EtcdError
from quorate.pkg.jsonlog import ROOT
from quorate.testing.background import Background
from quorate.testing.reset import wipe

RESET_SECONDS = 2.0
"""After which a member that is not empty yet is given up."""
WIPE_SECONDS = 30.0
"""The same for a server elsewhere, which cannot be given up: for each request."""

SILENT = logging.CRITICAL + 1


class ResetFailed(Exception):
    """The server could not be emptied; the message says why."""


class SharedServer(ABC):
    """What the fixture `etcd` gives to a test."""

    def __init__(self) -> None:
        self._used = False

    @property
    @abstractmethod
    def client_urls(self) -> list[str]:
        """`http://host:port` of each member."""

    @property
    @abstractmethod
    def endpoints(self) -> list[str]:
        """The same as most clients take it: `host:port`."""

    @abstractmethod
    def reset(self, *, fresh: bool = False) -> None:
        """Take away all keys with their history, leases, users, roles and alarms. The revision goes on, unless
        `fresh`: then there is a new member at the same ports, at revision 1. Raises ResetFailed."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything."""

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """The time of one test: it finds the server empty."""
        if self._used:
            self.reset()
        self._used = True
        yield


class MemberInside(SharedServer):
    """A member in memory, on a loop in a thread. Nothing is logged while it lives, unless a test sets the level of
    "quorate": it would be found among what the test itself logs. Raises OSError."""

    def __init__(self) -> None:
        super().__init__()
        self._compacted = 0
        log = logging.getLogger(ROOT)
        self._log_level = log.level
        log.setLevel(SILENT)
        try:
            self._member = embed.start(in_memory=True)
        except BaseException:
            log.setLevel(self._log_level)
            raise
        self._client = self._connect()

    @property
    def client_urls(self) -> list[str]:
        return self._member.client_urls

    @property
    def endpoints(self) -> list[str]:
        return self._member.endpoints

    def reset(self, *, fresh: bool = False) -> None:
        if fresh or self._has_grown() or not self._wiped():
            self._member.run(self._replace())

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # stopped by the test
            self._member.run(self._client.close())
        self._member.stop()
        logging.getLogger(ROOT).setLevel(self._log_level)

    def _wiped(self) -> bool:
        try:
            self._compacted = self._member.run(wipe(self._client, self._compacted), RESET_SECONDS)
        except (EtcdError, TimeoutError):  # auth is enabled; something stands still
            return False
        return True

    def _has_grown(self) -> bool:
        """Whether the test has added members, which are not there to vote."""
        server = self._member.etcd.server
        return server is None or len(server.cluster.members()) > 1

    async def _replace(self) -> None:
        """What is in memory does not outlive its member."""
        await self._client.close()
        await self._member.etcd.abort()
        await self._member.etcd.start()
        self._client, self._compacted = self._connect(), 0

    def _connect(self) -> Client:
        return self._member.etcd.client(timeout=RESET_SECONDS)


class ExistingServer(SharedServer):
    """A server elsewhere, without auth. `may_wipe` is its owner's word that it holds nothing of value: without it,
    PermissionError. Tests of several processes on this machine take turns. Raises ValueError for a bad endpoint."""

    def __init__(self, endpoints: str, may_wipe: bool) -> None:
        super().__init__()
        found = parse_endpoints(endpoints, False)
        if not may_wipe:
            raise PermissionError(f"tests would delete all that is stored at {endpoints}")
        self._used = True  # by whom, is not known
        self._compacted = 0
        self._urls = [str(endpoint) for endpoint in found]
        self._background = Background("quorate-reset")
        self._client = Client(self._urls, timeout=WIPE_SECONDS)

    @property
    def client_urls(self) -> list[str]:
        return list(self._urls)

    @property
    def endpoints(self) -> list[str]:
        return [url.removeprefix("http://") for url in self._urls]

    def reset(self, *, fresh: bool = False) -> None:
        if fresh:
            raise ResetFailed("a server that existed before the tests cannot be made anew")
        try:
            self._compacted = self._background.run(wipe(self._client, self._compacted))
        except EtcdError as error:
            raise ResetFailed(f"cannot empty {', '.join(self._urls)}: {error}") from error

    def close(self) -> None:
        self._background.run(self._client.close())
        self._background.close()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        name = hashlib.sha256(",".join(sorted(self._urls)).encode()).hexdigest()[:16]
        with (Path(tempfile.gettempdir()) / f"quorate-tests-{os.getuid()}-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with super().turn():
                yield
