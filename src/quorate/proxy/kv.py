"""Service KV: reads from the cache where they may be, everything else to the members, or to who owns keys."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Iterator
from typing import Any

from quorate.api.pb import rpc_pb2 as pb
from quorate.client.methods import repeatable
from quorate.client.recipes import NoGreaterRevision
from quorate.client.recipes.namespace import Names
from quorate.proxy.cache import Name, ReadCache
from quorate.proxy.leasing import OwnedKeys
from quorate.proxy.upstream import Upstream, carried, credentials, in_task, revision_of, tasked
from quorate.transport.grpc import Context, Method, Unary

RANGE = "/etcdserverpb.KV/Range"
PUT = "/etcdserverpb.KV/Put"
DELETE = "/etcdserverpb.KV/DeleteRange"
TXN = "/etcdserverpb.KV/Txn"
COMPACT = "/etcdserverpb.KV/Compact"
ORDER_ROUNDS = 5
"""How often each member is asked for an answer that is new enough."""

_ANSWERS: dict[str, Any] = {
    RANGE: pb.RangeResponse,
    PUT: pb.PutResponse,
    DELETE: pb.DeleteRangeResponse,
    TXN: pb.TxnResponse,
}


class KV:
    """`ordering`: answers never go back in time. With `owned` keys, calls go through their wire."""

    def __init__(
        self,
        upstream: Upstream,
        cache: ReadCache,
        names: Names | None,
        *,
        ordering: bool = False,
        owned: OwnedKeys | None = None,
    ) -> None:
        self._upstream = upstream
        self._cache = cache
        self._names = names
        self._ordering = ordering
        self._owned = owned
        self._seen = 0
        """The greatest revision that anybody was told, where order is kept."""

    def methods(self) -> dict[str, Method]:
        """What is served, by path."""
        compact: type[pb.CompactionRequest] = pb.CompactionRequest
        return {
            RANGE: Unary(lambda body: (pb.RangeRequest.FromString(body), body), self.range),
            PUT: Unary(lambda body: (PUT, pb.PutRequest.FromString(body), body), tasked(self._write)),
            DELETE: Unary(lambda body: (DELETE, pb.DeleteRangeRequest.FromString(body), body), tasked(self._write)),
            TXN: Unary(lambda body: (TXN, pb.TxnRequest.FromString(body), body), tasked(self._write)),
            COMPACT: Unary(lambda body: (compact.FromString(body), body), tasked(self._compact)),
        }

    def range(self, asked: tuple[pb.RangeRequest, bytes], context: Context) -> bytes | Coroutine[Any, Any, bytes]:
        """From the cache at once, if it is there."""
        request, body = asked
        if not request.serializable:
            return in_task(self._ask(RANGE, request, body, context, reads=True))
        name = (credentials(context.metadata), body)
        kept = self._cache.get(name, self._seen if self._ordering else 0)
        return in_task(self._read(name, request, body, context)) if kept is None else kept

    async def _read(self, name: Name, request: pb.RangeRequest, body: bytes, context: Context) -> bytes:
        read, at = self._cache.begin(request), request.revision
        answer, revision = None, 0
        try:
            answer = await self._ask(RANGE, request, body, context, reads=True)
            revision = revision_of(answer)
        finally:
            self._cache.end(read, name, at, answer, revision)
        return answer

    async def _write(self, asked: tuple[str, Any, bytes], context: Context) -> bytes:
        path, request, body = asked
        ranges, revision = list(written(request)), math.inf
        try:
            answer = await self._ask(path, request, body, context, reads=not ranges)
            revision = revision_of(answer) or math.inf
        finally:
            for key, end in ranges:
                self._cache.written(key, end, revision)
        return answer

    async def _compact(self, asked: tuple[pb.CompactionRequest, bytes], context: Context) -> bytes:
        request, body = asked
        answer = await self._upstream.unary(COMPACT, body, carried(context.metadata))
        self._cache.compacted(request.revision)
        return answer

    async def _ask(self, path: str, request: Any, body: bytes, context: Context, *, reads: bool) -> bytes:
        """The answer as the caller is to see it. May change the request."""
        if self._owned is not None:
            left = None if context.deadline is None else context.deadline - asyncio.get_running_loop().time()
            found = await self._owned.wire.call(request, timeout=left)
            return bytes(found.SerializeToString())
        read_only = reads and repeatable(request)
        if self._names is not None:
            self._names.put_on(request)
            body = request.SerializeToString()
        metadata = carried(context.metadata)
        if self._ordering and read_only:
            answer = await self._ask_in_order(path, body, metadata)
        else:
            answer = await self._upstream.unary(path, body, metadata, reads=read_only)
            if self._ordering:
                self._seen = max(self._seen, revision_of(answer))
        if self._names is None:
            return answer
        message = _ANSWERS[path].FromString(answer)
        self._names.take_off(message)
        return bytes(message.SerializeToString())

    async def _ask_in_order(self, path: str, body: bytes, metadata: Any) -> bytes:
        needed = self._seen
        for _ in range(ORDER_ROUNDS * len(self._upstream.wire.endpoints)):
            answer = await self._upstream.unary(path, body, metadata, reads=True)
            revision = revision_of(answer)
            if revision >= needed:
                self._seen = max(self._seen, revision)
                return answer
        raise NoGreaterRevision()


def written(request: Any) -> Iterator[tuple[bytes, bytes]]:
    """Key and end of all that a request may write."""
    if isinstance(request, pb.PutRequest):
        yield request.key, b""
    elif isinstance(request, pb.DeleteRangeRequest):
        yield request.key, request.range_end
    elif isinstance(request, pb.TxnRequest):
        for op in (*request.success, *request.failure):
            kind = op.WhichOneof("request")
            if kind is not None:
                yield from written(getattr(op, kind))
