"""`mvcc put`: the store by itself, in a directory of its own, without raft and without a server."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from quorate.cmd.benchmark.fleet import Outcome, Results
from quorate.storage import schema
from quorate.storage.backend import Backend
from quorate.storage.mvcc import Store


class NoLeases:
    """No key hangs on a lease."""

    def attach(self, lease_id: int, key: bytes) -> None:
        """Never asked for."""

    def detach(self, lease_id: int, key: bytes) -> None:
        """Never asked for."""

    def lease_of(self, key: bytes) -> int:
        return 0


def put(settings: dict[str, Any]) -> Outcome:
    """Put `total` keys, one or, with `txn`, `txn_ops` in a transaction; the latency of each key."""
    keys = [random.randbytes(settings["key_size"]) for _ in range(settings["total"])]
    value = random.randbytes(settings["value_size"])
    together = settings["txn_ops"] if settings["txn"] else 1
    results = Results("")
    with _store(settings["batch_interval"] / 1000, settings["batch_limit"]) as (backend, store):
        cpu, begun = process_time(), perf_counter()
        for first in range(0, len(keys), together):
            part = keys[first : first + together]
            began = perf_counter()
            backend.begin_entry()
            with store.write() as transaction:
                for key in part:
                    transaction.put(key, value)
            backend.end_entry()
            each = (perf_counter() - began) / len(part)
            results.seconds.extend([each] * len(part))
        results.elapsed = perf_counter() - begun
        cpu = process_time() - cpu
    return Outcome([results], cpu, cpu / max(results.elapsed, 1e-9))


@contextmanager
def _store(batch_interval: float, batch_limit: int) -> Iterator[tuple[Backend, Store]]:
    with tempfile.TemporaryDirectory(prefix="etcd-benchmark-") as place:
        backend = Backend.open(
            Path(place) / "db", schema.BUCKETS, batch_interval=batch_interval, batch_limit=batch_limit
        )
        try:
            store = Store(backend, NoLeases())
            store.restore()
            yield backend, store
        finally:
            backend.close()
