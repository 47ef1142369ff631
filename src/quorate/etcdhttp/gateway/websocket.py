"""Calls over WebSocket: each message of the client holds requests, each message of the server is one line."""

from __future__ import annotations

from quorate.api.errors import Code
from quorate.etcdhttp.gateway.decode import read_message
from quorate.etcdhttp.gateway.encode import to_json, write_json
from quorate.etcdhttp.gateway.routes import Route
from quorate.etcdhttp.gateway.status import stream_error
from quorate.etcdhttp.gateway.stream import StreamCall, check_size, text_limit
from quorate.etcdhttp.gateway.syntax import BodyError, to_text
from quorate.etcdhttp.gateway.unary import call_unary
from quorate.transport.grpc import Context, Method, Status, Unary
from quorate.transport.grpc.tally import MethodTally
from quorate.transport.web import HttpRequest, HttpResponse
from quorate.transport.websocket import WebSocket, accept

BEARER = "Bearer"
"""Chosen as the subprotocol by who has a token to show and, as pages in browsers, no other way to show it."""


def take_token(request: HttpRequest) -> str:
    """Turn the subprotocol `Bearer, TOKEN` into an Authorization. Returns the subprotocol to choose, if any."""
    offered = request.header("sec-websocket-protocol") or ""
    name, comma, token = offered.partition(",")
    if name.strip() != BEARER or not comma:
        return ""
    request.headers = [*request.headers, ("authorization", f"{BEARER} {token.strip()}")]
    return BEARER


def converse(
    opening: HttpRequest,
    method: Method,
    route: Route,
    context: Context,
    max_message: int,
    tally: MethodTally,
    protocol: str,
) -> HttpResponse:
    """Go on as a WebSocket that carries one call."""

    async def run(socket: WebSocket) -> None:
        requests = _Messages(socket)
        try:
            if isinstance(method, Unary):
                # The first message is the only request.
                text = await requests.next()
                if text is None:
                    return
                request = read_message(route.request, text).SerializeToString()
                check_size(request, max_message)
                reply = await call_unary(method, request, context, tally)
                await _tell(socket, to_json(route.response.FromString(reply)))
                return
            call = StreamCall(method, route.request, requests, context, max_message, tally)
            try:
                while (body := await call.take()) is not None:
                    await _tell(socket, {"result": to_json(route.response.FromString(body))})
            finally:
                call.close()
        except BodyError as error:
            await _tell(socket, stream_error(Status(Code.INVALID_ARGUMENT, str(error))))
        except Status as status:
            await _tell(socket, stream_error(status))

    return accept(opening, run, limit=text_limit(max_message), protocol=protocol)


class _Messages:
    """Each message is one request."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    async def next(self) -> str | None:
        async for message in self._socket:
            return to_text(message)
        return None


async def _tell(socket: WebSocket, told: dict[str, object]) -> None:
    await socket.send(write_json(told).decode())
