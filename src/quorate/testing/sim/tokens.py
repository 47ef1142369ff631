"""Users of a simulated cluster: its root, and channels that log in."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any, NamedTuple

from quorate.api import errors
from quorate.api.errors import Code
from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.cluster import METHODS
from quorate.transport.grpc import Channel, Status
from quorate.transport.grpc.client import ClientConnection
from quorate.transport.http2 import Headers

ASK_SECONDS = 10.0


class Login(NamedTuple):
    name: str
    password: str


ROOT = Login("root", "secret")
TURN_ON = (
    pb.AuthUserAddRequest(name=ROOT.name, password=ROOT.password),
    pb.AuthRoleAddRequest(name="root"),
    pb.AuthUserGrantRoleRequest(user=ROOT.name, role="root"),
    pb.AuthEnableRequest(),
)


class TokenChannel(Channel):
    """Logs in on each connection that it makes, for a member forgets its tokens when its process ends. While auth is
    off, its calls go without a token. A login that is refused is told as an address that does not answer."""

    def __init__(self, host: str, port: int, login: Login) -> None:
        super().__init__(host, port)
        self._login = login

    async def _establish(self) -> ClientConnection:
        connection = await super()._establish()
        try:
            token = await self._ask_token(connection)
        except BaseException as error:
            connection.transport.abort()
            if isinstance(error, Status):
                raise Status(Code.UNAVAILABLE, f"Error while dialing: {error.message}") from None
            raise
        if token:
            _show(connection, ((b"token", token.encode()),))
        return connection

    async def _ask_token(self, connection: ClientConnection) -> str:
        request = pb.AuthenticateRequest(name=self._login.name, password=self._login.password)
        path, decode = METHODS[type(request)]
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        connection.unary(self._request_headers(path, None, ()), request.SerializeToString(), reply, inf)
        try:
            return str(decode(await reply).token)
        except Status as status:
            if status.message == errors.AuthNotEnabled.text:
                return ""
            raise


def _show(connection: ClientConnection, token: Headers) -> None:
    """Have each call on a connection carry the token."""
    unary, open_stream = connection.unary, connection.stream
    connection.unary = lambda headers, *rest: unary(headers + token, *rest)  # type: ignore[method-assign]
    connection.stream = lambda headers, stream: open_stream(headers + token, stream)  # type: ignore[method-assign]


async def ask(channel: Channel, request: Any, timeout: float = ASK_SECONDS) -> Any:
    """The answer; asks again when users or roles changed while the request was on its way, for then nothing has
    happened. Raises Status."""
    path, decode = METHODS[type(request)]
    while True:
        try:
            return decode(await channel.unary(path, request.SerializeToString(), timeout=timeout))
        except Status as status:
            if status.message != errors.AuthOldRevision.text:
                raise
