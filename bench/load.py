"""One process that loads members with one kind of request, and reports what it saw as JSON on standard output.

It says `ready` when its connections stand, and starts at the first line on standard input, so that several such
processes can start together. `first_light.py` runs it; it is a program of its own because a generator in the process of
its judge would measure the judge.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from array import array
from collections.abc import Iterator
from typing import Protocol

PUT = "/etcdserverpb.KV/Put"
RANGE = "/etcdserverpb.KV/Range"
KEY_BYTES = 8


class Caller(Protocol):
    """What the generator needs of a client: one unary call, bytes in and bytes out."""

    async def unary(self, path: str, request: bytes) -> bytes: ...
    async def close(self) -> None: ...


class GrpcioCaller:
    """The stock client of Python, for a second opinion; an order of magnitude dearer than our own."""

    def __init__(self, host: str, port: int) -> None:
        import grpc.aio

        self._channel = grpc.aio.insecure_channel(f"{host}:{port}", options=[("grpc.use_local_subchannel_pool", 1)])
        self._calls = {path: self._channel.unary_unary(path) for path in (PUT, RANGE)}

    async def unary(self, path: str, request: bytes) -> bytes:
        reply: bytes = await self._calls[path](request)
        return reply

    async def close(self) -> None:
        await self._channel.close()


def callers(kind: str, host: str, ports: list[int], count: int) -> list[Caller]:
    """One connection to each port in turn."""
    if kind == "grpcio":
        return [GrpcioCaller(host, ports[number % len(ports)]) for number in range(count)]
    from quorate.transport.grpc import Channel

    return [Channel(host, ports[number % len(ports)]) for number in range(count)]


def requests(work: str, first: int, step: int, keys: int, value_bytes: int) -> Iterator[bytes]:
    """Endless encoded requests over `keys` different keys; each process takes its own residue class."""
    put_tail = _field(2, b"v" * value_bytes)
    get_tail = b"\x38\x01" if work == "get-serializable" else b""
    tail = put_tail if work == "put" else get_tail
    number = first
    while True:
        yield _field(1, (number % keys).to_bytes(KEY_BYTES, "big")) + tail
        number += step


def _field(number: int, data: bytes) -> bytes:
    size, length = len(data), b""
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


async def run(options: argparse.Namespace) -> dict[str, object]:
    channels = callers(options.client, options.host, options.port, options.conns)
    probe = _field(1, b"\0" * KEY_BYTES)
    await asyncio.gather(*(channel.unary(RANGE, probe) for channel in channels))
    print("ready", flush=True)
    sys.stdin.readline()
    path = PUT if options.work == "put" else RANGE
    source = requests(options.work, options.first, options.step, options.keys, options.value_bytes)
    seconds = array("d")
    errors: dict[str, int] = {}
    left = options.total

    async def worker(channel: Caller) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            request = next(source)
            begun = time.perf_counter()
            try:
                await channel.unary(path, request)
            except Exception as error:
                text = f"{type(error).__name__}: {error}"
                errors[text] = errors.get(text, 0) + 1
            else:
                seconds.append(time.perf_counter() - begun)

    cpu, begun = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker(channels[number % len(channels)]) for number in range(options.clients)))
    elapsed, cpu = time.perf_counter() - begun, time.process_time() - cpu
    for channel in channels:
        await channel.close()
    return {"elapsed": elapsed, "cpu": cpu, "errors": errors, "micros": [round(s * 1e6) for s in seconds]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, action="append", required=True, help="again for each further member")
    parser.add_argument("--client", choices=["quorate", "grpcio"], default="quorate")
    parser.add_argument("--work", choices=["put", "get", "get-serializable"], required=True)
    parser.add_argument("--total", type=int, required=True)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--conns", type=int, default=1)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--value-bytes", type=int, default=256)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--step", type=int, default=1)
    options = parser.parse_args()
    try:
        import uvloop
    except ImportError:
        result = asyncio.run(run(options))
    else:
        result = uvloop.run(run(options))
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
