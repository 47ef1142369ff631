"""A member's database as a file, whole or not at all: hash checked, synced, then renamed to its name."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from quorate.api.errors import Code
from quorate.api.pb import rpc_pb2 as pb
from quorate.client.errors import CallError, SnapshotDamaged, error_of
from quorate.client.methods import SNAPSHOT
from quorate.client.wire import End, Wire
from quorate.transport.grpc import ClientStream, Status

HASH_BYTES = 32
"""SHA-256 of all that comes before it, at the end of the stream."""
SECTOR = 512
"""Databases are of whole sectors, so the rest tells whether a hash follows."""

Progress = Callable[[int, int], object]


async def save(wire: Wire, path: str | Path, at: End | None, on_progress: Progress | None, timeout: float) -> int:
    """Write the database of a member to `path`, with the hash behind it; its size in bytes.

    `timeout` is for each part, not for all. `on_progress(done, remaining)` is told after each, in bytes.
    Raises EtcdError, SnapshotDamaged, OSError; what was at `path` is as it was then.
    """
    target = Path(path)
    partial = target.with_name(f"{target.name}.part")
    _, stream = await wire.stream(SNAPSHOT, at=at)
    stream.send(pb.SnapshotRequest().SerializeToString())
    stream.half_close()
    try:
        with partial.open("wb") as file:
            size = await _receive(stream, file, on_progress, timeout)
            await asyncio.to_thread(_sync, file)
        await asyncio.to_thread(_rename, partial, target)
    except BaseException:
        stream.cancel()
        partial.unlink(missing_ok=True)
        raise
    return size


async def _receive(stream: ClientStream, file: BinaryIO, on_progress: Progress | None, timeout: float) -> int:
    """Raises SnapshotDamaged when hash and bytes do not agree."""
    hashed, tail, done = hashlib.sha256(), b"", 0
    while (message := await _next(stream, timeout)) is not None:
        part = pb.SnapshotResponse.FromString(message)
        file.write(part.blob)
        done += len(part.blob)
        tail += part.blob
        hashed.update(tail[:-HASH_BYTES])
        tail = tail[-HASH_BYTES:]
        if on_progress is not None:
            on_progress(done, part.remaining_bytes)
    if done % SECTOR != HASH_BYTES or hashed.digest() != tail:
        raise SnapshotDamaged()
    return done


async def _next(stream: ClientStream, timeout: float) -> bytes | None:
    try:
        async with asyncio.timeout(timeout):
            return await stream.receive()
    except TimeoutError:
        raise CallError(Code.DEADLINE_EXCEEDED, "the member sends no more of its snapshot") from None
    except Status as status:
        raise error_of(status) from None


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _rename(partial: Path, target: Path) -> None:
    partial.replace(target)
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
