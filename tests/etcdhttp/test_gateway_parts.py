"""Headers as metadata and deadlines; a handler's waits and its end, without a member."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quorate.api import errors
from quorate.etcdhttp.gateway.headers import context_of
from quorate.etcdhttp.gateway.status import http_status, refusal, to_status
from quorate.etcdhttp.gateway.unary import call_unary
from quorate.transport.grpc import Context, Status, Unary
from quorate.transport.grpc.tally import MethodTally
from quorate.transport.web import HttpRequest


def context(*headers: tuple[str, str], now: float = 0.0, **extra: Any) -> Context:
    return context_of(HttpRequest("POST", "/", headers, peer="1.2.3.4:5", extra=extra.get), "/a.B/C", now)


def test_headers_become_metadata_as_in_the_grpc_gateway() -> None:
    made = context(
        ("grpc-metadata-token", "t"),
        ("grpc-metadata-hasleader", "true"),
        ("grpc-metadata-raw-bin", "AQI"),
        ("authorization", "Bearer x"),
        ("accept", "*/*"),
        ("x-other", "1"),
        ("grpc-timeout", "5S"),
        now=100.0,
    )
    assert list(made.metadata) == [
        ("token", "t"),
        ("hasleader", "true"),
        ("raw-bin", b"\x01\x02"),
        ("grpcgateway-authorization", "Bearer x"),
        ("authorization", "Bearer x"),
        ("grpcgateway-accept", "*/*"),
    ]
    assert (made.path, made.peer, made.deadline) == ("/a.B/C", "1.2.3.4:5", 105.0)


def test_a_certificate_is_not_shown_to_handlers() -> None:
    made = context(peercert={"subject": ()}, ssl_object=object(), cipher="c")
    assert (made.extra("peercert"), made.extra("ssl_object"), made.extra("cipher")) == (None, None, "c")


@pytest.mark.parametrize(
    ("given", "deadline"),
    [("1H", 3600.0), ("2M", 120.0), ("250m", 0.25), ("5000000000n", 5.0), ("1n", 0.0), ("0S", None), ("", None)],
)
def test_timeouts_have_units(given: str, deadline: float | None) -> None:
    assert context(("grpc-timeout", given)).deadline == deadline


@pytest.mark.parametrize("given", ["zzz", "S", "5", "-1S", "1.5S", "١S", "5s", "1" * 19 + "n"])
def test_a_timeout_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(Status) as caught:
        context(("grpc-timeout", given))
    assert (caught.value.code, caught.value.message) == (3, f"invalid grpc-timeout: {given}")


def test_binary_metadata_that_is_no_base64_is_refused() -> None:
    with pytest.raises(Status) as caught:
        context(("grpc-metadata-a-bin", "!"))
    assert caught.value.code == 3


def test_an_error_nobody_foresaw_is_told_to_the_log_and_not_to_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    told = refusal(to_status(KeyError("secret"), "/a.B/C"))
    assert (told.status, told.body) == (500, b'{"error":"internal error","code":13,"message":"internal error"}')
    assert "secret" in caplog.text
    assert http_status(to_status(errors.NoLeader(), "").code) == 503
    assert http_status(to_status(asyncio.CancelledError(), "").code) == 499


async def test_what_a_cancelled_handler_waited_for_goes_on_for_others() -> None:
    shared: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    ended: list[str] = []

    async def handle(request: bytes, context: Context) -> bytes:
        try:
            return await shared
        finally:
            ended.append("yes")

    method = Unary(bytes, handle)
    tally = MethodTally(method)
    calls = [asyncio.ensure_future(call_unary(method, b"", context(), tally)) for _ in range(2)]
    await asyncio.sleep(0)
    calls[0].cancel()
    await asyncio.wait(calls[:1])
    assert calls[0].cancelled() and ended == ["yes"] and not shared.done()
    shared.set_result(b"reply")
    assert await calls[1] == b"reply"
    assert (tally.started, tally.handled(0), tally.handled(1)) == (2, 1, 1)


async def test_a_handler_whose_wait_is_given_up_is_a_cancelled_call() -> None:
    given_up: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def handle(request: bytes, context: Context) -> bytes:
        await asyncio.sleep(0)
        return await given_up

    method = Unary(bytes, handle)
    tally = MethodTally(method)
    asyncio.get_running_loop().call_later(0.01, given_up.cancel)
    with pytest.raises(Status) as caught:
        await call_unary(method, b"", context(), tally)
    assert (caught.value.code, caught.value.message) == (1, "context canceled")
    assert (tally.started, tally.handled(1)) == (1, 1)
