"""Calls that no gRPC library makes: lengths that lie, messages too few or too many, headers that are missing or wrong.

The library in 3.5.1 is older than the one whose answers are followed; where they differ, both are written down.
"""

from __future__ import annotations

import pytest
from e2e_rpc import Client
from e2e_wire import USUAL, Headers, Reply, exchange, message, with_header

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.process import MemberProcess

pytestmark = pytest.mark.real

GET = pb.RangeRequest(key=b"k", serializable=True).SerializeToString()
GOOD = message(GET)
LIMIT = 2_097_152
RESET = ("", "", 1, False)
"""A stream that ended with PROTOCOL_ERROR."""


def said(grpc_status: int, http_status: int = 200) -> tuple[str, str, None, bool]:
    return str(http_status), str(grpc_status), None, False


Case = tuple[str, Headers, bytes]

ALIKE: list[Case] = [
    ("a good call", USUAL, GOOD),
    ("a length below that of the message", USUAL, message(GET, size=len(GET) - 1)),
    ("a length above the limit", USUAL, message(b"", size=LIMIT + 1)),
    ("the greatest length", USUAL, message(b"", size=0xFFFFFFFF)),
    ("compressed, it says, without a method", USUAL, message(GET, flag=1)),
    ("a flag that there is not", USUAL, message(GET, flag=2)),
    ("all flags", USUAL, message(GET, flag=255)),
    ("compressed by nothing", with_header("grpc-encoding", "identity"), message(GET, flag=1)),
    ("compressed by gzip, it says", with_header("grpc-encoding", "gzip"), message(GET, flag=1)),
    ("compressed by what nobody knows", with_header("grpc-encoding", "x"), GOOD),
    ("content type with a message format", with_header("content-type", "application/grpc+proto"), GOOD),
    ("no te", with_header("te", None), GOOD),
    ("no authority", with_header(":authority", None), GOOD),
    ("no method", with_header(":method", None), GOOD),
    ("a path with two slashes", with_header(":path", "//etcdserverpb.KV/Range"), GOOD),
    ("a path that goes on", with_header(":path", "/etcdserverpb.KV/Range/"), GOOD),
    ("a path with a query", with_header(":path", "/etcdserverpb.KV/Range?a"), GOOD),
    ("a path with an escape", with_header(":path", "/etcdserverpb.KV/%52ange"), GOOD),
    ("a header in capitals", with_header("X-Up", "a"), GOOD),
    ("the longest timeout", with_header("grpc-timeout", "99999999H"), GOOD),
]

OTHERWISE: list[tuple[str, Headers, bytes, tuple[object, ...], tuple[object, ...]]] = [
    ("a length beyond the end", USUAL, message(GET, size=len(GET) + 1), said(2), said(13)),
    ("half a length", USUAL, b"\0\0\0", said(2), said(13)),
    ("no message", USUAL, b"", said(2), said(13)),
    ("two messages", USUAL, GOOD + GOOD, said(0), said(13)),
    ("no length and a message", USUAL, message(GET, size=0), said(3), said(13)),
    ("a content type of others", with_header("content-type", "application/json"), GOOD, RESET, said(3, 415)),
    ("no content type", with_header("content-type", None), GOOD, RESET, said(3, 415)),
    ("method GET", with_header(":method", "GET"), GOOD, RESET, said(13, 405)),
    ("te that is not trailers", with_header("te", "x"), GOOD, said(0), RESET),
    ("a path without a slash", with_header(":path", "etcdserverpb.KV/Range"), GOOD, said(0), said(12)),
    ("a path of one word", with_header(":path", "/Range"), GOOD, said(8), said(12)),
    ("an empty path", with_header(":path", ""), GOOD, said(8), RESET),
    ("no path", with_header(":path", None), GOOD, said(8), RESET),
    ("no scheme", with_header(":scheme", None), GOOD, said(0), RESET),
    ("a header of HTTP/1", with_header("connection", "close"), GOOD, said(0), RESET),
    ("a timeout without a unit", with_header("grpc-timeout", "1"), GOOD, RESET, said(13, 400)),
    ("a timeout of nine digits", with_header("grpc-timeout", "123456789S"), GOOD, RESET, said(13, 400)),
    ("binary metadata that is none", with_header("x-bin", "!!!"), GOOD, said(0), said(13, 400)),
]


def ask(member: MemberProcess, headers: Headers, body: bytes) -> Reply:
    reply = exchange(member.client_port, headers, body)
    assert member.alive()
    return reply


def test_wrong_frames_and_headers_are_refused_as_real_etcd_or_its_newer_library_refuses_them(
    real: MemberProcess, subject: MemberProcess, subject_is_real: bool
) -> None:
    with Client(subject.endpoint) as client:
        before = client.call("HashKV", pb.HashKVRequest()).message
        found = []
        for name, headers, body in ALIKE:
            left, right = ask(real, headers, body), ask(subject, headers, body)
            if left.status != right.status or not left.headers.get("grpc-message", "").startswith(text_of(right)):
                found.append(f"{name}: {left} and {right}")
        for name, headers, body, old, new in OTHERWISE:
            left, right = ask(real, headers, body), ask(subject, headers, body)
            if left.status != old or right.status != (old if subject_is_real else new):
                found.append(f"{name}: {left} and {right}")
        assert not found, "\n".join(found)
        assert client.call("HashKV", pb.HashKVRequest()).message == before


def text_of(reply: Reply) -> str:
    """The message of a refusal without what the library below has to say of bytes."""
    return reply.headers.get("grpc-message", "").partition("unexpected EOF")[0].partition(": Error")[0]


@pytest.mark.parametrize("body", [message(GET, size=len(GET) - 1), message(b"", size=LIMIT + 1), message(GET, flag=2)])
def test_a_refused_call_leaves_the_connection_for_others(subject: MemberProcess, body: bytes) -> None:
    assert exchange(subject.client_port, USUAL, body, repeat=50).status[:2] != ("200", "0")
    assert exchange(subject.client_port, USUAL, GOOD, repeat=50).status == said(0)
