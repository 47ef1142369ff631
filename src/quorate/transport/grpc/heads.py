"""The head of a request: what its header block asks for, judged once per block.

Rules: gRPC over HTTP/2 protocol, "Requests"; the refusals are worded as grpc-go words them.
"""

from __future__ import annotations

from asyncio import BaseTransport
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from quorate.api.errors import Code
from quorate.transport.grpc.limits import HEAD_CACHE
from quorate.transport.grpc.metadata import Metadata, decode_timeout
from quorate.transport.grpc.methods import Context, Method, Unary
from quorate.transport.grpc.status import DEADLINE_TEXT, trailers_of
from quorate.transport.grpc.tally import MethodTally
from quorate.transport.http2 import Headers

CONTENT_TYPE = b"application/grpc"

RESPONSE_HEADERS: Headers = ((b":status", b"200"), (b"content-type", CONTENT_TYPE))
GZIP_RESPONSE_HEADERS: Headers = (*RESPONSE_HEADERS, (b"grpc-encoding", b"gzip"))


class Head(NamedTuple):
    """A request that can be served."""

    method: Method
    path: str
    metadata: Metadata
    encoding: str
    tally: MethodTally
    gzip: bool
    """Whether the caller compresses; then so do the replies."""


class Refusal(NamedTuple):
    """A request that cannot: a head that is also the trailers."""

    answer: Headers


class Web(NamedTuple):
    """A request that is not gRPC and is for the web handler."""


class Opening(NamedTuple):
    """A head and the context of one call, or of all calls that look alike when they have no deadline."""

    head: Head | Refusal | Web
    context: Context
    headers: Headers
    """Kept so that its identity stays taken."""
    unary: bool
    """Whether it can be served as soon as its one message is there."""


class HeadBook:
    """What one connection's header blocks ask for.

    A block that repeats is the same tuple, found by its identity. Blocks that differ only in their deadline, or were
    not compressed because they carry a secret, are found by their value.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        tallies: Mapping[str, MethodTally],
        services: frozenset[str],
        web: bool,
        peer: str,
        socket: BaseTransport,
    ) -> None:
        self._methods = methods
        self._tallies = tallies
        self._services = services
        self._web = web
        self._peer = peer
        self._socket = socket
        self._by_identity: dict[int, Opening] = {}
        self._by_value: dict[Headers, Head | Refusal | Web] = {}

    def open(self, headers: Headers, now: float) -> Opening:
        """What to do with a request that came at `now`."""
        known = self._by_identity.get(id(headers))
        if known is not None:
            return known
        rest, timeout = split_timeout(headers)
        head = self._by_value.get(rest)
        if head is None:
            if self._web and CONTENT_TYPE not in dict(rest).get(b"content-type", b""):
                head = Web()
            else:
                head = judge(rest, self._methods, self._tallies, self._services)
            _remember(self._by_value, rest, head)
        if timeout is None:
            opening = self._opening(head, None, headers)
            _remember(self._by_identity, id(headers), opening)
            return opening
        try:
            seconds = decode_timeout(timeout)
        except ValueError as error:
            head, seconds = Refusal(trailers_only(Code.INTERNAL, str(error), 400)), 0.0
        if seconds <= 0 and isinstance(head, Head):
            head = Refusal(trailers_only(Code.DEADLINE_EXCEEDED, DEADLINE_TEXT))
        return self._opening(head, now + seconds, headers)

    def _opening(self, head: Head | Refusal | Web, deadline: float | None, headers: Headers) -> Opening:
        path, metadata = (head.path, head.metadata) if isinstance(head, Head) else ("", _NO_METADATA)
        context = Context(path, metadata, deadline, self._peer, self._socket)
        return Opening(head, context, headers, isinstance(head, Head) and isinstance(head.method, Unary))


_NO_METADATA = Metadata()


def split_timeout(headers: Headers) -> tuple[Headers, bytes | None]:
    """The headers without the grpc-timeout, and its value."""
    for number, (name, value) in enumerate(headers):
        if name == b"grpc-timeout":
            return headers[:number] + headers[number + 1 :], value
    return headers, None


def judge(
    headers: Headers, methods: Mapping[str, Method], tallies: Mapping[str, MethodTally], services: frozenset[str]
) -> Head | Refusal:
    """What a request asks for, from its headers alone."""
    fields = dict(headers)
    if fields.get(b":method") != b"POST":
        method = fields.get(b":method", b"").decode("latin-1")
        text = f'Received a HEADERS frame with :method "{method}" which should be POST'
        return Refusal(trailers_only(Code.INTERNAL, text, 405))
    kind = fields.get(b"content-type", b"")
    if not is_grpc(kind):
        text = f'invalid gRPC request content-type "{kind.decode("latin-1")}"'
        return Refusal(trailers_only(Code.INVALID_ARGUMENT, text, 415))
    try:
        metadata = Metadata.of_headers(headers)
    except ValueError as error:
        return Refusal(trailers_only(Code.INTERNAL, str(error), 400))
    path = fields.get(b":path", b"").decode("utf-8", "replace")
    found = methods.get(path)
    if found is None:
        return Refusal(trailers_only(Code.UNIMPLEMENTED, unknown(path, services)))
    encoding = fields.get(b"grpc-encoding", b"").decode("latin-1")
    if encoding not in ("", "identity", "gzip"):
        text = f'grpc: Decompressor is not installed for grpc-encoding "{encoding}"'
        return Refusal(trailers_only(Code.UNIMPLEMENTED, text))
    return Head(found, path, metadata, encoding, tallies[path], encoding == "gzip")


def unknown(path: str, services: frozenset[str]) -> str:
    """Why no method answers to a path."""
    service, slash, method = path.removeprefix("/").rpartition("/")
    if not path.startswith("/") or not slash:
        return f'malformed method name: "{path}"'
    if service in services:
        return f"unknown method {method} for service {service}"
    return f"unknown service {service}"


def is_grpc(content_type: bytes) -> bool:
    """`application/grpc`, alone or followed by a subtype or parameters."""
    kind = content_type.lower()
    return kind.startswith(CONTENT_TYPE) and kind[len(CONTENT_TYPE) :][:1] in (b"", b"+", b";")


@lru_cache(maxsize=256)
def trailers_only(code: int, text: str, http_status: int = 200) -> Headers:
    """The whole answer to a call that has no messages in one block."""
    start = RESPONSE_HEADERS if http_status == 200 else ((b":status", b"%d" % http_status), RESPONSE_HEADERS[1])
    return start + trailers_of(code, text)


def _remember(book: dict[Any, Any], key: object, value: object) -> None:
    """Keep an entry; a full book starts anew, because what repeats is soon in it again."""
    if len(book) >= HEAD_CACHE:
        book.clear()
    book[key] = value
