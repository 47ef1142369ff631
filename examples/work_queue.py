"""A queue: each piece of work goes to one worker, the oldest first.

python -m quorate.testing -- python examples/work_queue.py
"""

import asyncio
import os

import quorate
from quorate.client.recipes import Queue

QUEUE = "queues/mail"
STOP = b""


async def worker(endpoints: str) -> list[bytes]:
    """What it was given."""
    done = []
    async with quorate.connect(endpoints) as client:
        queue = Queue(client, QUEUE)
        while (work := await queue.dequeue()) != STOP:
            done.append(work)
            await asyncio.sleep(0)
    return done


async def main() -> None:
    endpoints = os.environ.get("ETCDCTL_ENDPOINTS", "127.0.0.1:2379")
    workers = [asyncio.create_task(worker(endpoints)) for _ in range(3)]
    async with quorate.connect(endpoints) as client:
        queue = Queue(client, QUEUE)
        for number in range(20):
            await queue.enqueue(f"mail {number}")
        for _ in workers:
            await queue.enqueue(STOP)
    shares = await asyncio.gather(*workers)
    done = [work for share in shares for work in share]
    print(f"{len(done)} pieces of work, {len(set(done))} different ones")
    print("each worker in order:", all(share == sorted(share, key=lambda w: int(w.split()[1])) for share in shares))


asyncio.run(main())
