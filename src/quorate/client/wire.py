"""From a request to an answer, over several members: whom to ask, with which token, and when to ask again.

    ask ──► the next member that is not left alone ──► answer
                  │ failed: leave it alone for a while, the longer the oftener ──► `retry.cause_of`: again, or raise

Belongs to the event loop of its first call. Constructing does no I/O.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Any, NamedTuple

from quorate.api import errors
from quorate.api.errors import Code, EtcdError
from quorate.api.pb import rpc_pb2 as pb
from quorate.client.endpoints import Endpoint
from quorate.client.errors import Closed, DeadlineExceeded, error_of
from quorate.client.methods import METHODS, Method, repeatable
from quorate.client.retry import Cause, Retry, cause_of
from quorate.transport.grpc import Channel, ClientStream, Status
from quorate.transport.grpc.client import Refused

MAX_LOGINS = 3
"""Tokens that are refused in one call before its caller hears of it."""
FIRST_SHARE = 0.4
"""Of the time of a call that may be repeated, for its first try: the rest is left for another member."""
SILENT_SECONDS = 3.0
"""For how long a member is left alone, where there are others, that did not answer in time."""
REQUIRE_LEADER = ("hasleader", "true")
"""Streams end when their member loses its leader, so that they can go on elsewhere."""

Dial = Callable[[Endpoint], Channel]
Pairs = tuple[tuple[str, str], ...]


class Login(NamedTuple):
    name: str
    password: str


class End:
    """A member, as a caller knows it: its channel, how often it has failed in a row, until when it is left alone."""

    __slots__ = ("channel", "endpoint", "failures", "rest_until")

    def __init__(self, endpoint: Endpoint, channel: Channel) -> None:
        self.endpoint = endpoint
        self.channel = channel
        self.failures = 0
        self.rest_until = 0.0


class Wire:
    """See the module. `timeout` in seconds is what a call gets that names none."""

    def __init__(
        self, endpoints: Sequence[Endpoint], dial: Dial, login: Login | None, timeout: float, retry: Retry
    ) -> None:
        self.timeout = timeout
        self.retry = retry
        self.closed = False
        self._dial = dial
        self._login = login
        self._dice = Random()
        self._ends = [End(endpoint, dial(endpoint)) for endpoint in endpoints]
        self._turn = self._dice.randrange(len(self._ends))
        self._token: Pairs | None = () if login is None else None
        """What each call carries; None while it is not known."""
        self._logging_in: asyncio.Task[Pairs] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """That of the first call; before Python 3.12, asking for the running one takes a call of the system."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    @property
    def endpoints(self) -> list[str]:
        return [str(end.endpoint) for end in self._ends]

    def set_endpoints(self, endpoints: Sequence[Endpoint]) -> list[Channel]:
        """Ask these from now on. What it returns is to be closed."""
        known = {end.endpoint: end for end in self._ends}
        self._ends = [known.pop(each) if each in known else End(each, self._dial(each)) for each in endpoints]
        return [end.channel for end in known.values()]

    def end_of(self, endpoint: str) -> End | None:
        """The member at an endpoint, as `endpoints` has it."""
        return next((end for end in self._ends if str(end.endpoint) == endpoint), None)

    def call(
        self, request: Any, *, timeout: float | None = None, retry: Retry | None = None, at: End | None = None
    ) -> Coroutine[Any, Any, Any]:
        """The answer of the next member, or of that one. Raises EtcdError."""
        method = METHODS[type(request)]
        return self.ask(method, request.SerializeToString(), timeout, retry, at, request)

    async def ask(
        self,
        method: Method,
        body: bytes,
        timeout: float | None = None,
        retry: Retry | None = None,
        at: End | None = None,
        request: Any = None,
    ) -> Any:
        """The same for a request whose bytes are there; the message itself tells whether it may be made twice where
        the method does not."""
        seconds = self.timeout if timeout is None else timeout
        begun = (self._loop or self.loop).time()
        end = at or self.pick()
        token = self._token
        if token is None:
            token = await self._log_in(begun + seconds)
        policy = retry or self.retry
        limit = seconds
        if method.repeatable and at is None and len(self._ends) > 1 and policy.attempts > 1:
            limit = seconds * FIRST_SHARE
        channel = end.channel
        try:
            exchange = channel.start(method.path, body, limit, token)
            if exchange is None:
                answer = await channel.unary(method.path, body, timeout=limit, metadata=token)
            else:
                try:
                    answer = await exchange.future
                except asyncio.CancelledError:
                    exchange.give_up()
                    raise
                except Refused:
                    answer = await channel.unary(method.path, body, timeout=limit, metadata=token)
        except Status as status:
            may_repeat = method.repeatable or (request is not None and repeatable(request))
            return await self._ask_again(method, body, may_repeat, status, end, begun + seconds, policy, at)
        if end.failures:
            end.failures = 0
        return method.decode(answer)

    async def _ask_again(
        self,
        method: Method,
        body: bytes,
        may_repeat: bool,
        status: Status,
        end: End,
        deadline: float,
        policy: Retry,
        at: End | None,
    ) -> Any:
        """Go on after a first try that ended with `status`."""
        tries, logins = 1, 0
        while True:
            cause = cause_of(status)
            logins += cause is Cause.TOKEN
            self.failed(end, cause, silent=status.code == Code.DEADLINE_EXCEEDED)
            again = self._may_retry(cause, may_repeat, logins) and tries < policy.attempts
            if again:
                await self.rest(deadline)
            left = deadline - self.loop.time()
            if not again or left <= 0:
                raise self._final(status) from None
            end = at or self.pick()
            token = self._token if self._token is not None else await self._log_in(deadline)
            tries += 1
            try:
                answer = await end.channel.unary(method.path, body, timeout=left, metadata=token)
            except Status as failure:
                status = failure
            else:
                end.failures = 0
                return method.decode(answer)

    def _may_retry(self, cause: Cause, may_repeat: bool, logins: int) -> bool:
        if self.closed:
            return False
        if cause is Cause.TOKEN:
            return self._login is not None and logins < MAX_LOGINS
        return cause is Cause.NOT_SENT or (cause is Cause.UNKNOWN_OUTCOME and may_repeat)

    def _final(self, status: Status) -> EtcdError:
        if self.closed:
            return Closed()
        return error_of(status)

    async def stream(
        self, path: str, *, timeout: float | None = None, at: End | None = None
    ) -> tuple[End, ClientStream]:
        """Open a stream at the next member, or at that one. Raises EtcdError when no token can be had."""
        if self.closed:
            raise Closed()
        token = self._token
        if token is None:
            token = await self._log_in(self.loop.time() + self.timeout)
        end = at or self.pick()
        return end, end.channel.stream(path, timeout=timeout, metadata=(*token, REQUIRE_LEADER))

    def pick(self) -> End:
        """The next member that has not failed lately; else the one that has rested longest."""
        ends = self._ends
        self._turn += 1
        count = len(ends)
        end = ends[self._turn % count]
        if not end.failures or count == 1:
            return end
        now = self.loop.time()
        for step in range(count):
            other = ends[(self._turn + step) % count]
            if other.rest_until <= now:
                return other
        return min(ends, key=lambda each: each.rest_until)

    def failed(self, end: End, cause: Cause, *, silent: bool = False) -> None:
        """Take note that a member did not serve a call, perhaps did not say a word, or refused its token."""
        if cause is Cause.TOKEN and self._login is not None:
            self._token = None
        elif cause in (Cause.NOT_SENT, Cause.UNKNOWN_OUTCOME):
            end.failures += 1
            pause = max(self.retry.pause(end.failures, self._dice), SILENT_SECONDS if silent else 0.0)
            end.rest_until = self.loop.time() + pause

    def works(self, end: End) -> None:
        """A member answers on a stream."""
        end.failures = 0

    async def rest(self, deadline: float | None = None) -> None:
        """Wait until some member may be asked, but not beyond the deadline."""
        now = self.loop.time()
        until = min(end.rest_until if end.failures else now for end in self._ends)
        if deadline is not None:
            until = min(until, deadline)
        if until > now:
            await asyncio.sleep(until - now)

    async def close(self) -> None:
        """End all connections; calls under way fail."""
        self.closed = True
        if self._logging_in is not None:
            self._logging_in.cancel()
        await asyncio.gather(*(end.channel.close() for end in self._ends))

    # Tokens.

    async def _log_in(self, deadline: float) -> Pairs:
        """The token, asked for once for all that wait. Raises EtcdError."""
        if self._logging_in is None:
            self._logging_in = asyncio.create_task(self._ask_token())
            self._logging_in.add_done_callback(self._logged_in)
        login = self._logging_in
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(login)
        except TimeoutError:
            raise DeadlineExceeded() from None
        except asyncio.CancelledError:
            if self.closed and login.cancelled():
                raise Closed() from None
            raise
        except Status as status:
            raise self._final(status) from None

    def _logged_in(self, task: asyncio.Task[Pairs]) -> None:
        self._logging_in = None
        if not task.cancelled() and task.exception() is None:
            self._token = task.result()

    async def _ask_token(self) -> Pairs:
        assert self._login is not None
        request = pb.AuthenticateRequest(name=self._login.name, password=self._login.password)
        path, decode, _ = METHODS[type(request)]
        deadline = self.loop.time() + self.timeout
        while True:
            end = self.pick()
            try:
                answer = await end.channel.unary(path, request.SerializeToString(), timeout=self.timeout)
            except Status as status:
                if status.message == errors.AuthNotEnabled.text:
                    return ()
                cause = cause_of(status)
                self.failed(end, cause)
                late = self.loop.time() >= deadline
                if late or cause not in (Cause.NOT_SENT, Cause.UNKNOWN_OUTCOME):
                    raise
            else:
                return (("token", str(decode(answer).token)),)
            await self.rest(deadline)
