"""What /metrics shows: etcd's names and types, so that its dashboards work, read from the server when asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from quorate.api.errors import Code
from quorate.pkg.histogram import Histogram
from quorate.server import Server
from quorate.transport.grpc.tally import MethodTally
from quorate.version import ETCD_VERSION

CODE_WORDS = {
    code: "OK" if code is Code.OK else "Canceled" if code is Code.CANCELLED else code.name.title().replace("_", "")
    for code in Code
}
"""Status codes as Go writes them."""


class ServerCollector(Collector):
    """The numbers of one member."""

    def __init__(self, server: Server, tallies: Mapping[str, MethodTally]) -> None:
        self._server = server
        self._tallies = tallies

    def collect(self) -> Iterator[Metric]:
        server = self._server
        version = GaugeMetricFamily(
            "etcd_server_version", "Version this member reports, always 1.", None, ["server_version"]
        )
        version.add_metric([ETCD_VERSION], 1)
        yield version
        yield from (GaugeMetricFamily(name, text, value) for name, text, value in _gauges(server))
        yield from (CounterMetricFamily(name, text, value) for name, text, value in _counters(server))
        yield from (_histogram(name, text, values) for name, text, values in _histograms(server))
        yield from _calls(self._tallies)


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
        ("etcd_disk_defrag_inflight", "1 while the database is defragmented.", server.defragmenter.is_running),
        ("etcd_debugging_auth_revision", "Revision of the table of users and roles.", server.auth.revision),
        ("etcd_debugging_mvcc_current_revision", "Newest revision.", server.store.revision),
        ("etcd_debugging_mvcc_compact_revision", "Last compacted revision.", server.store.compacted_revision),
    ]


def _counters(server: Server) -> list[tuple[str, str, float]]:
    return [
        ("etcd_server_leader_changes_seen", "Leader changes this member has seen.", server.leadership.changes),
        ("etcd_server_slow_apply", "Entries and reads that took longer than they should.", server.slow.applies),
        ("etcd_server_slow_read_indexes", "Rounds of linearizable reads that did.", server.slow.rounds),
    ]


def _histograms(server: Server) -> list[tuple[str, str, Histogram]]:
    return [
        ("etcd_disk_backend_defrag_duration_seconds", "Seconds of a defragmentation.", server.defragmenter.seconds),
    ]


def _histogram(name: str, text: str, values: Histogram) -> HistogramMetricFamily:
    buckets = [(bound, float(count)) for bound, count in values.buckets()]
    return HistogramMetricFamily(name, text, buckets, values.sum)


def _calls(tallies: Mapping[str, MethodTally]) -> list[CounterMetricFamily]:
    """Counts of gRPC calls, of every method from the start."""
    labels = ["grpc_type", "grpc_service", "grpc_method"]
    started = CounterMetricFamily("grpc_server_started", "Calls begun.", None, labels)
    handled = CounterMetricFamily("grpc_server_handled", "Calls ended, by their status.", None, [*labels, "grpc_code"])
    received = CounterMetricFamily("grpc_server_msg_received", "Messages received.", None, labels)
    sent = CounterMetricFamily("grpc_server_msg_sent", "Messages sent.", None, labels)
    for path, tally in tallies.items():
        service, _, method = path.removeprefix("/").rpartition("/")
        names = [tally.kind, service, method]
        started.add_metric(names, tally.started)
        received.add_metric(names, tally.received)
        sent.add_metric(names, tally.messages_sent)
        for code, word in CODE_WORDS.items():
            handled.add_metric([*names, word], tally.handled(code))
    return [started, handled, received, sent]


def render_metrics(server: Server, tallies: Mapping[str, MethodTally]) -> tuple[bytes, str]:
    """Prometheus text and its content type; `tallies` counts the calls of gRPC by path."""
    registry = CollectorRegistry()
    registry.register(ServerCollector(server, tallies))
    ProcessCollector(registry=registry)
    return generate_latest(registry), CONTENT_TYPE_LATEST
