"""A unary call without a connection of its own: its handler is stepped in the task of the web request."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import CoroutineType
from typing import Any, cast

from quorate.api.errors import Code
from quorate.etcdhttp.gateway.status import to_status
from quorate.transport.grpc import Context, Message, Status, Unary
from quorate.transport.grpc.status import CANCELLED_TEXT, deadline_exceeded
from quorate.transport.grpc.steps import stop
from quorate.transport.grpc.stream import parse
from quorate.transport.grpc.tally import MethodTally


async def call_unary(method: Unary, body: bytes, context: Context, tally: MethodTally) -> bytes:
    """The encoded reply. Raises Status for whatever the handler raises, and past the deadline of the call."""
    tally.received += 1
    tally.received_bytes += len(body)
    begun = tally.begun()
    try:
        reply = await _call(method, body, context)
    except asyncio.CancelledError:
        tally.ended(Code.CANCELLED)
        raise
    except Exception as error:
        status = to_status(error, context.path)
        tally.ended(status.code)
        raise status from None
    else:
        tally.ended(Code.OK)
        tally.sent_bytes += len(reply)
        return reply
    finally:
        tally.took(begun)


async def _call(method: Unary, body: bytes, context: Context) -> bytes:
    if context.deadline is not None and context.deadline <= asyncio.get_running_loop().time():
        raise deadline_exceeded()
    answer = method.handle(parse(method.parse, body), context)
    if isinstance(answer, CoroutineType):
        timeout = asyncio.timeout_at(context.deadline)
        try:
            async with timeout:
                answer = await _step(answer)
        except TimeoutError:
            if timeout.expired():
                raise deadline_exceeded() from None
            raise
    reply = cast(bytes | Message, answer)
    return reply if isinstance(reply, bytes) else reply.SerializeToString()


async def _step(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a handler to its end. What it waits for may have others waiting: when this task is cancelled the handler is
    stopped, but not, as by `await`, the future it waits for."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            awaited = coroutine.send(None)
        except StopIteration as done:
            return done.value
        except asyncio.CancelledError:
            # What it waited for was given up; this task was not.
            raise Status(Code.CANCELLED, CANCELLED_TEXT) from None
        if awaited is None:
            await asyncio.sleep(0)
            continue
        if not getattr(awaited, "_asyncio_future_blocking", False):
            coroutine.close()
            raise Status(Code.INTERNAL, f"a unary handler may wait for asyncio futures only, not for {awaited!r}")
        awaited._asyncio_future_blocking = False
        turn = loop.create_future()

        def wake(_: object, turn: asyncio.Future[None] = turn) -> None:
            if not turn.done():
                turn.set_result(None)

        awaited.add_done_callback(wake)
        try:
            await turn
        except BaseException:
            awaited.remove_done_callback(wake)
            stop(coroutine)
            raise
