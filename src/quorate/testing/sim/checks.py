"""The last questions to a simulated cluster that has been through faults; those of `quorate.testing.verdict`, and what
can only be seen from inside."""

from __future__ import annotations

from quorate.api.errors import EtcdError
from quorate.api.pb import rpc_pb2 as pb
from quorate.server import Server
from quorate.testing.cluster import METHODS
from quorate.testing.sim.clients import SimWorkload
from quorate.testing.sim.cluster import SimCluster
from quorate.testing.verdict import EXPIRY_SECONDS, compare_stories, read_story, shortened
from quorate.testing.workload import CALL_SECONDS
from quorate.transport.grpc import Channel, Status

LEVEL_SECONDS = 30.0
LIVE_SECONDS = 20.0
"""Virtual seconds in which a healthy cluster must commit something, whichever member is asked."""


def judge(cluster: SimCluster, workload: SimWorkload, *, leases_may_end_early: bool) -> list[str]:
    """All problems found; the cluster must be healthy and the workload stopped."""
    problems = list(workload.unexpected)
    if not leases_may_end_early:
        problems += [keeper.lost for keeper in workload.keepers if keeper.lost]
    problems += [f"{name} at {time:.3f}: {context}" for time, name, context in cluster.scheduler.errors]
    problems += deaths(cluster)
    scheduler = cluster.scheduler
    try:
        scheduler.run_until(lambda: not any(server.lessor.leases() for server in cluster.servers()), EXPIRY_SECONDS)
    except TimeoutError:
        left = {server.config.name: len(server.lessor.leases()) for server in cluster.servers()}
        problems.append(f"leases that nobody renews are still there: {left}")
    scheduler.run_until(cluster.level, LEVEL_SECONDS)
    problems += compare_states(cluster)
    revision = cluster.servers()[0].store.revision
    stories = {}
    for number in cluster.running():
        channel = cluster.channel(number)
        stories[number] = scheduler.run(cluster.client_loop, read_story(channel, revision))
        scheduler.run(cluster.client_loop, channel.close())
    return shortened(problems + compare_stories(workload, stories))


def stalled(cluster: SimCluster) -> list[str]:
    """Members through which a healthy cluster commits nothing. Asked on new connections: on one that lost packets the
    next ones wait behind those, for minutes perhaps."""
    problems = []
    for number in cluster.running():
        channel = cluster.channel(number)
        deadline = cluster.scheduler.now + LIVE_SECONDS
        while refusal := cluster.scheduler.run(cluster.client_loop, _commit(channel)):
            if cluster.scheduler.now > deadline:
                problems.append(f"nothing is committed through {cluster.members[number].name}: {refusal}")
                break
        cluster.scheduler.run(cluster.client_loop, channel.close())
    return problems


async def _commit(channel: Channel) -> str:
    """Delete what is not there: a full quota forbids to write, never to delete. Why it was refused, or ""."""
    path, _ = METHODS[pb.DeleteRangeRequest]
    request = pb.DeleteRangeRequest(key=b"nothing").SerializeToString()
    try:
        await channel.unary(path, request, timeout=CALL_SECONDS)
    except Status as status:
        return str(status)
    return ""


def deaths(cluster: SimCluster) -> list[str]:
    """Members that could not go on, and should have. A disk that fails is no excuse for a broken promise."""
    return [
        f"{death.name} failed at {death.time:.3f}: {death.failure!r}"
        for machine in cluster.members
        for death in machine.deaths
        if not death.expected or isinstance(death.failure, AssertionError)
    ]


def compare_states(cluster: SimCluster) -> list[str]:
    """Everything that is replicated is the same on all members."""
    problems = []
    first, *others = [(server, _state_of(cluster, server)) for server in cluster.servers()]
    for server, state in others:
        for what, value in state.items():
            if value != first[1][what]:
                names = server.config.name, first[0].config.name
                problems.append(f"{what} of {names[0]} and {names[1]} differ: {value} and {first[1][what]}")
    return problems


def _state_of(cluster: SimCluster, server: Server) -> dict[str, object]:
    return {
        "revisions": server.store.revision,
        "compacted revisions": server.store.compacted_revision,
        "hashes": _hash(cluster, server),
        "members": sorted(str(member) for member in server.cluster.members()),
        "configurations": server.state.conf_state,
        "alarms": sorted(server.alarms.active()),
        "leases": sorted((lease.id, lease.ttl) for lease in server.lessor.leases()),
        "auth revisions": (server.auth.enabled, server.auth.revision),
        "users": [str(server.auth.user(name)) for name in server.auth.users()],
        "roles": [f"{name} {server.auth.permissions(name)}" for name in server.auth.roles()],
    }


def _hash(cluster: SimCluster, server: Server) -> object:
    machine = next(machine for machine in cluster.members if machine.server is server)
    assert machine.process is not None
    try:
        found = cluster.scheduler.run(machine.process.loop, server.hash_kv(server.store.revision))
    except EtcdError as error:
        return repr(error)
    return found
