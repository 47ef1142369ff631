"""Publish and subscribe: every subscriber of a topic gets every message, in order, even those sent while it was away.

    python -m quorate.testing -- python examples/pubsub.py

A message is a put to the topic's key; its revision numbers it. A subscriber that remembers the last revision it handled
goes on after it, as long as that has not been compacted.
"""

import asyncio
import os

import quorate
from quorate.client import Client

TOPIC = "topics/weather"
LAST = b"bye"


async def publish(client: Client, messages: list[bytes]) -> None:
    for message in messages:
        await client.put(TOPIC, message)


async def subscribe(client: Client, name: str, after: int, count: int | None = None) -> int:
    """Print messages behind revision `after`: `count` of them, or up to the last. Returns the revision reached."""
    async with client.watch(TOPIC, start_revision=after + 1) as watch:
        async for event in watch:
            print(f"{name}: {event.value.decode()}")
            after = event.revision
            count = None if count is None else count - 1
            if event.value == LAST or count == 0:
                break
    return after


async def main() -> None:
    async with quorate.connect(os.environ.get("ETCDCTL_ENDPOINTS", "127.0.0.1:2379")) as client:
        begin = (await client.get(TOPIC)).header.revision
        steady = asyncio.create_task(subscribe(client, "steady", begin))
        fickle = asyncio.create_task(subscribe(client, "fickle", begin, count=1))
        await publish(client, [b"sun", b"rain"])
        reached = await fickle  # it has handled one message, and went away
        await publish(client, [b"snow", LAST])
        await subscribe(client, "fickle again", reached)
        await steady


asyncio.run(main())
