"""Calls that pass through as they are: nobody looks into the bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from quorate.client.retry import Cause, cause_of
from quorate.proxy.upstream import Upstream, carried, tasked
from quorate.transport.grpc import Context, ServerStreaming, Status, Stream, Unary

Change = Callable[[bytes], bytes]


def same(body: bytes) -> bytes:
    return body


def unary(
    upstream: Upstream,
    path: str,
    *,
    reads: bool = False,
    outward: Change = same,
    inward: Change = same,
    after: Callable[[], None] | None = None,
) -> Unary:
    """One in, one out. `outward` and `inward` change the bytes; `after` is called when the call is over, in any way."""

    async def handle(body: bytes, context: Context) -> bytes:
        try:
            return inward(await upstream.unary(path, outward(body), carried(context.metadata), reads=reads))
        finally:
            if after is not None:
                after()

    return Unary(same, tasked(handle))


def streaming(upstream: Upstream, path: str, *, outward: Change = same, inward: Change = same) -> ServerStreaming:
    """One in, many out, no faster than the caller takes them. Before its first answer it may go to another member."""

    async def handle(body: Any, stream: Stream) -> None:
        request, metadata = outward(body), carried(stream.context.metadata)
        for _ in range(len(upstream.wire.endpoints)):
            end, source = upstream.open(path, metadata)
            source.send(request)
            source.half_close()
            begun = False
            try:
                while (message := await source.receive()) is not None:
                    begun = True
                    stream.send(inward(message))
                    await stream.drain()
                return
            except Status as status:
                cause = cause_of(status)
                upstream.failed(end, cause)
                failure = status
                if begun or cause is not Cause.NOT_SENT:
                    raise
            finally:
                source.cancel()
            await asyncio.sleep(0)
        raise failure

    return ServerStreaming(same, handle)
