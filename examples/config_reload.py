"""Configuration that reloads itself: a program always has settings that were valid together, of one revision.

    python -m quorate.testing -- python examples/config_reload.py

Settings that belong together are changed in one transaction, and applied together: a watch tells a revision whole. A
program that was away for so long that its place is compacted reads all anew.
"""

import asyncio
import os
from collections.abc import AsyncIterator

import quorate
from quorate.client import Client, Compacted, ops

PREFIX = "config/db/"


async def settings(client: Client) -> AsyncIterator[dict[str, str]]:
    """The settings now, and again after each change."""
    while True:
        found = await client.get(PREFIX, prefix=True)
        current = {name_of(kv.key): kv.value.decode() for kv in found}
        yield dict(current)
        try:
            async with client.watch(PREFIX, prefix=True, start_revision=found.header.revision + 1) as watch:
                while True:
                    for event in await watch.batch():  # whole revisions
                        if event.is_put:
                            current[name_of(event.key)] = event.value.decode()
                        else:
                            current.pop(name_of(event.key), None)
                    yield dict(current)
        except Compacted:
            continue


def name_of(key: bytes) -> str:
    return key.decode().removeprefix(PREFIX)


async def program(client: Client, seen: asyncio.Queue[dict[str, str]]) -> None:
    async for current in settings(client):
        print("runs with", ", ".join(f"{name}={current[name]}" for name in sorted(current)) or "nothing")
        seen.put_nowait(current)


async def main() -> None:
    async with quorate.connect(os.environ.get("ETCDCTL_ENDPOINTS", "127.0.0.1:2379")) as client:
        await client.txn().then(ops.put(PREFIX + "host", "old"), ops.put(PREFIX + "port", "1")).commit()
        seen: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        task = asyncio.create_task(program(client, seen))
        await seen.get()
        await client.txn().then(ops.put(PREFIX + "host", "new"), ops.put(PREFIX + "port", "2")).commit()
        await seen.get()
        await client.put(PREFIX + "pool", "10")
        await seen.get()
        await client.delete(PREFIX + "pool")
        await seen.get()
        task.cancel()
        await asyncio.wait([task])


asyncio.run(main())
