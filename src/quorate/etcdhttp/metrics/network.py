"""Wires to clients and to the other members: etcd_network_*.

All numbers are there from the start, as 0, though etcd shows some only once they are not: an alert on their growth
would miss the first failure of each kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from quorate.api.errors import Code
from quorate.etcdhttp.metrics.text import COUNTER, GAUGE, HISTOGRAM, Family, counter
from quorate.pkg.histogram import Histogram
from quorate.rafthttp.link import Counters
from quorate.server import Server
from quorate.transport.grpc.tally import MethodTally

STREAMS = (("watch", "/etcdserverpb.Watch/Watch"), ("lease-keepalive", "/etcdserverpb.Lease/LeaseKeepAlive"))
BROKEN = (Code.INTERNAL, Code.RESOURCE_EXHAUSTED)
"""How a stream ends on which came what is no message."""


def network_families(server: Server, tallies: Mapping[str, MethodTally]) -> Iterator[Family]:
    """Bytes, failures, and who is connected."""
    yield counter(
        "etcd_network_client_grpc_received_bytes_total",
        "Bytes of messages from clients.",
        sum(tally.received_bytes for tally in tallies.values()),
    )
    yield counter(
        "etcd_network_client_grpc_sent_bytes_total",
        "Bytes of messages to clients.",
        sum(tally.sent_bytes for tally in tallies.values()),
    )
    failures = Family(
        "etcd_network_server_stream_failures_total", COUNTER, "Streams of clients that broke.", ("API", "Type")
    )
    for api, path in STREAMS:
        tally = tallies.get(path)
        if tally is not None:
            failures.add(sum(tally.handled(code) for code in BROKEN), api, "receive")
    yield failures
    yield from _peers(server)
    yield from _wires(server)


def _peers(server: Server) -> Iterator[Family]:
    """Who there is, and who of them is connected."""
    own, labels = f"{server.member_id:x}", ("Local", "Remote")
    active = Family("etcd_network_active_peers", GAUGE, "1 for a member that is connected.", labels)
    lost = Family("etcd_network_disconnected_peers_total", COUNTER, "How often a member was lost.", labels)
    for peer in server.transport.peers():
        active.add(int(server.transport.active_since(peer) is not None), own, f"{peer:x}")
        counters = server.transport.counters(peer)
        if counters is not None:
            lost.add(counters.disconnects, own, f"{peer:x}")
    known = Family("etcd_network_known_peers", GAUGE, "1 for a member of the cluster.", labels)
    for member in server.cluster.members():
        known.add(1, own, f"{member.id:x}")
    for removed in server.cluster.removed():
        known.add(0, own, f"{removed:x}")
    yield from (active, lost, known)


def _wires(server: Server) -> Iterator[Family]:
    """What was counted on the wires to each member."""
    sent = _Table("To", "etcd_network_peer_sent_bytes_total", "etcd_network_peer_sent_failures_total")
    received = _Table("From", "etcd_network_peer_received_bytes_total", "etcd_network_peer_received_failures_total")
    trips = Family("etcd_network_peer_round_trip_time_seconds", HISTOGRAM, "Seconds of a probe.", ("To",))
    leaving, arriving = _Snapshots("To", "send"), _Snapshots("From", "receive")
    for peer in server.transport.peers():
        counters = server.transport.counters(peer)
        if counters is not None:
            name = f"{peer:x}"
            sent.add(name, counters.sent_bytes, counters.sent_failures)
            received.add(name, counters.received_bytes, counters.received_failures)
            trips.add(counters.round_trips, name)
            leaving.add(name, counters)
            arriving.add(name, counters)
    yield from (*sent.families, *received.families, trips, *leaving.families, *arriving.families)


class _Table:
    """Bytes and failures in one direction."""

    def __init__(self, label: str, bytes_name: str, failures_name: str) -> None:
        self.families = (
            Family(bytes_name, COUNTER, "Bytes between members.", (label,)),
            Family(failures_name, COUNTER, "Messages between members that were lost.", (label,)),
        )

    def add(self, peer: str, size: int, failures: int) -> None:
        for family, number in zip(self.families, (size, failures), strict=True):
            family.add(number, peer)


class _Snapshots:
    """Snapshots in one direction."""

    def __init__(self, label: str, verb: str) -> None:
        prefix, self._leaving = f"etcd_network_snapshot_{verb}", verb == "send"
        self.families = (
            Family(f"{prefix}_success", COUNTER, "Snapshots that arrived.", (label,)),
            Family(f"{prefix}_failures", COUNTER, "Snapshots that did not.", (label,)),
            Family(f"{prefix}_total_duration_seconds", HISTOGRAM, "Seconds of those that arrived.", (label,)),
            Family(f"{prefix}_inflights_total", GAUGE, "Snapshots under way.", (label,)),
        )

    def add(self, peer: str, counters: Counters) -> None:
        numbers: tuple[int | Histogram, ...]
        if self._leaving:
            numbers = (
                counters.snapshots_sent,
                counters.snapshots_failed,
                counters.snapshot_send_seconds,
                counters.snapshots_leaving,
            )
        else:
            numbers = (
                counters.snapshots_received,
                counters.snapshots_not_received,
                counters.snapshot_receive_seconds,
                counters.snapshots_arriving,
            )
        for place, family in enumerate(self.families):
            family.add(numbers[place], peer)
