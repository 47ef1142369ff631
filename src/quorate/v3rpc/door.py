"""Who calls, by what a call carries: a token in its metadata, else the certificate of its connection.

Asked only while auth is on; `auth.enabled` is the one thing that a call pays for while it is off.
"""

from __future__ import annotations

from quorate.api import errors
from quorate.apply import Guard
from quorate.auth import NOBODY, Caller
from quorate.server import Server
from quorate.transport.grpc import Context, Metadata

TOKEN_KEYS = ("token", "authorization")
"""Metadata that may hold a token; the first one that is there counts."""
BEARER = "Bearer "
"""May stand before it."""
GATEWAY_KEY = "grpcgateway-accept"
"""Metadata of a call from the JSON gateway: the certificate is the gateway's own."""


class Door:
    """Finds out who calls."""

    def __init__(self, server: Server) -> None:
        self.auth = server.auth
        self.guard = Guard(server.auth, server.lessor)
        self._callers = server.callers
        self._by_certificate = server.config.client_cert_auth

    async def find(self, context: Context) -> Caller:
        """Who calls; NOBODY without credentials, and while auth is off. Raises InvalidAuthToken."""
        if not self.auth.enabled:
            return NOBODY
        token = _token(context.metadata)
        if token is not None:
            return await self._callers.of_token(token)
        if self._by_certificate and context.metadata.get(GATEWAY_KEY) is None:
            name = _common_name(context.extra("peercert"))
            if name:
                return self._callers.of_certificate(name)
        return NOBODY

    async def require(self, context: Context) -> Caller:
        """Who calls; while auth is on it must be somebody. Raises UserEmpty, InvalidAuthToken."""
        caller = await self.find(context)
        if self.auth.enabled and not caller.name:
            raise errors.UserEmpty()
        return caller

    async def check_read(self, context: Context, key: bytes, range_end: bytes = b"") -> None:
        """Raises UserEmpty, AuthOldRevision, PermissionDenied, InvalidAuthToken."""
        if self.auth.enabled:
            self.auth.check_read(await self.find(context), key, range_end)

    async def require_admin(self, context: Context) -> None:
        """While auth is on only role root may go on. Raises UserEmpty, UserNotFound, PermissionDenied,
        InvalidAuthToken."""
        if self.auth.enabled:
            self.auth.check_admin(await self.find(context))


def _token(metadata: Metadata) -> str | None:
    for key in TOKEN_KEYS:
        token = metadata.get(key)
        if token is not None:
            return token.removeprefix(BEARER)
    return None


def _common_name(certificate: dict[str, object] | None) -> str:
    """The last common name of a certificate's subject, in the form in which module ssl tells it."""
    found = ""
    subject = (certificate or {}).get("subject", ())
    assert isinstance(subject, tuple)
    for names in subject:
        for kind, value in names:
            if kind == "commonName":
                found = value
    return found
