"""One process with 100 gets at a time: our client, stock gRPC stubs and aetcd, in turn, against the same member.

Each run is a process of its own that asks for one key of 256 bytes; rounds alternate, the table shows medians.

    python bench/client.py --total 20000 --rounds 5 [--aetcd PYTHON] [--json result.json]

`--aetcd` names an interpreter that has aetcd installed: it and our messages do not live in one process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

AT_A_TIME = 100
KEY, VALUE = b"bench/key", b"v" * 256
Get = Callable[[], Awaitable[object]]


async def measure(get: Get, total: int) -> float:
    """Gets a second, of `total`."""
    await asyncio.gather(*(get() for _ in range(AT_A_TIME)))

    async def worker() -> None:
        for _ in range(total // AT_A_TIME):
            await get()

    begun = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(AT_A_TIME)))
    return total / (time.perf_counter() - begun)


async def run_quorate(endpoint: str, total: int) -> float:
    import quorate

    async with quorate.connect(endpoint) as client:
        await client.put(KEY, VALUE)
        return await measure(lambda: client.get(KEY), total)


async def run_stubs(endpoint: str, total: int) -> float:
    import grpc.aio

    from quorate.api.pb import rpc_pb2 as pb

    async with grpc.aio.insecure_channel(endpoint) as channel:
        get = channel.unary_unary(
            "/etcdserverpb.KV/Range",
            request_serializer=pb.RangeRequest.SerializeToString,
            response_deserializer=pb.RangeResponse.FromString,
        )
        return await measure(lambda: get(pb.RangeRequest(key=KEY), timeout=5.0), total)


async def run_aetcd(endpoint: str, total: int) -> float:
    import aetcd

    host, _, port = endpoint.rpartition(":")
    async with aetcd.Client(host=host, port=int(port)) as client:
        return await measure(lambda: client.get(KEY), total)


KINDS = {"quorate": run_quorate, "grpcio stubs": run_stubs, "aetcd": run_aetcd}


def run_one(kind: str, endpoint: str, total: int) -> None:
    if kind == "quorate":
        import uvloop

        print(uvloop.run(run_quorate(endpoint, total)))
    else:
        print(asyncio.run(KINDS[kind](endpoint, total)))


def start(kind: str, python: str, endpoint: str, total: int) -> float:
    command = [python, __file__, "--run", kind, "--endpoint", endpoint, "--total", str(total)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--total", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--aetcd", default="")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--run", default="", help=argparse.SUPPRESS)
    parser.add_argument("--endpoint", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run_one(options.run, options.endpoint, options.total)
        return
    from quorate.testing.process import QUORATE, MemberProcess

    pythons = {"quorate": sys.executable, "grpcio stubs": sys.executable}
    if options.aetcd:
        pythons["aetcd"] = os.path.abspath(options.aetcd)
    found: dict[str, list[float]] = {kind: [] for kind in pythons}
    with tempfile.TemporaryDirectory() as place, MemberProcess(Path(place) / "data", command=QUORATE) as member:
        for _ in range(options.rounds):
            for kind, python in pythons.items():
                found[kind].append(start(kind, python, member.endpoint, options.total))
    ours = statistics.median(found["quorate"])
    print(f"{'client':<14}{'gets/s':>10}{'least':>10}{'most':>10}{'ours is':>10}")
    for kind, each in found.items():
        median = statistics.median(each)
        print(f"{kind:<14}{median:>10.0f}{min(each):>10.0f}{max(each):>10.0f}{ours / median:>9.2f}x")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
