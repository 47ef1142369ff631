"""The disk: the log, the database file, snapshots. etcd_disk_*, etcd_snap_*."""

from __future__ import annotations

from collections.abc import Iterator

from quorate.etcdhttp.metrics.text import Family, gauge, histogram
from quorate.server import Server


def disk_families(server: Server) -> Iterator[Family]:
    """How long it takes, and how much goes there."""
    yield gauge("etcd_disk_wal_write_bytes_total", "Bytes written to the log.", server.log_times.bytes_written)
    yield gauge(
        "etcd_disk_defrag_inflight", "1 while the database is defragmented.", int(server.defragmenter.is_running)
    )
    backend = server.backend
    for name, text, seconds in (
        ("etcd_disk_wal_fsync_duration_seconds", "Seconds until entries were durable.", server.log_times.syncs),
        ("etcd_disk_wal_write_duration_seconds", "Seconds of writing to the log.", server.log_times.writes),
        ("etcd_disk_backend_commit_duration_seconds", "Seconds of a batch of the database.", backend.commit_seconds),
        (
            "etcd_debugging_disk_backend_commit_write_duration_seconds",
            "Seconds of those in which pages went to the disk.",
            backend.sync_seconds,
        ),
        ("etcd_disk_backend_defrag_duration_seconds", "Seconds of a defragmentation.", server.defragmenter.seconds),
        ("etcd_disk_backend_snapshot_duration_seconds", "Seconds of a snapshot for a client.", server.backups.seconds),
        (
            "etcd_snap_db_save_total_duration_seconds",
            "Seconds until a snapshot of the leader was kept.",
            server.snapshots.received_seconds,
        ),
        (
            "etcd_snap_fsync_duration_seconds",
            "Seconds until the record of a raft snapshot was durable.",
            server.logs.record_seconds,
        ),
        (
            "etcd_debugging_snap_save_total_duration_seconds",
            "Seconds of a raft snapshot, from its trigger to its record.",
            server.logs.save_seconds,
        ),
    ):
        yield histogram(name, text, seconds)
