"""Generate the Grafana dashboard from the short list of its panels below.

python tools/gen_dashboard.py           write deploy/grafana/quorate.json
python tools/gen_dashboard.py --check   exit 1 if the committed file is not what the list gives

Rows go by what is asked: is the cluster well; RED of the calls (rate, errors, duration); consensus; USE of each
resource (utilisation, saturation, errors): the disk, the store, the process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

TARGET = Path(__file__).resolve().parent.parent / "deploy" / "grafana" / "quorate.json"
WIDTH = 24
HEIGHT = 7

OF = 'cluster="$cluster",instance=~"$instance"'
CALLS = f'{OF},grpc_service=~"etcdserverpb.*"'
RATE = "$__rate_interval"


class Panel(NamedTuple):
    """`queries` are expressions and their legends; `warn` is where the colour changes."""

    title: str
    unit: str
    queries: list[tuple[str, str]]
    about: str = ""
    kind: str = "timeseries"
    warn: float | None = None


def rate(name: str, *by: str, of: str = OF) -> str:
    labels = ", ".join(by or ("instance",))
    return f"sum by ({labels}) (rate({name}{{{of}}}[{RATE}]))"


def quantile(share: float, name: str, *by: str, of: str = OF) -> str:
    labels = ", ".join((*(by or ("instance",)), "le"))
    return f"histogram_quantile({share}, sum by ({labels}) (rate({name}_bucket{{{of}}}[{RATE}])))"


def own(name: str) -> str:
    return f"{name}{{{OF}}}"


def both(name: str) -> list[tuple[str, str]]:
    """The usual and the worst of a histogram."""
    return [(quantile(0.5, name), "{{instance}} p50"), (quantile(0.99, name), "{{instance}} p99")]


EACH = "{{instance}}"
COMMITTED, APPLIED = own("etcd_server_proposals_committed_total"), own("etcd_server_proposals_applied_total")
IN_USE, QUOTA = own("etcd_mvcc_db_total_size_in_use_in_bytes"), own("etcd_server_quota_backend_bytes")
FAILED = rate("grpc_server_handled_total", of=f'{CALLS},grpc_code!="OK"')
ALARMS = own("etcd_debugging_server_alarms")
FIRST = 'scalar(max(etcd_server_proposals_committed_total{cluster="$cluster"}))'

ROWS: list[tuple[str, list[Panel]]] = [
    (
        "Cluster",
        [
            Panel("Members that answer", "short", [(f'sum(up{{{OF},job="etcd"}})', "")], kind="stat"),
            Panel("Members that know a leader", "short", [(f"sum({own('etcd_server_has_leader')})", "")], kind="stat"),
            Panel(
                "Alarms that are on",
                "short",
                [(f"sum(max by (server_id, alarm_type) ({ALARMS}))", "")],
                kind="stat",
                warn=1,
            ),
            Panel(
                "Version",
                "short",
                [(f"count by (server_version) ({own('etcd_server_version')})", "{{server_version}}")],
                kind="stat",
            ),
            Panel("Who leads", "short", [(own("etcd_server_is_leader"), EACH)], "1 for the leader."),
            Panel(
                "Leader changes",
                "short",
                [(f"increase({own('etcd_server_leader_changes_seen_total')}[1h])", EACH)],
                "In the last hour.",
                warn=4,
            ),
            Panel(
                "Health answers",
                "short",
                [
                    (rate("etcd_server_health_success"), f"{EACH} true"),
                    (rate("etcd_server_health_failures"), f"{EACH} false"),
                ],
                "A second.",
            ),
            Panel(
                "Members connected",
                "short",
                [
                    (f"sum by (instance) ({own('etcd_network_active_peers')})", EACH),
                    (
                        f"increase({own('etcd_network_disconnected_peers_total')}[{RATE}])",
                        f"{EACH} lost {{{{Remote}}}}",
                    ),
                ],
            ),
        ],
    ),
    (
        "Calls: rate, errors, duration",
        [
            Panel(
                "Calls",
                "reqps",
                [
                    (
                        rate("grpc_server_started_total", "grpc_method", of=f'{CALLS},grpc_type="unary"'),
                        "{{grpc_method}}",
                    )
                ],
                "Unary calls, by method.",
            ),
            Panel(
                "Calls that fail",
                "reqps",
                [
                    (
                        rate("grpc_server_handled_total", "grpc_method", "grpc_code", of=f'{CALLS},grpc_code!="OK"'),
                        "{{grpc_method}} {{grpc_code}}",
                    )
                ],
            ),
            Panel(
                "Share of calls that fail",
                "percentunit",
                [
                    (
                        f"{FAILED} / {rate('grpc_server_handled_total', of=CALLS)}",
                        EACH,
                    )
                ],
                warn=0.05,
            ),
            Panel(
                "Duration of calls, p99",
                "s",
                [
                    (
                        quantile(0.99, "grpc_server_handling_seconds", "grpc_method", of=f'{CALLS},grpc_type="unary"'),
                        "{{grpc_method}}",
                    )
                ],
                "With --metrics=extensive only.",
            ),
            Panel(
                "Slow requests",
                "short",
                [
                    (rate("etcd_server_slow_apply_total"), f"{EACH} apply"),
                    (rate("etcd_server_slow_read_indexes_total"), f"{EACH} read index"),
                    (rate("etcd_server_read_indexes_failed_total"), f"{EACH} read index failed"),
                ],
                "A second; above --warning-apply-duration.",
            ),
            Panel("Apply duration", "s", [(quantile(0.99, "etcd_server_apply_duration_seconds", "op"), "{{op}} p99")]),
            Panel(
                "Traffic of clients",
                "Bps",
                [
                    (rate("etcd_network_client_grpc_received_bytes_total"), f"{EACH} in"),
                    (rate("etcd_network_client_grpc_sent_bytes_total"), f"{EACH} out"),
                ],
            ),
            Panel(
                "Clients by version of the API",
                "reqps",
                [
                    (
                        rate("etcd_server_client_requests_total", "client_api_version", "type"),
                        "{{client_api_version}} {{type}}",
                    )
                ],
            ),
            Panel(
                "Watchers",
                "short",
                [
                    (own("etcd_debugging_mvcc_watcher_total"), f"{EACH} watchers"),
                    (own("etcd_debugging_mvcc_watch_stream_total"), f"{EACH} streams"),
                    (own("etcd_debugging_mvcc_slow_watcher_total"), f"{EACH} behind"),
                ],
            ),
            Panel(
                "Events",
                "short",
                [
                    (rate("etcd_debugging_mvcc_events_total"), f"{EACH} a second"),
                    (own("etcd_debugging_mvcc_pending_events_total"), f"{EACH} waiting"),
                ],
            ),
            Panel(
                "Broken streams",
                "short",
                [(rate("etcd_network_server_stream_failures_total", "API", "Type"), "{{API}} {{Type}}")],
            ),
        ],
    ),
    (
        "Consensus",
        [
            Panel(
                "Proposals agreed on",
                "ops",
                [
                    (f"rate({own('etcd_server_proposals_committed_total')}[{RATE}])", f"{EACH} committed"),
                    (f"rate({own('etcd_server_proposals_applied_total')}[{RATE}])", f"{EACH} applied"),
                ],
            ),
            Panel(
                "Behind the first member",
                "short",
                [
                    (
                        f"{FIRST} - {COMMITTED}",
                        EACH,
                    )
                ],
                "Entries that others know to be agreed on.",
                warn=10000,
            ),
            Panel(
                "Agreed on, not applied",
                "short",
                [
                    (
                        f"{COMMITTED} - {APPLIED}",
                        EACH,
                    )
                ],
                "From 5000 on writes are refused.",
                warn=1000,
            ),
            Panel(
                "Proposals that wait or fail",
                "short",
                [
                    (own("etcd_server_proposals_pending"), f"{EACH} waiting"),
                    (rate("etcd_server_proposals_failed_total"), f"{EACH} failed a second"),
                ],
            ),
            Panel(
                "Heartbeats that left late",
                "short",
                [(rate("etcd_server_heartbeat_send_failures_total"), EACH)],
                "A second.",
            ),
            Panel(
                "Round trips between members, p99",
                "s",
                [
                    (
                        quantile(0.99, "etcd_network_peer_round_trip_time_seconds", "instance", "To"),
                        f"{EACH} to {{{{To}}}}",
                    )
                ],
                warn=0.15,
            ),
            Panel(
                "Traffic between members",
                "Bps",
                [
                    (rate("etcd_network_peer_sent_bytes_total", "instance", "To"), f"{EACH} to {{{{To}}}}"),
                    (rate("etcd_network_peer_received_bytes_total", "instance", "From"), f"{EACH} from {{{{From}}}}"),
                ],
            ),
            Panel(
                "Messages between members that were lost",
                "short",
                [
                    (rate("etcd_network_peer_sent_failures_total", "instance", "To"), f"{EACH} to {{{{To}}}}"),
                    (
                        rate("etcd_network_peer_received_failures_total", "instance", "From"),
                        f"{EACH} from {{{{From}}}}",
                    ),
                ],
            ),
            Panel(
                "Snapshots between members",
                "short",
                [
                    (f"increase({own('etcd_network_snapshot_send_success')}[{RATE}])", f"{EACH} sent"),
                    (f"increase({own('etcd_network_snapshot_send_failures')}[{RATE}])", f"{EACH} failed"),
                    (own("etcd_network_snapshot_send_inflights_total"), f"{EACH} under way"),
                    (own("etcd_server_snapshot_apply_in_progress_total"), f"{EACH} arriving"),
                ],
            ),
        ],
    ),
    (
        "Disk",
        [
            Panel(
                "Log: sync",
                "s",
                both("etcd_disk_wal_fsync_duration_seconds"),
                "Every write waits for it; below 10 ms is good.",
                warn=0.01,
            ),
            Panel(
                "Log: bytes and syncs",
                "short",
                [
                    (f"rate({own('etcd_disk_wal_write_bytes_total')}[{RATE}])", f"{EACH} B/s"),
                    (rate("etcd_disk_wal_fsync_duration_seconds_count"), f"{EACH} syncs/s"),
                ],
            ),
            Panel("Database: commit", "s", both("etcd_disk_backend_commit_duration_seconds"), warn=0.25),
            Panel(
                "Raft snapshots",
                "s",
                [
                    (quantile(0.99, "etcd_debugging_snap_save_total_duration_seconds"), f"{EACH} whole p99"),
                    (quantile(0.99, "etcd_snap_fsync_duration_seconds"), f"{EACH} record p99"),
                ],
            ),
            Panel(
                "Snapshots received and given",
                "s",
                [
                    (quantile(0.99, "etcd_snap_db_save_total_duration_seconds"), f"{EACH} received p99"),
                    (quantile(0.99, "etcd_disk_backend_snapshot_duration_seconds"), f"{EACH} for clients p99"),
                ],
            ),
            Panel("Defragmentation", "short", [(own("etcd_disk_defrag_inflight"), EACH)]),
        ],
    ),
    (
        "Store",
        [
            Panel(
                "Size",
                "bytes",
                [
                    (own("etcd_mvcc_db_total_size_in_bytes"), f"{EACH} file"),
                    (own("etcd_mvcc_db_total_size_in_use_in_bytes"), f"{EACH} in use"),
                    (f"max({own('etcd_server_quota_backend_bytes')}) > 0", "quota"),
                ],
            ),
            Panel(
                "Share of the quota in use",
                "percentunit",
                [
                    (
                        f"{IN_USE} / ({QUOTA} > 0)",
                        EACH,
                    )
                ],
                warn=0.8,
            ),
            Panel("Keys", "short", [(own("etcd_debugging_mvcc_keys_total"), EACH)]),
            Panel(
                "Operations",
                "ops",
                [(rate(f"etcd_mvcc_{what}_total"), f"{EACH} {what}") for what in ("put", "delete", "range", "txn")],
            ),
            Panel(
                "Revisions",
                "short",
                [
                    (own("etcd_debugging_mvcc_current_revision"), f"{EACH} newest"),
                    (own("etcd_debugging_mvcc_compact_revision"), f"{EACH} compacted"),
                ],
                "Members that differ for long are behind, or hold other data.",
            ),
            Panel(
                "Compaction: bites, p99",
                "ms",
                [
                    (
                        quantile(0.99, "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds"),
                        f"{EACH} index",
                    ),
                    (quantile(0.99, "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds"), f"{EACH} rows"),
                ],
                "Others wait meanwhile.",
            ),
            Panel(
                "Leases",
                "short",
                [
                    (rate(f"etcd_debugging_lease_{what}_total"), f"{EACH} {what}")
                    for what in ("granted", "revoked", "renewed")
                ]
                + [(rate("etcd_debugging_server_lease_expired_total"), f"{EACH} expired")],
                "A second.",
            ),
        ],
    ),
    (
        "Process",
        [
            Panel(
                "Processor",
                "percentunit",
                [(f"rate({own('process_cpu_seconds_total')}[{RATE}])", EACH)],
                "Of one.",
                warn=0.9,
            ),
            Panel("Memory", "bytes", [(own("process_resident_memory_bytes"), EACH)]),
            Panel(
                "Open files", "short", [(own("process_open_fds"), EACH), (f"min({own('process_max_fds')})", "allowed")]
            ),
            Panel(
                "Collections of garbage",
                "short",
                [
                    (
                        rate("python_gc_collections_total", "instance", "generation"),
                        f"{EACH} generation {{{{generation}}}}",
                    )
                ],
                "A second.",
            ),
            Panel("Started", "dateTimeFromNow", [(f"1000 * {own('process_start_time_seconds')}", EACH)], kind="stat"),
        ],
    ),
]


def dashboard() -> dict[str, Any]:
    """The whole of it, as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS:
        panels.append(
            {
                "type": "row",
                "title": title,
                "id": len(panels) + 1,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1},
            }
        )
        top += 1
        left = 0
        for panel in row:
            width, height = (WIDTH // 4, 4) if panel.kind == "stat" else (WIDTH // 3, HEIGHT)
            if left + width > WIDTH or (panels[-1]["gridPos"]["h"] not in (1, height)):
                top, left = top + panels[-1]["gridPos"]["h"], 0
            panels.append(_panel(panel, len(panels) + 1, {"x": left, "y": top, "w": width, "h": height}))
            left += width
        top += panels[-1]["gridPos"]["h"]
    return {
        "title": "Quorate",
        "uid": "quorate",
        "description": "Clusters of Quorate, or of etcd: the names are the same.",
        "tags": ["etcd", "quorate"],
        "schemaVersion": 38,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "panels": panels,
    }


def _variables() -> list[dict[str, Any]]:
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0}
    of = {"type": "query", "datasource": {"type": "prometheus", "uid": "${datasource}"}, "refresh": 2, "sort": 1}
    cluster = "label_values(etcd_server_has_leader, cluster)"
    instance = 'label_values(etcd_server_has_leader{cluster="$cluster"}, instance)'
    return [
        source,
        {**of, "name": "cluster", "label": "Cluster", "query": cluster, "definition": cluster},
        {
            **of,
            "name": "instance",
            "label": "Member",
            "query": instance,
            "definition": instance,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
        },
    ]


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.warn is not None:
        steps.append({"color": "red", "value": panel.warn})
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": place,
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "thresholds": {"mode": "absolute", "steps": steps},
                "custom": {"thresholdsStyle": {"mode": "line" if panel.warn is not None else "off"}},
            },
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if panel.kind != "stat" else {},
        "targets": [
            {"refId": chr(ord("A") + letter), "expr": expr, "legendFormat": legend, "editorMode": "code", "range": True}
            for letter, (expr, legend) in enumerate(panel.queries)
        ],
    }


def stale() -> list[str]:
    """The file, if it is not what the list gives."""
    current = TARGET.read_text() if TARGET.exists() else ""
    return [] if current == _text() else [TARGET.name]


def _text() -> str:
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(f"not current: {', '.join(found)}" if (found := stale()) else 0)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(_text())
