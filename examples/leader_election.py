"""Leader election, and a monitor that watches both the leader and the members of the cluster.

    python -m quorate.testing --members 3 -- python examples/leader_election.py

Candidates stand in a queue, each with a session; who is first leads until it resigns or its session ends. What a leader
writes is guarded by `is_leader()`: nothing is done by one that has been deposed without noticing.
"""

import asyncio
import os

import quorate
from quorate.client import Client, ops
from quorate.client.recipes import Election

ELECTION = "elections/cron"


async def candidate(name: str, endpoints: str) -> None:
    async with quorate.connect(endpoints) as client, client.session(ttl=5) as session:
        election = Election(client, session, ELECTION)
        await election.campaign(name)
        done = await client.txn().when(election.is_leader()).then(ops.put("cron/ran-by", name)).commit()
        assert done.succeeded
        await session.lost.wait()


async def monitor(client: Client, leaders: asyncio.Queue[str]) -> None:
    async with client.session(ttl=5) as observer:
        async for kv in Election(client, observer, ELECTION).observe():
            leaders.put_nowait(kv.value.decode())


async def print_members(client: Client) -> None:
    """What `etcdctl endpoint status` shows."""
    for member in await client.cluster.members():
        status = await client.maintenance.status(member.client_urls[0])
        role = "leads" if status.leader == status.header.member_id else "follows"
        print(f"member {member.name} {role}, term {status.raft_term}, errors {len(status.errors)}")


async def main() -> None:
    endpoints = os.environ.get("ETCDCTL_ENDPOINTS", "127.0.0.1:2379")
    async with quorate.connect(endpoints) as client:
        await client.sync_endpoints()
        await print_members(client)
        leaders: asyncio.Queue[str] = asyncio.Queue()
        watching = asyncio.create_task(monitor(client, leaders))
        first = asyncio.create_task(candidate("a", endpoints))
        print(f"{await leaders.get()} leads")
        second = asyncio.create_task(candidate("b", endpoints))
        first.cancel()  # its session ends with it
        print(f"{await leaders.get()} leads")
        for task in (watching, first, second):
            task.cancel()
        await asyncio.wait([watching, first, second])


asyncio.run(main())
