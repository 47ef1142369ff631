"""A web request and its response, whichever HTTP carries them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from quorate.transport.body import BodyWriter

BODY_LIMIT = 16 * 1_048_576
"""Bytes of a request body; more is answered with 413."""

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())

Fields = Sequence[tuple[str, str]]
"""Header fields in their order."""

Attach = Callable[[BodyWriter], None]
"""Takes the open end of an answer, once its head is sent."""


class HttpError(Exception):
    """The peer does not speak HTTP, says more than it may, or ended midway."""


@dataclass(slots=True)
class HttpRequest:
    """A request, whole. Header names are lower-case; `path` is percent-decoded, `target` is as it came.

    Where the listener streams the bodies of `path`, `body` is empty and `chunks` gives the body as it comes: at the
    reader's pace, without a limit; raises ConnectionError when the rest will not come.
    """

    method: str
    target: str
    headers: Fields
    body: bytes = b""
    peer: str = ""
    path: str = ""
    query: dict[str, list[str]] = field(default_factory=dict)
    extra: Callable[[str], Any] = lambda name: None
    """What the socket knows: asyncio's `get_extra_info`."""
    chunks: AsyncIterator[bytes] | None = None
    tied: bool = False
    """Set by a handler whose work is void without its caller: it is cancelled as soon as the caller ends its side, be
    it that it could still hear the answer."""

    def __post_init__(self) -> None:
        try:
            parts = urlsplit("//x" + self.target if self.target.startswith("/") else self.target)
        except ValueError:
            parts = SplitResult("", "", self.target, "", "")
        self.path = unquote(parts.path)
        self.query = parse_qs(parts.query, keep_blank_values=True)

    def header(self, name: str) -> str | None:
        """First value of a header (name in lower case), or None."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(slots=True)
class HttpResponse:
    """An answer. A body of bytes gets a Content-Length; an iterator is sent chunk by chunk as it yields, and closed
    (`aclose`, if it has one) when it will not be read on.

    An `Attach` is handed the open end of the body and keeps it; its connection serves no other request. HTTP/1.1 only:
    a caller with HTTP/2 is told so.
    """

    status: int = 200
    headers: Fields = ()
    body: bytes | AsyncIterator[bytes] | Attach = b""
    upgrade: asyncio.Protocol | None = None
    """With status 101: who speaks on the connection from now on. HTTP/1.1 only, and only if the request offers it."""


HttpHandler = Callable[[HttpRequest], Awaitable[HttpResponse]]


def text_response(status: int, text: str, headers: Fields = ()) -> HttpResponse:
    """A plain-text answer, as Go's http.Error words it: the text and a newline."""
    kind = ("Content-Type", "text/plain; charset=utf-8")
    return HttpResponse(status, (kind, *headers), text.encode() + b"\n")


async def close_body(response: HttpResponse) -> None:
    """No more of the body will be sent: what makes it may stop."""
    close = getattr(response.body, "aclose", None)
    if close is not None:
        await close()


def find_header(headers: Fields, name: str) -> str | None:
    """First value of a header, whatever the case of its name, or None."""
    name = name.lower()
    return next((value for key, value in headers if key.lower() == name), None)


def http_date() -> str:
    """Now, as the Date field wants it (RFC 9110 §5.6.7)."""
    now = time.gmtime()
    return time.strftime(f"{_DAYS[now.tm_wday]}, %d {_MONTHS[now.tm_mon - 1]} %Y %H:%M:%S GMT", now)


async def answer(handler: HttpHandler, request: HttpRequest) -> HttpResponse:
    """The handler's response, or a 500 when it fails."""
    try:
        return await handler(request)
    except ConnectionError as error:
        if request.chunks is None:
            _log.exception("handler of %s %s failed", request.method, request.path)
            return text_response(500, "Internal Server Error")
        _log.info("body of %s %s from %s did not come whole: %s", request.method, request.path, request.peer, error)
        return text_response(400, "Bad Request")
    except Exception:
        _log.exception("handler of %s %s failed", request.method, request.path)
        return text_response(500, "Internal Server Error")
