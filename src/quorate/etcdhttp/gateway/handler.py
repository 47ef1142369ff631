"""The paths of the gateway: a request becomes a call, what the call answers becomes JSON."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from google.protobuf.message import Message

from quorate.api.errors import Code
from quorate.etcdhttp.gateway.decode import read_message
from quorate.etcdhttp.gateway.encode import to_json, write_json, write_message
from quorate.etcdhttp.gateway.headers import context_of
from quorate.etcdhttp.gateway.routes import ROUTES, Route, find_route
from quorate.etcdhttp.gateway.status import JSON, http_status, refusal, stream_error
from quorate.etcdhttp.gateway.stream import BodyRequests, StreamCall, check_size, text_limit
from quorate.etcdhttp.gateway.syntax import BodyError, to_text
from quorate.etcdhttp.gateway.unary import call_unary
from quorate.etcdhttp.gateway.websocket import converse, take_token
from quorate.transport.grpc import Bidi, Context, Method, Status, Unary
from quorate.transport.grpc.tally import MethodTally
from quorate.transport.web import Fields, HttpRequest, HttpResponse
from quorate.transport.websocket import wants_websocket

ANSWERED: Fields = (*JSON, ("Grpc-Metadata-Content-Type", "application/grpc"))


def streamed_paths(methods: Mapping[str, Method]) -> frozenset[str]:
    """Paths whose bodies may be read while they are answered."""
    found = [path for path, route in ROUTES.items() if isinstance(methods.get(route.method), Bidi)]
    return frozenset(found + [path.replace("/v3/", "/v3beta/", 1) for path in found])


class Gateway:
    """Answers what `is_gateway_path` says; to be handed one request at a time. `tallies` count the calls by method,
    `max_message` is in bytes."""

    def __init__(self, methods: Mapping[str, Method], tallies: Mapping[str, MethodTally], max_message: int) -> None:
        self._methods = methods
        self._tallies = tallies
        self._max_message = max_message

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        route = find_route(request.path)
        method = None if route is None else self._methods.get(route.method)
        if route is None or method is None:
            return refusal(Status(Code.NOT_FOUND, "Not Found"))
        upgrade = wants_websocket(request)
        if request.method != "POST" and not upgrade:
            return refusal(Status(Code.UNIMPLEMENTED, "Method Not Allowed"))
        request.tied = True
        protocol = take_token(request) if upgrade else ""
        try:
            context = context_of(request, route.method, asyncio.get_running_loop().time())
        except Status as status:
            return refusal(status)
        tally = self._tallies[route.method]
        if upgrade:
            return converse(request, method, route, context, self._max_message, tally, protocol)
        if isinstance(method, Unary):
            return await self._answer(method, route, request, context, tally)
        pieces = _whole(request.body) if request.chunks is None else request.chunks
        requests = BodyRequests(pieces, text_limit(self._max_message))
        call = StreamCall(method, route.request, requests, context, self._max_message, tally)
        return await _stream(call, route.response)

    async def _answer(
        self, method: Unary, route: Route, request: HttpRequest, context: Context, tally: MethodTally
    ) -> HttpResponse:
        try:
            check_size(request.body, text_limit(self._max_message))
            body = read_message(route.request, to_text(request.body)).SerializeToString()
            check_size(body, self._max_message)
            reply = await call_unary(method, body, context, tally)
        except BodyError as error:
            return refusal(Status(Code.INVALID_ARGUMENT, str(error)))
        except Status as status:
            return refusal(status)
        return HttpResponse(200, ANSWERED, write_message(route.response.FromString(reply)))


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def _stream(call: StreamCall, kind: type[Message]) -> HttpResponse:
    """The answer, once it is known how it begins: with a message, with an error, or with nothing at all."""
    try:
        first = await call.take()
    except Status as status:
        return HttpResponse(http_status(status.code), JSON, write_json(stream_error(status)) + b"\n")
    except BaseException:
        call.close()
        raise
    if first is None:
        return HttpResponse(200, JSON, Lines(call, kind, None))
    return HttpResponse(200, ANSWERED, Lines(call, kind, first))


class Lines:
    """The replies of a call as lines, for the listener; it closes what it does not read to the end."""

    def __init__(self, call: StreamCall, kind: type[Message], first: bytes | None) -> None:
        self._call = call
        self._kind = kind
        self._first = first
        self._failed = False

    def __aiter__(self) -> Lines:
        return self

    async def __anext__(self) -> bytes:
        if self._failed:
            raise StopAsyncIteration
        body, self._first = self._first, None
        if body is None:
            try:
                body = await self._call.take()
            except Status as status:
                self._failed = True
                return write_json(stream_error(status)) + b"\n"
            if body is None:
                raise StopAsyncIteration
        return write_json({"result": to_json(self._kind.FromString(body))}) + b"\n"

    async def aclose(self) -> None:
        self._call.close()
