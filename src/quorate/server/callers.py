"""Who calls: tokens are issued here, and recognized.

    Authenticate ──► fresh state ──► password, in a thread ──► entry with a token's prefix ──► the token
    a call       ──► its token ──► (its entry is applied here?) ──► Caller

A password takes bcrypt some 50 ms on purpose. That is done by a few threads beside the loop, and what waits for them is
bounded, so that a flood of logins costs those who log in and nobody else.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from quorate.api import errors
from quorate.api.pb import raft_internal_pb2, rpc_pb2
from quorate.apply import Applied
from quorate.auth import Caller, SignedTokens, check_password, fingerprint, hash_password
from quorate.auth.passwords import SALT_BYTES, usable_cost
from quorate.auth.simple_tokens import index_of, token_prefix
from quorate.auth.token_options import SIGNED
from quorate.pkg.jsonlog import get_log

if TYPE_CHECKING:
    from quorate.server.member import Server

log = get_log(__name__)

T = TypeVar("T")

HASHERS = max(1, (os.cpu_count() or 1) // 2)
"""Threads for passwords: half of the machine stays for everything else."""
MAX_HASHES = 1000
"""Passwords that wait for a thread; more are refused."""
MAX_EARLY = 10_000
"""Calls that wait for the entry of their token; more are refused."""
SWEEP_SECONDS = 1.0


class Callers:
    """Issues and recognizes the tokens of one member."""

    def __init__(self, server: Server) -> None:
        config = server.config
        self._server = server
        self._auth = server.auth
        self._loop = asyncio.get_running_loop()
        self._signed = SignedTokens(config.auth_token) if config.auth_token.kind == SIGNED else None
        self._dice = server.world.secrets
        self._cost = usable_cost(config.bcrypt_cost)
        if self._cost != config.bcrypt_cost:
            log.warn("use default bcrypt cost instead of the invalid given cost", given_cost=config.bcrypt_cost)
        self._threads = ThreadPoolExecutor(HASHERS, "password")
        self._hashing = 0
        self._stopped = False
        self._early: dict[asyncio.Future[None], int] = {}
        """Calls with a token from an entry that is not applied here yet, and its index."""
        self._sweep_at = 0.0

    def stop(self) -> None:
        self._stopped = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._wake(lambda index: True)

    # Recognize.

    async def of_token(self, token: str) -> Caller:
        """Who was given this token. Raises InvalidAuthToken."""
        if self._signed is not None:
            caller = self._signed.verify(token, time.time())
        else:
            name = self._auth.tokens.use(token, self._loop.time()) or await self._use_later(token)
            caller = Caller(name, self._auth.revision) if name else None
        if caller is None:
            log.warn("invalid auth token", token_fingerprint=fingerprint(token))
            raise errors.InvalidAuthToken()
        return caller

    def of_certificate(self, name: str) -> Caller:
        """The user that the common name of a verified certificate stands for."""
        return Caller(name, self._auth.revision)

    async def _use_later(self, token: str) -> str | None:
        """The user of a token that another member has issued a moment ago: wait for its entry to arrive here."""
        index = index_of(token)
        if index is None or index <= self._server.applied_index or len(self._early) >= MAX_EARLY:
            return None
        arrived: asyncio.Future[None] = self._loop.create_future()
        timer = self._loop.call_later(self._server.config.request_timeout, _settle, arrived)
        self._early[arrived] = index
        try:
            await arrived
        finally:
            timer.cancel()
            self._early.pop(arrived, None)
        return self._auth.tokens.use(token, self._loop.time())

    def applied(self, index: int) -> None:
        """Entries up to `index` are applied."""
        if self._early:
            self._wake(lambda wanted: wanted <= index)

    def tick(self, now: float) -> None:
        """Forget tokens that have run out."""
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_SECONDS
            self._auth.tokens.expire(now)

    def _wake(self, is_due: Callable[[int], bool]) -> None:
        for arrived in [arrived for arrived, index in self._early.items() if is_due(index)]:
            _settle(arrived)

    # Issue.

    async def authenticate(self, request: rpc_pb2.AuthenticateRequest) -> Applied:
        """Check a name and a password; the reply holds a token.

        Raises AuthNotEnabled, AuthFailed, PasswordForNone, TokenVerifyOnly, TooManyRequests, and what reads and
        proposals raise.
        """
        await self._server.fresh()
        while True:
            revision = await self._check_password(request.name, request.password)
            prefix = "" if self._signed is not None else token_prefix(self._dice.randrange)
            entry = raft_internal_pb2.InternalAuthenticateRequest(name=request.name, simple_token=prefix)
            applied = await self._server.propose("authenticate", entry)
            if self._auth.revision == revision:  # else the password may have been another one by then
                break
        if self._signed is None:
            return applied
        token = self._signed.sign(Caller(request.name, revision), time.time())
        return applied._replace(body=rpc_pb2.AuthenticateResponse(token=token).SerializeToString())

    async def hash_password(self, password: str) -> bytes:
        """The hash to be stored. Raises PasswordTooLong, TooManyRequests, Stopped."""
        salt = self._dice.randbytes(SALT_BYTES)
        return await self._in_thread(lambda: hash_password(password, self._cost, salt))

    async def _check_password(self, name: str, password: str) -> int:
        """The auth revision at which the password was right."""
        if not self._auth.enabled:
            raise errors.AuthNotEnabled()
        try:
            user = self._auth.user(name)
        except errors.UserNotFound:
            raise errors.AuthFailed() from None
        if user.options.no_password:
            raise errors.PasswordForNone()
        revision, hashed = self._auth.revision, user.password
        if not await self._in_thread(lambda: check_password(password, hashed)):
            log.warn("invalid authentication was requested", user=name)
            raise errors.AuthFailed()
        return revision

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._stopped:
            raise errors.Stopped()
        if self._hashing >= MAX_HASHES:
            raise errors.TooManyRequests()
        self._hashing += 1
        done = self._loop.run_in_executor(self._threads, work)
        try:
            return await done
        finally:
            done.cancel()  # who has gone away need not be served
            self._hashing -= 1


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
