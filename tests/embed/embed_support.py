"""Calls to a member, and what a process holds."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from pathlib import Path

import uvloop

from quorate.api.pb import rpc_pb2 as rpc
from quorate.embed.memory_dir import PREFIX, memory_root
from quorate.transport.grpc import Channel, Status

uvloop.new_event_loop().close()  # libuv keeps a pipe from its first loop on: no test is to find it new


async def put(channel: Channel, key: bytes, value: bytes) -> int:
    """Put; the revision."""
    request = rpc.PutRequest(key=key, value=value).SerializeToString()
    reply = await channel.unary("/etcdserverpb.KV/Put", request, timeout=10)
    return int(rpc.PutResponse.FromString(reply).header.revision)


async def put_past_a_crash(channel: Channel, key: bytes, value: bytes) -> None:
    """Put, again and again while what was sent to a leader that is gone comes back as timed out."""
    async with asyncio.timeout(60):
        while True:
            try:
                request = rpc.PutRequest(key=key, value=value).SerializeToString()
                await channel.unary("/etcdserverpb.KV/Put", request, timeout=2)
                return
            except Status:
                await asyncio.sleep(0.05)


async def get(channel: Channel, key: bytes) -> bytes | None:
    request = rpc.RangeRequest(key=key).SerializeToString()
    reply = rpc.RangeResponse.FromString(await channel.unary("/etcdserverpb.KV/Range", request, timeout=10))
    return reply.kvs[0].value if reply.kvs else None


async def members(channel: Channel) -> list[rpc.Member]:
    reply = await channel.unary("/etcdserverpb.Cluster/MemberList", b"", timeout=10)
    return list(rpc.MemberListResponse.FromString(reply).members)


def channel_to(endpoint: str) -> Channel:
    host, _, port = endpoint.rpartition(":")
    return Channel(host, int(port))


def descriptors() -> list[str]:
    """What this process has open, by name."""
    names = []
    for number in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:  # that of the listing itself
            continue
    return sorted(names)


def sockets() -> int:
    return sum(name.startswith("socket:") for name in descriptors())


def held() -> Counter[str]:
    """What this process has: open descriptors, threads, memory directories.

    Take what was held before away from it: another's things may end meanwhile, none of ours may stay.
    """
    names = [*descriptors(), *(f"thread {thread.name}" for thread in threading.enumerate())]
    return Counter(names) + Counter(str(path) for path in memory_directories())


def memory_directories() -> set[Path]:
    """Those of this process."""
    return set(memory_root().glob(f"{PREFIX}{os.getpid()}-*"))


async def settled() -> None:
    """Let callbacks of what has ended run."""
    for _ in range(5):
        await asyncio.sleep(0)
