"""What a member is and does in its cluster: etcd_server_*."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from quorate.etcdhttp.metrics.text import COUNTER, GAUGE, HISTOGRAM, Family, counter, gauge
from quorate.server import Server

ClientCalls = Callable[[], Iterable[tuple[str, str, int]]]
"""Version of the API, `unary` or `stream`, calls."""


def server_families(server: Server, client_calls: ClientCalls) -> Iterator[Family]:
    """Where it stands, and what has gone wrong."""
    yield from _labelled(server, client_calls)
    own = server.cluster.member(server.member_id)
    learner = own is not None and own.is_learner
    yield gauge("etcd_server_has_leader", "1 if this member knows a leader.", int(bool(server.leader_id)))
    yield gauge("etcd_server_is_leader", "1 if this member leads.", int(server.is_leader))
    yield gauge("etcd_server_is_learner", "1 if this member is a learner.", int(learner))
    yield gauge("etcd_server_proposals_pending", "Proposals that wait for their result.", server.proposals.pending)
    yield gauge("etcd_server_proposals_committed_total", "Raft index that is committed.", server.committed_index)
    yield gauge("etcd_server_proposals_applied_total", "Raft index that is applied.", server.applied_index)
    yield gauge("etcd_server_quota_backend_bytes", "Space quota in bytes.", server.quota.limit)
    yield gauge(
        "etcd_server_snapshot_apply_in_progress_total",
        "1 while a snapshot of the leader is made ready to replace what is applied.",
        int(server.snapshots.is_arriving),
    )
    for name, text, number in (
        ("leader_changes_seen_total", "Leader changes this member has seen.", server.leadership.changes),
        ("heartbeat_send_failures_total", "Heartbeats that left much too late.", server.heartbeats.late),
        ("proposals_failed_total", "Proposals that were given up.", server.proposals.failed),
        ("slow_apply_total", "Entries and reads that took longer than they should.", server.slow.applies),
        ("slow_read_indexes_total", "Rounds of linearizable reads that took too long.", server.slow.rounds),
        ("read_indexes_failed_total", "Rounds of linearizable reads that failed.", server.reads.failed),
        ("learner_promote_successes", "Learners promoted by this leader.", server.members.promoted),
    ):
        yield counter(f"etcd_server_{name}", text, number)


def _labelled(server: Server, client_calls: ClientCalls) -> Iterator[Family]:
    for name, label, value, text in (
        ("etcd_server_id", "server_id", f"{server.member_id:x}", "ID of this member, always 1."),
        ("etcd_server_version", "server_version", server.config.release, "Release this member reports, always 1."),
        ("etcd_cluster_version", "cluster_version", _minor(server.cluster.version), "What all agree on, always 1."),
    ):
        if value:
            yield Family(name, GAUGE, text, (label,), [((value,), 1)])
    refused = Family("etcd_server_learner_promote_failures", COUNTER, "Promotions that failed, by reason.", ("Reason",))
    for reason, count in server.members.promotions_refused.items():
        refused.add(count, reason)
    yield refused
    calls = Family(
        "etcd_server_client_requests_total",
        COUNTER,
        "Calls, by the version of the API that the caller speaks.",
        ("client_api_version", "type"),
    )
    for version, kind, count in client_calls():
        calls.add(count, version, kind)
    yield calls
    applied = Family(
        "etcd_server_apply_duration_seconds",
        HISTOGRAM,
        "Seconds that entries took to be applied.",
        ("op", "success", "version"),
    )
    for kind, succeeded, seconds in server.state.apply_times.all():
        applied.add(seconds, _operation(kind), "true" if succeeded else "false", "v3")
    yield applied


def _operation(kind: str) -> str:
    """`lease_grant` as LeaseGrant."""
    return "".join(word.capitalize() for word in kind.split("_"))


def _minor(version: str | None) -> str:
    """The first two parts of a version; empty for none."""
    return ".".join((version or "").split(".")[:2])
