"""The last questions to a cluster that has been through faults: do all members tell the same story, and a true one?"""

from __future__ import annotations

from collections.abc import Mapping

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.cluster import PATIENCE, Cluster, wait_for
from quorate.testing.guarantees import check_told
from quorate.testing.history import check, check_watch
from quorate.testing.story import Event, Story
from quorate.testing.watching import WATCH
from quorate.testing.workload import LEASE_SECONDS, SHORT_LEASE_SECONDS, Workload
from quorate.transport.grpc import Channel

EXPIRY_SECONDS = LEASE_SECONDS + SHORT_LEASE_SECONDS + 10.0
SHOWN = 10
FATAL = ("Traceback (most recent", "panic:", '"level":"fatal"', '"level":"panic"', "member cannot go on")
LINE = 400


def judge(cluster: Cluster, workload: Workload, *, expire: bool = True) -> list[str]:
    """All problems found; the cluster must be healthy and the workload stopped.

    With `expire`, waits until the leases that nobody renews are gone, and with them their keys.
    """
    cluster.wait_healthy()
    problems = list(workload.unexpected)
    problems += [keeper.lost for keeper in workload.keepers if keeper.lost]
    problems += _check_logs(cluster)
    if expire:
        problems += _check_expiry(cluster)
    revision = cluster.wait_level()
    stories = {number: story_of(cluster, number, revision) for number in cluster.running()}
    problems += compare_stories(workload, stories)
    hashes = cluster.hashes(revision)
    if len(set(hashes.values())) > 1:
        problems.append(f"hashes differ at revision {revision}: {hashes}")
    return shortened(problems)


def shortened(problems: list[str]) -> list[str]:
    """The first of many."""
    return problems[:SHOWN] + ([f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else [])


def compare_stories(workload: Workload, stories: Mapping[int, tuple[int, list[Event]]]) -> list[str]:
    """What members tell, by number and as `read_story` has it, against each other, all answers and all watches."""
    problems = []
    events = _whole_story(workload, *next(iter(stories.values())))
    for number, (start, story) in stories.items():
        problems += [f"member {number} differs: {problem}" for problem in check_watch(story, events, start)]
    problems += check(workload.operations, events, workload.compactions)
    for watcher in workload.watchers:
        told = watcher.events[-1][0] if watcher.events else 0
        known = [event for event in events if event[0] <= told]
        problems += [f"watch of member {watcher.member}: {p}" for p in check_watch(watcher.events, known, 1)]
    whole = Story(events)
    for client in workload.watch_clients:
        problems += client.problems
        for watch in client.watches:
            problems += check_told(watch, whole, workload.compactions)
    return problems


def _whole_story(workload: Workload, start: int, rest: list[Event]) -> list[Event]:
    """What a member still tells, from `start` on, behind what a watch was told of the compacted time before."""
    told = max((watcher.events for watcher in workload.watchers), key=lambda events: events[-1:])
    return [event for event in told if event[0] < start] + rest


def story_of(cluster: Cluster, number: int, revision: int) -> tuple[int, list[Event]]:
    """`read_story` of a member."""
    return cluster.background.run(read_story(cluster.members[number].channel, revision), PATIENCE + 5.0)


async def read_story(channel: Channel, revision: int, start: int = 1) -> tuple[int, list[Event]]:
    """Every event that a member still holds, up to `revision`, and the first revision that it holds the events of: what
    was compacted to is the first, for a watch may begin there."""
    if revision <= 1:
        return 1, []
    events: list[Event] = []
    stream = channel.stream(WATCH, timeout=PATIENCE)
    create = pb.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=start)
    stream.send(pb.WatchRequest(create_request=create).SerializeToString())
    while start <= revision and (not events or events[-1][0] < revision):
        message = await stream.receive()
        assert message is not None, f"the watch ended before revision {revision}"
        answer = pb.WatchResponse.FromString(message)
        if answer.canceled and answer.compact_revision:
            stream.cancel()
            return await read_story(channel, revision, answer.compact_revision)
        assert not answer.canceled, answer
        events += [(e.kv.mod_revision, e.kv.key, None if e.type == e.DELETE else e.kv.value) for e in answer.events]
    stream.cancel()
    return start, events


def _check_logs(cluster: Cluster) -> list[str]:
    """No member has met, in any of its lives, what it could not go on from."""
    return [
        f"{member.name} says: {line[:LINE]}"
        for member in cluster.members
        for line in member.log_path.read_text(errors="replace").splitlines()
        if any(word in line for word in FATAL)
    ]


def _check_expiry(cluster: Cluster) -> list[str]:
    """Nobody renews any more: all leases go, with all their keys, on all members."""

    def gone() -> bool:
        kept = pb.RangeRequest(key=b"lease/", range_end=b"lease0", serializable=True, count_only=True)
        return all(
            not cluster.ask(number, pb.LeaseLeasesRequest()).leases and not cluster.ask(number, kept).count
            for number in cluster.running()
        )

    try:
        wait_for(gone, EXPIRY_SECONDS, "leases that nobody renews are still there")
    except TimeoutError as error:
        return [str(error)]
    return []
