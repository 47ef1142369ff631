"""Origins and hosts on the client listeners."""

from __future__ import annotations

import pytest

from quorate.etcdhttp import AccessControl
from quorate.pkg.urls import parse_origins
from quorate.transport.web import HttpRequest, HttpResponse


async def serve(request: HttpRequest) -> HttpResponse:
    return HttpResponse(200, [("X", "y")], b"served")


HOSTS = ("a.com", "127.0.0.1", "::1")


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("a.com", True),
        ("a.com:2379", True),
        ("127.0.0.1:2379", True),
        ("[::1]:2379", True),
        ("A.com", False),
        ("localhost:2379", False),
        ("a.com.evil.com", False),
        ("a.com:x", False),
        ("", False),
    ],
)
async def test_plain_requests_must_name_a_known_host_and_encrypted_ones_need_not(host: str, known: bool) -> None:
    control = AccessControl(serve, ["*"], HOSTS)
    headers = [("host", host)] if host else []
    answer = await control(HttpRequest("GET", "/", headers))
    assert answer.status == (200 if known else 421)
    encrypted = HttpRequest("GET", "/", headers, extra=lambda name: object() if name == "sslcontext" else None)
    assert (await control(encrypted)).status == 200


async def test_an_origin_that_is_not_listed_is_served_without_leave_to_read() -> None:
    control = AccessControl(serve, ["http://a.com:80"], ["*"])
    for origin, allowed in (("http://a.com:80", "http://a.com:80"), ("http://b.com:80", None), (None, None)):
        headers = [("origin", origin)] if origin else []
        answer = await control(HttpRequest("GET", "/", headers))
        told = dict(answer.headers)
        assert (answer.body, told["X"], told.get("Access-Control-Allow-Origin")) == (b"served", "y", allowed)
        asked = await control(HttpRequest("OPTIONS", "/anything", headers))
        assert (asked.status, asked.body) == (200, b"")


def test_origins_are_urls_with_ports_or_all() -> None:
    assert parse_origins("*") == parse_origins("") == ["*"]
    assert parse_origins("http://a.com:80, https://b.com:1") == ["http://a.com:80", "https://b.com:1"]
    with pytest.raises(ValueError, match="host:port"):
        parse_origins("http://a.com")
