"""The dashboard and the alerts ask for what a cluster shows, and for every indicator that an operator is promised."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import ModuleType

import pytest

from quorate.embed import start_cluster

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "quorate.json"

_METRIC = re.compile(r"\b(?:etcd|grpc|process|python|os|promhttp)_\w+|\bup\b")
_CHOSEN = re.compile(r"(\w+)\{([^}]*)\}")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_BY = re.compile(r"\bby \(([^)]*)\)\s*\((?:rate|increase|up|etcd)?\(?(\w+)")
LABELS = re.compile(r"grpc_(?:type|service|method|code)$")
SCRAPED = {"job", "instance", "cluster"}
"""Labels that the scrape adds, not the member."""

INDICATORS = {
    "instance health": ["up", "etcd_server_health_success", "etcd_server_health_failures"],
    "leader state": ["etcd_server_has_leader", "etcd_server_is_leader"],
    "leader changes": ["etcd_server_leader_changes_seen_total"],
    "heartbeats": ["etcd_server_heartbeat_send_failures_total", "etcd_network_peer_round_trip_time_seconds"],
    "QPS": ["grpc_server_started_total"],
    "error rate": ["grpc_server_handled_total"],
    "latency": ["grpc_server_handling_seconds"],
    "WAL and database sync": [
        "etcd_disk_wal_fsync_duration_seconds",
        "etcd_disk_backend_commit_duration_seconds",
    ],
    "sync lag": [
        "etcd_server_proposals_committed_total",
        "etcd_server_proposals_applied_total",
        "etcd_server_proposals_pending",
    ],
    "failed proposals": ["etcd_server_proposals_failed_total"],
    "snapshots": [
        "etcd_debugging_snap_save_total_duration_seconds",
        "etcd_snap_db_save_total_duration_seconds",
        "etcd_snap_fsync_duration_seconds",
    ],
    "watchers and clients": [
        "etcd_debugging_mvcc_watcher_total",
        "etcd_debugging_mvcc_watch_stream_total",
        "etcd_network_active_peers",
    ],
    "CPU": ["process_cpu_seconds_total"],
    "memory": ["process_resident_memory_bytes"],
    "open files": ["process_open_fds", "process_max_fds"],
    "space": [
        "etcd_mvcc_db_total_size_in_bytes",
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "etcd_server_quota_backend_bytes",
    ],
    "consistency and objects": [
        "etcd_debugging_mvcc_current_revision",
        "etcd_mvcc_put_total",
        "etcd_mvcc_delete_total",
        "etcd_debugging_mvcc_keys_total",
    ],
}
ALERTED = {
    "up",
    "etcd_server_has_leader",
    "etcd_server_leader_changes_seen_total",
    "etcd_server_heartbeat_send_failures_total",
    "grpc_server_handled_total",
    "grpc_server_handling_seconds",
    "etcd_disk_wal_fsync_duration_seconds",
    "etcd_disk_backend_commit_duration_seconds",
    "etcd_server_proposals_applied_total",
    "etcd_server_proposals_failed_total",
    "etcd_debugging_snap_save_total_duration_seconds",
    "etcd_debugging_mvcc_slow_watcher_total",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "etcd_debugging_server_alarms",
}


def expressions() -> dict[str, str]:
    """What is asked for, by where."""
    found = {}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            found[f"dashboard: {panel['title']} {target['refId']}"] = target["expr"]
    for rule in re.split(r"^ +- alert: ", (PROMETHEUS / "alerts.yml").read_text(), flags=re.MULTILINE)[1:]:
        name, _, rest = rule.partition("\n")
        asked = re.search(r"expr: (.*?)\n +(?:for|labels):", rest, re.DOTALL)
        assert asked is not None, name
        found[f"alert: {name}"] = asked[1]
    return found


EXPRESSIONS = expressions()


@pytest.fixture(scope="module")
def shown() -> dict[str, set[str]]:
    """Labels by name of every family that a cluster of three shows, once somebody has called it."""
    with start_cluster(3, in_memory=True, metrics="extensive") as cluster:
        with cluster[0].client() as client:
            client.put(b"k", b"v")
        families: dict[str, set[str]] = {"up": set()}
        for url in cluster.client_urls:
            with urllib.request.urlopen(f"{url}/metrics", timeout=10) as page:
                for line in page.read().decode().splitlines():
                    name, _, labels = line.rpartition(" ")[0].partition("{")
                    if not line.startswith("#"):
                        families.setdefault(name, set()).update(_LABEL.findall(labels))
    return families


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_what_is_asked_for_is_shown_with_those_labels(where: str, shown: dict[str, set[str]]) -> None:
    expression = EXPRESSIONS[where]
    names = {name for name in _METRIC.findall(expression) if not LABELS.match(name)}
    assert names, expression
    assert names <= shown.keys()
    for name, chosen in _CHOSEN.findall(expression):
        assert set(_LABEL.findall(chosen)) <= shown[name] | SCRAPED, f"{name}{{{chosen}}}"
    known = set().union(*(shown[name] for name in names)) | SCRAPED
    for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        assert {label.strip() for label in labels.split(",")} <= known, labels


def asked(start: str) -> set[str]:
    """Families that are asked for, histograms by their own name."""
    names = (_METRIC.findall(text) for where, text in EXPRESSIONS.items() if where.startswith(start))
    return {re.sub(r"_(?:bucket|sum|count)$", "", name) for found in names for name in found}


@pytest.mark.parametrize("indicator", INDICATORS)
def test_the_dashboard_shows_every_indicator(indicator: str) -> None:
    assert set(INDICATORS[indicator]) <= asked("dashboard")


def test_there_is_an_alert_for_what_an_operator_must_not_miss() -> None:
    assert asked("alert") >= ALERTED


def test_the_dashboard_is_what_its_list_gives() -> None:
    assert _tool("gen_dashboard").stale() == []


def _tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_panels_do_not_cover_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", "alerts.yml"), ("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")],
)
def test_prometheus_takes_the_rules_and_they_fire_when_they_should(arguments: tuple[str, ...]) -> None:
    run = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
