"""Service KV: Range, RangeStream, Put, DeleteRange, Txn, Compact."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from quorate.api import encode, errors
from quorate.api.errors import Code
from quorate.api.pb import kv_pb2, rpc_pb2
from quorate.api.plain_put import PlainPut, parse_put
from quorate.apply import Applied, cost_of
from quorate.auth import NOBODY
from quorate.server import Server
from quorate.transport.grpc import Context, Outcome, Status, Stream, Together
from quorate.txn import check
from quorate.txn.execute import read_txn
from quorate.txn.ranges import PlainGet, Ranged, parse_gets, run_range
from quorate.txn.tree import Txn, parse_txn
from quorate.v3rpc.door import Door

FIRST_CHUNK_KEYS = 10
"""Keys in the first message of a RangeStream, before the sizes of its messages are known."""
ENTRY_OVERHEAD = 64
"""Bytes that an entry has at most beside a request of nobody in particular."""

Write = rpc_pb2.PutRequest | PlainPut | Txn


class KV:
    """Handlers take a decoded request and return an encoded reply; errors are raised.

    Writes take the request's own bytes beside it: they go into the log as they came.
    """

    def __init__(self, server: Server, door: Door) -> None:
        self._server = server
        self._door = door
        self._auth = server.auth
        self._store = server.store
        self._header = server.header
        self._slow = server.slow
        self._max_ops = server.config.max_txn_ops
        self._max_bytes = server.config.max_request_bytes

    def range(self, request: rpc_pb2.RangeRequest | PlainGet, context: Context) -> bytes | Coroutine[Any, Any, bytes]:
        if not isinstance(request, PlainGet):
            check.check_range(request)
        if request.serializable or (barrier := self._server.read_barrier()) is None:
            return self._range_as(request, context) if self._auth.enabled else self._range(request)
        return self._range_behind(barrier, request, context)

    async def _range_behind(
        self, barrier: Awaitable[None], request: rpc_pb2.RangeRequest | PlainGet, context: Context
    ) -> bytes:
        await barrier
        if self._auth.enabled:
            return await self._range_as(request, context)
        return self._range(request)

    async def _range_as(self, request: rpc_pb2.RangeRequest | PlainGet, context: Context) -> bytes:
        """Who calls is found out last, so that nothing can change between the permission and the read."""
        await self._door.check_read(context, request.key, request.range_end)
        return self._range(request)

    def _range(self, request: rpc_pb2.RangeRequest | PlainGet) -> bytes:
        if isinstance(request, PlainGet):
            row = self._store.get(request.key)
            return self._header() + (b"" if row is None else encode.get_body(row))
        begun = time.monotonic()
        ranged = run_range(self._store, request)
        body = ranged.body()
        took = time.monotonic() - begun
        if took > self._slow.limit:
            self._slow.range(request, took)
        return self._header(ranged.revision) + body

    def gets(self, bodies: list[bytes], context: Context) -> Together | None:
        """Plain gets that came together; None when one of them is something else, or has to show who calls."""
        gets = parse_gets(bodies)
        if gets is None or self._auth.enabled:
            return None
        keys, serializable = gets
        return self._gets(keys) if serializable or self._server.is_fresh() else self._gets_behind(keys)

    async def _gets_behind(self, keys: list[bytes]) -> list[bytes]:
        barrier = self._server.read_barrier()
        if barrier is not None:
            await barrier
        if self._auth.enabled:
            raise errors.AuthOldRevision()
        return self._gets(keys)

    def _gets(self, keys: list[bytes]) -> list[bytes]:
        header = self._header()
        return [header if row is None else header + encode.get_body(row) for row in self._store.get_all(keys)]

    async def put(self, received: tuple[rpc_pb2.PutRequest | PlainPut, bytes], context: Context) -> bytes:
        request, body = received
        self._server.check_quota(request)
        if not isinstance(request, PlainPut):
            check.check_put(request)
        caller = await self._door.find(context) if self._auth.enabled else NOBODY
        applied = await self._server.propose("put", request, body, caller)
        return self._header(applied.revision) + applied.body

    def puts(self, bodies: list[bytes], context: Context) -> Together | None:
        """Puts that came together; None when one of them is not in order, and each is to hear what is wrong with it."""
        try:
            requests = [parse_put(body) for body in bodies]
            for request in requests:
                if not isinstance(request, PlainPut):
                    check.check_put(request)
        except (DecodeError, errors.EtcdError):
            return None
        return self._writes("put", requests, bodies)

    def txns(self, bodies: list[bytes], context: Context) -> Together | None:
        """Txns that write and came together; the same."""
        try:
            requests = [parse_txn(body) for body in bodies]
            for request in requests:
                check.check_txn(request, self._max_ops)
        except (DecodeError, errors.EtcdError):
            return None
        if any(request.is_read_only for request in requests):
            return None
        return self._writes("txn", requests, bodies)

    def _writes(self, kind: str, requests: Sequence[Write], bodies: list[bytes]) -> Together | None:
        fits = self._server.quota.fits(sum(map(cost_of, requests)))
        if not fits or self._auth.enabled or max(map(len, bodies)) > self._max_bytes - ENTRY_OVERHEAD:
            return None
        return self._write_all(kind, requests, bodies)

    async def _write_all(self, kind: str, requests: Sequence[Write], bodies: list[bytes]) -> Sequence[Outcome]:
        results = await self._server.propose_all(kind, requests, bodies)
        header = self._header
        return [header(result.revision) + result.body if isinstance(result, Applied) else result for result in results]

    async def delete_range(self, received: tuple[rpc_pb2.DeleteRangeRequest, bytes], context: Context) -> bytes:
        request, body = received
        check.check_delete_range(request)
        caller = await self._door.find(context) if self._auth.enabled else NOBODY
        applied = await self._server.propose("delete_range", request, body, caller)
        return self._header(applied.revision) + applied.body

    def txn(self, received: tuple[Txn, bytes], context: Context) -> bytes | Coroutine[Any, Any, bytes]:
        request, body = received
        self._server.check_quota(request)
        check.check_txn(request, self._max_ops)
        if not request.is_read_only:
            return self._write_txn(request, body, context)
        barrier = None if request.is_serializable else self._server.read_barrier()
        if barrier is None and not self._auth.enabled:
            return self._read_txn(request)
        return self._read_txn_behind(barrier, request, context)

    async def _write_txn(self, request: Txn, body: bytes, context: Context) -> bytes:
        caller = await self._door.find(context) if self._auth.enabled else NOBODY
        applied = await self._server.propose("txn", request, body, caller)
        return self._header(applied.revision) + applied.body

    async def _read_txn_behind(self, barrier: Awaitable[None] | None, request: Txn, context: Context) -> bytes:
        if barrier is not None:
            await barrier
        if self._auth.enabled:
            self._door.guard.check_txn(request, await self._door.find(context))
        return self._read_txn(request)

    def _read_txn(self, request: Txn) -> bytes:
        revision, found = read_txn(self._store, request)
        return self._header(revision) + found

    async def compact(self, request: rpc_pb2.CompactionRequest, context: Context) -> bytes:
        await self._door.require_admin(context)
        await self._server.compact(request)
        return self._header(0)

    async def range_stream(self, request: rpc_pb2.RangeRequest, stream: Stream) -> None:
        """The keys of a range in chunks, all at one revision: message size follows the sizes seen, so that neither
        side ever holds the whole range."""
        check.check_range(request)
        _check_streamable(request)
        if not request.serializable:
            await self._server.fresh()
        await self._door.check_read(stream.context, request.key, request.range_end)
        if request.count_only:
            stream.send(self._last_message(run_range(self._store, request)))
            return
        await self._send_chunks(request, stream)

    async def _send_chunks(self, request: rpc_pb2.RangeRequest, stream: Stream) -> None:
        chunk = rpc_pb2.RangeRequest()
        chunk.CopyFrom(request)
        left = max(request.limit, 0)
        size = FIRST_CHUNK_KEYS
        first: Ranged | None = None
        auth_revision = self._auth.revision
        while True:
            if self._auth.enabled and self._auth.revision != auth_revision:
                raise errors.AuthOldRevision()
            chunk.limit = min(size, left) if left else size
            ranged = run_range(self._store, chunk, counted=first is None)
            if first is None:
                first = ranged
                chunk.revision = request.revision if request.revision > 0 else ranged.revision
            if not ranged.more or (left and len(ranged.kvs) >= left):
                stream.send(self._last_message(ranged._replace(count=first.count, revision=first.revision)))
                return
            body = encode.range_body(ranged.kvs, False, 0)
            stream.send(encode.field(b"\x0a", body))
            left -= len(ranged.kvs) if left else 0
            chunk.key = _key_of(ranged.kvs[-1]) + b"\0"
            size = _next_size(size, len(body), self._max_bytes)
            await stream.drain()

    def _last_message(self, ranged: Ranged) -> bytes:
        return encode.field(b"\x0a", self._header(ranged.revision) + ranged.body())


def _check_streamable(request: rpc_pb2.RangeRequest) -> None:
    """Only plain key order can be streamed without holding the whole range."""
    if request.sort_order or request.sort_target:
        raise Status(Code.UNIMPLEMENTED, "RangeStream does not support custom sort orders")
    bounds = (
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )
    if bounds:
        raise Status(Code.UNIMPLEMENTED, "RangeStream does not support revision filters")


def _next_size(keys: int, size: int, target: int) -> int:
    """Twice as many keys after a message of less than half the target size, half as many after twice the size."""
    if size < target // 2:
        return keys * 2
    return max(keys // 2, 1) if size > target * 2 else keys


def _key_of(row: bytes) -> bytes:
    return kv_pb2.KeyValue.FromString(row).key
