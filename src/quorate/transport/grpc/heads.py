"""The head of a request: what its header block asks for, judged once per block.

A connection sends the same block over and over (the machine hands out the same tuple then), so the judgement is kept
by the tuple's identity. Rules: gRPC over HTTP/2 protocol, "Requests"; the refusals are worded as grpc-go words them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from quorate.api.errors import Code
from quorate.transport.http2 import Headers

from .metadata import Metadata, decode_timeout
from .methods import Context, Method
from .status import trailers_of

CONTENT_TYPE = b"application/grpc"

RESPONSE_HEADERS: Headers = ((b":status", b"200"), (b"content-type", CONTENT_TYPE))
GZIP_RESPONSE_HEADERS: Headers = (*RESPONSE_HEADERS, (b"grpc-encoding", b"gzip"))


class Head(NamedTuple):
    """A request that can be served."""

    headers: Headers
    method: Method
    path: str
    metadata: Metadata
    timeout: float | None
    encoding: str
    context: Context | None = None
    """Shared by the calls with this head; None when they have deadlines and each needs its own."""

    @property
    def gzip(self) -> bool:
        """Whether the caller compresses; then so do the replies."""
        return self.encoding == "gzip"


class Refusal(NamedTuple):
    """A request that cannot: the answer is a head that is also the trailers."""

    headers: Headers
    answer: Headers


def judge(headers: Headers, methods: Mapping[str, Method], services: frozenset[str]) -> Head | Refusal:
    """What to do with a request, from its headers alone."""
    fields = dict(headers)
    if fields.get(b":method") != b"POST":
        method = fields.get(b":method", b"").decode("latin-1")
        text = f'Received a HEADERS frame with :method "{method}" which should be POST'
        return refusal(headers, Code.INTERNAL, text, http_status=405)
    kind = fields.get(b"content-type", b"")
    if not is_grpc(kind):
        text = f'invalid gRPC request content-type "{kind.decode("latin-1")}"'
        return refusal(headers, Code.INVALID_ARGUMENT, text, http_status=415)
    try:
        timeout = decode_timeout(fields[b"grpc-timeout"]) if b"grpc-timeout" in fields else None
        metadata = Metadata.of_headers(headers)
    except ValueError as error:
        return refusal(headers, Code.INTERNAL, str(error), http_status=400)
    path = fields.get(b":path", b"").decode("utf-8", "replace")
    found = methods.get(path)
    if found is None:
        return refusal(headers, Code.UNIMPLEMENTED, unknown(path, services))
    encoding = fields.get(b"grpc-encoding", b"").decode("latin-1")
    if encoding not in ("", "identity", "gzip"):
        text = f'grpc: Decompressor is not installed for grpc-encoding "{encoding}"'
        return refusal(headers, Code.UNIMPLEMENTED, text)
    return Head(headers, found, path, metadata, timeout, encoding)


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


def refusal(headers: Headers, code: int, text: str, http_status: int = 200) -> Refusal:
    """A trailers-only answer."""
    return Refusal(headers, trailers_only(code, text, http_status))


@lru_cache(maxsize=256)
def trailers_only(code: int, text: str, http_status: int = 200) -> Headers:
    """The whole answer to a call that has no messages in one block."""
    start = RESPONSE_HEADERS if http_status == 200 else ((b":status", b"%d" % http_status), RESPONSE_HEADERS[1])
    return start + trailers_of(code, text)
