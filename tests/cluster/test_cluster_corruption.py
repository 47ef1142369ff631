"""A member whose database was changed behind its back is found out: at its start, or after the next compaction."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from quorate.api.pb import rpc_pb2 as rpc
from quorate.storage import schema
from quorate.storage.backend import Backend
from quorate.testing.cluster import Cluster, wait_for
from quorate.testing.process import Command, StartFailed

Start = Callable[..., Cluster]

FLAGS = ("--heartbeat-interval=100", "--election-timeout=500")
SECONDS = 20.0


def fill(cluster: Cluster) -> None:
    for number in range(10):
        cluster.ask_any(rpc.PutRequest(key=b"k%d" % number, value=b"value"))


def tamper(cluster: Cluster, number: int) -> None:
    """Change one byte of one value in the database of a member that is down."""
    backend = Backend.open(cluster.members[number].data_dir / "member" / "snap" / "db", schema.BUCKETS)
    place, row = next(iter(backend.scan(schema.KEY)))
    assert b"value" in row
    backend.put(schema.KEY, place, row.replace(b"value", b"valve"))
    backend.close()


def corrupt(cluster: Cluster) -> list[int]:
    return [alarm.memberID for alarm in cluster.ask_any(rpc.AlarmRequest()).alarms if alarm.alarm == rpc.CORRUPT]


def test_a_member_with_other_data_does_not_start(start_cluster: Start, subject: Command) -> None:
    cluster = start_cluster([subject] * 3, flags=[*FLAGS, "--experimental-initial-corrupt-check=true"])
    fill(cluster)
    victim = cluster.followers()[0]
    cluster.stop(victim)
    cluster.restart(victim)  # as it was, it may
    cluster.wait_healthy()
    cluster.stop(victim)
    tamper(cluster, victim)
    with pytest.raises(StartFailed, match="found data inconsistency with peers"):
        cluster.restart(victim)
    assert cluster.members[victim].exit_status() not in (None, 0)


@pytest.mark.parametrize("leads", [False, True])
def test_the_next_compaction_finds_the_member_with_other_data(
    start_cluster: Start, subject: Command, leads: bool
) -> None:
    cluster = start_cluster([subject] * 3, flags=[*FLAGS, "--experimental-compact-hash-check-time=500ms"])
    fill(cluster)
    victim = cluster.followers()[0]
    cluster.stop(victim)
    tamper(cluster, victim)
    cluster.restart(victim)
    cluster.wait_healthy()
    if leads:
        cluster.move_leader(victim)
    victim_id = cluster.member_id(victim)
    cluster.ask_any(rpc.CompactionRequest(revision=5, physical=True))
    assert wait_for(lambda: corrupt(cluster), SECONDS, "nobody finds out") == [victim_id]


def test_members_that_agree_raise_no_alarm(start_cluster: Start, subject: Command) -> None:
    times = ["--experimental-compact-hash-check-time=200ms", "--experimental-corrupt-check-time=200ms"]
    cluster = start_cluster([subject] * 3, flags=[*FLAGS, *times])
    for number in range(200):
        cluster.ask_any(rpc.PutRequest(key=b"k%d" % (number % 10), value=b"%d" % number))
        if number % 50 == 49:
            cluster.ask_any(rpc.CompactionRequest(revision=number - 10))
    lines = ("finished peer corruption check", "successfully checked hash on whole cluster")

    def checked() -> bool:
        log = "".join(member.log() for member in cluster.members)
        return all(line in log for line in lines)

    wait_for(checked, SECONDS, "no check")
    assert corrupt(cluster) == []
