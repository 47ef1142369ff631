"""Names that the tests of the server share."""

from collections.abc import Awaitable, Callable

from quorate.server import Server

StartServer = Callable[..., Awaitable[Server]]
