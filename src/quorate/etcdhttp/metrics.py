"""What /metrics shows: etcd's names and types, so that its dashboards work, read from the server when asked."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from quorate.server import Server
from quorate.version import ETCD_VERSION


class ServerCollector(Collector):
    """The numbers of one member."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def collect(self) -> Iterator[Metric]:
        server = self._server
        version = GaugeMetricFamily(
            "etcd_server_version", "Version this member reports, always 1.", None, ["server_version"]
        )
        version.add_metric([ETCD_VERSION], 1)
        yield version
        yield from (GaugeMetricFamily(name, text, value) for name, text, value in _gauges(server))
        yield from (CounterMetricFamily(name, text, value) for name, text, value in _counters(server))


def _gauges(server: Server) -> list[tuple[str, str, float]]:
    return [
        ("etcd_server_has_leader", "1 if this member knows a leader.", bool(server.leader_id)),
        ("etcd_server_is_leader", "1 if this member leads.", server.is_leader),
        ("etcd_server_proposals_pending", "Proposals that wait for their result.", len(server.proposals)),
        ("etcd_server_proposals_committed_total", "Raft index committed.", server.committed_index),
        ("etcd_server_proposals_applied_total", "Raft index applied.", server.applied_index),
        ("etcd_server_quota_backend_bytes", "Space quota in bytes.", server.quota.limit),
        ("etcd_mvcc_db_total_size_in_bytes", "Bytes of the database file.", server.backend.size()),
        ("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes of it in use.", server.backend.size_in_use()),
        ("etcd_debugging_mvcc_current_revision", "Newest revision.", server.store.revision),
        ("etcd_debugging_mvcc_compact_revision", "Last compacted revision.", server.store.compacted_revision),
    ]


def _counters(server: Server) -> list[tuple[str, str, float]]:
    return [
        ("etcd_server_leader_changes_seen", "Leader changes this member has seen.", server.leadership.changes),
    ]


def render_metrics(server: Server) -> tuple[bytes, str]:
    """Prometheus text and its content type."""
    registry = CollectorRegistry()
    registry.register(ServerCollector(server))
    ProcessCollector(registry=registry)
    return generate_latest(registry), CONTENT_TYPE_LATEST
