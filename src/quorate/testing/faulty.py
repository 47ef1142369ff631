"""A cluster for one test that wants to see members fail: each is a process, and killed, stopped or cut off for real."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from quorate.client import sync
from quorate.testing.cluster import Cluster
from quorate.testing.process import QUORATE


class FaultyCluster(Cluster):
    """`size` members at free ports, in a temporary directory that `close` removes. Numbers count from 0.

    Besides what is here, those of `Cluster`: `kill`, `stop`, `restart`, `isolate`, `cut`, `heal`, `leader`,
    `wait_healthy`, `running`, `add`, `remove`, `move_leader`, `log`. Partitions are between members: clients reach
    every member that runs. Linux only.
    """

    def __init__(self, size: int = 3, *, flags: Sequence[str] = ()) -> None:
        if size < 1:
            raise ValueError("a cluster has at least one member")
        self._place = tempfile.TemporaryDirectory(prefix="quorate-cluster-", ignore_cleanup_errors=True)
        self._clients: list[sync.Client] = []
        place = Path(self._place.name)
        # A process that is killed loses nothing that it has written; only a machine would.
        super().__init__(place, [QUORATE] * size, flags=["--unsafe-no-fsync", *flags], proxied=True)

    @property
    def endpoints(self) -> list[str]:
        """`host:port` of all members, by number."""
        return [member.endpoint for member in self.members if not member.removed]

    @property
    def client_urls(self) -> list[str]:
        return [member.client_url for member in self.members if not member.removed]

    def client(self, *numbers: int, timeout: float = 5.0) -> sync.Client:
        """A client of these members only, or of all. Closed with the cluster."""
        chosen = [self.members[number].endpoint for number in numbers] or self.endpoints
        self._clients.append(sync.connect(chosen, timeout=timeout))
        return self._clients[-1]

    def pause(self, number: int) -> None:
        """Stop it in its tracks: it answers nobody, and its connections stay."""
        self.members[number].pause()

    def resume(self, number: int) -> None:
        self.members[number].resume()

    def partition(self, *groups: Iterable[int]) -> None:
        """Members of one group do not see those of another until `heal`. Who is in no group sees all."""
        pairs = itertools.combinations([list(group) for group in groups], 2)
        self.cut(way for ours, theirs in pairs for a, b in itertools.product(ours, theirs) for way in ((a, b), (b, a)))

    def close(self) -> None:
        for client in self._clients:
            client.close()
        super().close()
        shutil.rmtree(self._place.name, ignore_errors=True)
        self._place.cleanup()
