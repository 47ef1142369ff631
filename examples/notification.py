"""Distributed notification: tell every machine that something is to be done, and know when all have done it.

    python -m quorate.testing -- python examples/notification.py

A machine registers itself with a session, so that nobody waits for one that has died. The notice is one key, and each
machine answers it by a key of its own under the revision of the notice.
"""

import asyncio
import os

import quorate
from quorate.client import Client

MACHINES = "fleet/machines/"
NOTICE = "fleet/notice"
DONE = "fleet/done/"


async def machine(name: str, endpoints: str, ready: asyncio.Event) -> None:
    async with (
        quorate.connect(endpoints) as client,
        client.session(ttl=5) as session,
        client.watch(NOTICE) as watch,  # from here on no notice is missed
    ):
        await client.put(MACHINES + name, lease=session.lease)
        ready.set()
        async for notice in watch:
            print(f"{name} does: {notice.value.decode()}")
            await client.put(f"{DONE}{notice.revision}/{name}", lease=session.lease)


async def notify(client: Client, what: str) -> None:
    """Return when each machine that is alive has done it."""
    notice = await client.put(NOTICE, what)
    done = f"{DONE}{notice.header.revision}/"
    async with client.watch("fleet/", prefix=True, start_revision=notice.header.revision + 1) as watch:
        while missing := await missing_machines(client, done):
            print(f"waiting for {', '.join(sorted(missing))}")
            await anext(watch)  # somebody has answered, come or gone


async def missing_machines(client: Client, done: str) -> set[str]:
    alive = {kv.key.decode().removeprefix(MACHINES) for kv in await client.get(MACHINES, prefix=True, keys_only=True)}
    return alive - {kv.key.decode().removeprefix(done) for kv in await client.get(done, prefix=True, keys_only=True)}


async def main() -> None:
    endpoints = os.environ.get("ETCDCTL_ENDPOINTS", "127.0.0.1:2379")
    fleet = {}
    for name in ("a", "b", "c"):
        ready = asyncio.Event()
        fleet[name] = asyncio.create_task(machine(name, endpoints, ready))
        await ready.wait()
    async with quorate.connect(endpoints) as client:
        await notify(client, "rotate keys")
        print("all have rotated keys")
        fleet["b"].cancel()  # its session ends with it
        await asyncio.wait([fleet["b"]])
        await notify(client, "reload")
        print("all have reloaded")
    for task in fleet.values():
        task.cancel()
    await asyncio.wait(fleet.values())


asyncio.run(main())
