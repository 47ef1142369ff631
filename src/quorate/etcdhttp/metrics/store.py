"""Keys, watchers, leases, users and alarms: etcd_mvcc_*, etcd_debugging_*."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.api.pb import rpc_pb2
from quorate.apply import alarm_name
from quorate.etcdhttp.metrics.text import GAUGE, Family, counter, gauge, histogram
from quorate.server import Server

KINDS = (rpc_pb2.NOSPACE, rpc_pb2.CORRUPT)


def store_families(server: Server) -> Iterator[Family]:
    """What is kept, what was done to it, and who is told."""
    yield from _keys(server)
    yield from _compactions(server)
    yield from _watchers(server)
    yield from _leases(server)
    yield gauge("etcd_debugging_auth_revision", "Revision of the table of users and roles.", server.auth.revision)
    yield _alarms(server)


def _alarms(server: Server) -> Family:
    """Those of the members that are off are there as well; so is one that is nobody's, while it is on."""
    alarms = Family("etcd_debugging_server_alarms", GAUGE, "1 for an alarm that is on.", ("alarm_type", "server_id"))
    active = server.alarms.active()
    quiet = {(member.id, kind) for member in server.cluster.members() for kind in KINDS}
    for member_id, kind in sorted(quiet.union(active)):
        alarms.add(int((member_id, kind) in active), alarm_name(kind), f"{member_id:x}")
    return alarms


def _keys(server: Server) -> Iterator[Family]:
    store, backend, counts = server.store, server.backend, server.store.counts
    yield counter("etcd_mvcc_put_total", "Puts of this member.", counts.puts)
    yield counter("etcd_mvcc_delete_total", "Deletions of keys or ranges by this member.", counts.delete_ranges)
    yield counter("etcd_mvcc_range_total", "Reads of keys or ranges by this member.", counts.ranges)
    yield counter("etcd_debugging_mvcc_range_total", "The same as etcd_mvcc_range_total.", counts.ranges)
    yield counter("etcd_mvcc_txn_total", "Transactions of more than one of these.", counts.txns)
    yield gauge("etcd_debugging_mvcc_total_put_size_in_bytes", "Bytes of all keys and values put.", counts.put_bytes)
    yield gauge("etcd_debugging_mvcc_keys_total", "Keys there are.", len(store.index))
    yield gauge("etcd_debugging_mvcc_current_revision", "Newest revision.", store.revision)
    yield gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes of the database file.", backend.size())
    yield gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes of it in use.", backend.size_in_use())
    yield gauge(
        "etcd_mvcc_db_open_read_transactions",
        "Reads of the file, and views of it, that are open.",
        1 + backend.open_views,
    )
    yield histogram("etcd_mvcc_hash_duration_seconds", "Seconds of a hash of the whole database.", server.hash_seconds)
    yield histogram("etcd_mvcc_hash_rev_duration_seconds", "Seconds of a hash of a revision.", server.hash_kv_seconds)


def _compactions(server: Server) -> Iterator[Family]:
    prefix, compactions = "etcd_debugging_mvcc_", server.compactions
    yield gauge(f"{prefix}compact_revision", "Last compacted revision.", server.store.compacted_revision)
    yield gauge(f"{prefix}db_compaction_last", "When the last compaction ended.", compactions.finished_at)
    yield counter(
        f"{prefix}db_compaction_keys_total", "Rows that compactions removed.", server.store.counts.compacted_rows
    )
    for name, text, milliseconds in (
        ("index_compaction_pause", "Milliseconds of a bite of the index.", compactions.index_bites),
        ("db_compaction_pause", "Milliseconds of a bite of the rows.", compactions.row_bites),
        ("db_compaction_total", "Milliseconds of a whole compaction.", compactions.totals),
    ):
        yield histogram(f"{prefix}{name}_duration_milliseconds", text, milliseconds)


def _watchers(server: Server) -> Iterator[Family]:
    prefix, store = "etcd_debugging_mvcc_", server.store
    yield gauge(f"{prefix}watch_stream_total", "Open watch streams.", store.stream_count)
    yield gauge(f"{prefix}watcher_total", "Watchers.", store.watcher_count)
    yield gauge(f"{prefix}slow_watcher_total", "Watchers that are behind.", store.slow_watcher_count)
    yield counter(f"{prefix}events_total", "Events delivered to watchers.", store.events_total)
    yield gauge(f"{prefix}pending_events_total", "Events that wait for a slow watcher.", store.parked_events)


def _leases(server: Server) -> Iterator[Family]:
    lessor = server.lessor
    yield counter("etcd_debugging_lease_granted_total", "Leases granted.", lessor.granted)
    yield counter("etcd_debugging_lease_revoked_total", "Leases revoked or expired.", lessor.revoked)
    yield counter("etcd_debugging_lease_renewed_total", "Renewals by this leader.", lessor.renewed)
    yield histogram("etcd_debugging_lease_ttl_total", "Seconds that leases were granted for.", lessor.ttls)
    yield counter(
        "etcd_debugging_server_lease_expired_total", "Leases whose end this leader proposed.", server.leases.expired
    )
