"""Service registration and discovery, with the load balanced by the client.

    python -m quorate.testing -- python examples/discovery.py

A server registers its address on the lease of its session: when it dies, the address goes. Callers keep the list up to
date with a watch. Keys and values are those of etcd's naming package for gRPC.
"""

import asyncio
import itertools
import os

import quorate
from quorate.client import Client
from quorate.client.recipes import Registry, ServiceEndpoint

SERVICE = "services/echo"


async def serve(name: str, endpoints: str, ready: asyncio.Event) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{name} heard {(await reader.readline()).decode()}".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with quorate.connect(endpoints) as client, client.session(ttl=5) as session:
            here = ServiceEndpoint(f"127.0.0.1:{port}")
            await Registry(client, SERVICE).add(f"{SERVICE}/{name}", here, lease=session.lease)
            ready.set()
            await session.lost.wait()


class Balancer:
    """Whom to ask next, of those that are registered now."""

    def __init__(self) -> None:
        self.addresses: dict[bytes, str] = {}
        self.changed = asyncio.Event()
        self._turn = itertools.count()

    async def follow(self, client: Client) -> None:
        async for updates in Registry(client, SERVICE).watch():
            for update in updates:
                self.addresses.pop(update.key, None)
                if update.endpoint is not None:
                    self.addresses[update.key] = update.endpoint.addr
            self.changed.set()

    async def ask(self, question: str) -> str:
        address = sorted(self.addresses.values())[next(self._turn) % len(self.addresses)]
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{question}\n".encode())
        answer = (await reader.readline()).decode().strip()
        writer.close()
        return answer


async def main() -> None:
    endpoints = os.environ.get("ETCDCTL_ENDPOINTS", "127.0.0.1:2379")
    ready = {name: asyncio.Event() for name in "abc"}
    servers = {name: asyncio.create_task(serve(name, endpoints, ready[name])) for name in ready}
    await asyncio.gather(*(each.wait() for each in ready.values()))
    balancer = Balancer()
    async with quorate.connect(endpoints) as client:
        follower = asyncio.create_task(balancer.follow(client))
        await balancer.changed.wait()
        print(sorted([await balancer.ask("hello") for _ in range(6)]))
        balancer.changed.clear()
        servers["b"].cancel()
        await balancer.changed.wait()
        print(sorted([await balancer.ask("still there?") for _ in range(4)]))
        for task in (follower, *servers.values()):
            task.cancel()
        await asyncio.wait([follower, *servers.values()])


asyncio.run(main())
