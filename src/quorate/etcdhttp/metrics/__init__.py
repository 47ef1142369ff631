"""What /metrics shows: etcd's names, types, labels and buckets, so that its dashboards and alerts work.

    plain counters of the rooms ──read when asked──► families ──► text ──► Prometheus

Nothing is registered anywhere and nothing is counted twice: a room keeps numbers, this one names them. What etcd shows
and a member does not, and why, is in docs/operations/monitoring.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from quorate.etcdhttp.metrics.calls import call_families
from quorate.etcdhttp.metrics.disk import disk_families
from quorate.etcdhttp.metrics.network import network_families
from quorate.etcdhttp.metrics.process import process_families
from quorate.etcdhttp.metrics.server import ClientCalls, server_families
from quorate.etcdhttp.metrics.store import store_families
from quorate.etcdhttp.metrics.text import CONTENT_TYPE, COUNTER, GAUGE, Family, counter, gauge, render
from quorate.server import Server
from quorate.transport.grpc.tally import MethodTally

__all__ = ["CONTENT_TYPE", "Metrics"]


class Metrics:
    """The page of one member, and what the paths around it count. `tallies` count calls of gRPC by path."""

    def __init__(self, server: Server, tallies: Mapping[str, MethodTally], client_calls: ClientCalls = tuple) -> None:
        self._server = server
        self._tallies = tallies
        self._client_calls = client_calls
        self._scrapes = 0
        self.healthy = self.unhealthy = 0
        """Answers of /health."""
        self.checks: Counter[tuple[str, str, str]] = Counter()
        """Runs of checks by `livez` or `readyz`, name, and `success` or `error`."""
        self.last_checks: dict[tuple[str, str], bool] = {}
        """By the first two: whether the last run went well."""

    def page(self) -> bytes:
        """What there is to see now."""
        page = render(self._families())
        self._scrapes += 1
        return page

    def _families(self) -> Iterator[Family]:
        server = self._server
        yield from server_families(server, self._client_calls)
        yield from disk_families(server)
        yield from store_families(server)
        yield from network_families(server, self._tallies)
        yield from call_families(self._tallies)
        yield from process_families()
        yield from self._health()
        yield from self._own()

    def _health(self) -> Iterator[Family]:
        yield counter("etcd_server_health_success", "How often /health said true.", self.healthy)
        yield counter("etcd_server_health_failures", "How often /health said false.", self.unhealthy)
        last = Family("etcd_server_healthcheck", GAUGE, "1 for a check that went well last time.", ("name", "type"))
        for (kind, name), well in self.last_checks.items():
            last.add(int(well), name, kind)
        runs = Family("etcd_server_healthchecks_total", COUNTER, "Runs of checks.", ("name", "status", "type"))
        for (kind, name, status), count in self.checks.items():
            runs.add(count, name, status, kind)
        yield from (last, runs)

    def _own(self) -> Iterator[Family]:
        scrapes = Family(
            "promhttp_metric_handler_requests_total", COUNTER, "Pages of metrics that were answered.", ("code",)
        )
        for code, count in (("200", self._scrapes), ("500", 0), ("503", 0)):
            scrapes.add(count, code)
        yield scrapes
        yield gauge("promhttp_metric_handler_requests_in_flight", "Pages of metrics that are made now.", 1)
