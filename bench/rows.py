"""What is measured with requests: rows of the table, each a command of etcd-benchmark with its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sides import Site

from quorate.cmd.benchmark.fleet import Fleet

Settings = dict[str, Any]
EVERYWHERE = ("three", "one", "three-tls", "one-tls")
PLAIN = ("three", "one")
KEYS = 100_000
"""Different keys that puts go to, in turn: what a run leaves behind is the same on both sides."""


@dataclass(frozen=True)
class Row:
    """One line. `total` is of the whole run and scaled; `measured` is the section of the report that counts."""

    name: str
    title: str
    command: str
    settings: Settings
    total: int
    clients: int = 1000
    conns: int = 100
    where: str = "all"
    topologies: tuple[str, ...] = EVERYWHERE
    measured: str = ""
    total_name: str = "total"
    prepare: Callable[[Site], None] | None = field(default=None, compare=False)

    @property
    def paced(self) -> bool:
        """Whether the rate is given: then only latencies tell anything."""
        return bool(self.settings.get("put_rate"))

    def run(self, site: Site, scale: float, seconds: float, processes: int) -> dict[str, Any]:
        """Measure it once. Raises LoadFailed."""
        if self.prepare is not None:
            self.prepare(site)
        settings = {**DEFAULTS.get(self.command, {}), **self.settings}
        clients = max(1, round(self.clients * min(1.0, scale * 10))) if self.clients > 1 else 1
        settings[self.total_name] = max(clients, round(self.total * scale))
        plan = site.plan(
            self.command, settings, self.where, clients=clients, conns=min(self.conns, clients), seconds=seconds
        )
        alone = self.command.startswith("watch")
        return site.measure(plan, self.measured, 1 if alone else processes)


DEFAULTS: dict[str, Settings] = {
    "put": {
        "key_size": 8,
        "val_size": 256,
        "key_space_size": KEYS,
        "sequential_keys": True,
        "rate": 0,
        "prefix": "",
        "compact_interval": 0,
    },
    "range": {
        "key": "foo",
        "end_range": "",
        "consistency": "l",
        "limit": 0,
        "count_only": False,
        "keys_only": False,
        "rate": 0,
    },
    "txn-put": {"key_size": 8, "val_size": 256, "txn_ops": 4, "key_space_size": KEYS, "rate": 0},
    "txn-mixed": {
        "key_size": 8,
        "val_size": 256,
        "key_space_size": KEYS,
        "rw_ratio": 4.0,
        "consistency": "l",
        "end_key": "",
        "limit": 0,
        "rate": 0,
    },
    "stm": {
        "isolation": "r",
        "keys": 1000,
        "keys_per_txn": 2,
        "txn_wr_percent": 50,
        "val_size": 256,
        "rate": 0,
        "stm_locker": "stm",
    },
    "watch": {
        "streams": 10,
        "watch_per_stream": 100,
        "watched_key_total": 1,
        "put_rate": 0,
        "key_size": 32,
        "key_space_size": 1,
        "sequential_keys": True,
    },
    "watch-latency": {
        "streams": 10,
        "watchers_per_stream": 10,
        "prevkv": False,
        "key_size": 32,
        "val_size": 256,
    },
}


def _fill(prefix: str, count: int, value: int = 256, key_size: int = 8) -> Callable[[Site], None]:
    """Put `count` keys that begin with `prefix`, before the clock starts."""

    def fill(site: Site) -> None:
        settings = {**DEFAULTS["put"], "prefix": prefix, "key_size": key_size, "val_size": value}
        settings |= {"key_space_size": count, "total": count}
        with Fleet(site.plan("put", settings, clients=min(100, count), conns=10 if count > 10 else 1)) as fleet:
            fleet.run()

    return fill


def _ranges() -> list[Row]:
    rows = []
    for letter, word in (("l", "linearizable"), ("s", "serializable")):
        settings = {"consistency": letter, "key": "foo"}
        fill = _fill("foo", 1, key_size=0)
        rows += [
            Row(f"range-1-{letter}", f"get, 1 client, {word}", "range", settings, 4_000, 1, 1, "leader", prepare=fill),
            Row(f"range-1000-{letter}", f"get, 1000 clients, {word}", "range", settings, 100_000, prepare=fill),
        ]
    return rows


ROWS = [
    Row("put-1", "put, 1 client, leader", "put", {}, 4_000, 1, 1, "leader"),
    Row("put-1000-leader", "put, 1000 clients, leader", "put", {}, 100_000, where="leader"),
    Row("put-1000-all", "put, 1000 clients, all members", "put", {}, 100_000, topologies=("three", "three-tls")),
    *_ranges(),
    Row("txn", "txn of 4 puts, 1000 clients", "txn-put", {}, 40_000, topologies=PLAIN),
    Row("mixed", "4 reads a write in txns, 1000 clients", "txn-mixed", {}, 80_000, measured="read", topologies=PLAIN),
    Row("stm", "stm, 2 of 1000 keys, 100 clients", "stm", {}, 20_000, 100, 10, topologies=PLAIN),
    Row("lease-keepalive", "renewals of 10,000 leases", "lease-keepalive", {}, 60_000, 10_000, topologies=PLAIN),
    Row(
        "watch-fanout", "events, 1 key to 1000 watchers", "watch", {}, 1_000, 1, 10,
        measured="event", total_name="put_total", topologies=("three", "one", "one-tls"),
    ),
    Row(
        "watch-latency", "put to event, 100 puts/s, 100 watchers", "watch-latency", {"put_rate": 100}, 500, 10, 10,
        measured="event", total_name="put_total", topologies=PLAIN,
    ),
    Row(
        "put-watched", "put under 1000 watchers of 1000 keys", "watch",
        {"watched_key_total": 1000, "key_space_size": 1000}, 60_000, 1000, 100,
        measured="put", total_name="put_total", topologies=PLAIN,
    ),
    Row(
        "range-10k", "range of 10,000 keys, 4 clients", "range", {"key": "big/", "end_range": "big0"}, 200, 4, 4,
        prepare=_fill("big/", 10_000), topologies=PLAIN,
    ),
    Row(
        "range-100", "range of 100 keys, 100 clients", "range", {"key": "few/", "end_range": "few0"}, 20_000, 100, 10,
        prepare=_fill("few/", 100), topologies=PLAIN,
    ),
    Row("put-1k", "put of 1 KB, 1000 clients", "put", {"val_size": 1024}, 60_000, topologies=PLAIN),
    Row(
        "put-64k", "put of 64 KB, 50 clients", "put", {"val_size": 65_536, "key_space_size": 200}, 2_000, 50, 10,
        topologies=PLAIN,
    ),
]  # fmt: skip
