"""A web request and its response, whichever HTTP carries them."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

BODY_LIMIT = 16 * 1_048_576
"""Bytes of a request body; more is answered with 413."""

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())

Fields = Sequence[tuple[str, str]]


@dataclass(slots=True)
class HttpRequest:
    """A request, whole. Header names are lower-case; `path` is percent-decoded, `target` is as it came."""

    method: str
    target: str
    headers: Fields
    body: bytes = b""
    peer: str = ""
    path: str = ""
    query: dict[str, list[str]] = field(default_factory=dict)
    extra: Callable[[str], Any] = lambda name: None
    """What the socket knows: asyncio's `get_extra_info`."""

    def __post_init__(self) -> None:
        parts = urlsplit("//x" + self.target if self.target.startswith("/") else self.target)
        self.path = unquote(parts.path)
        self.query = parse_qs(parts.query, keep_blank_values=True)

    def header(self, name: str) -> str | None:
        """First value of a header (name in lower case), or None."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(slots=True)
class HttpResponse:
    """An answer. A body of bytes gets a Content-Length; an iterator is sent chunk by chunk as it yields."""

    status: int = 200
    headers: Fields = ()
    body: bytes | AsyncIterator[bytes] = b""


HttpHandler = Callable[[HttpRequest], Awaitable[HttpResponse]]


def text_response(status: int, text: str, headers: Fields = ()) -> HttpResponse:
    """A plain-text answer, as Go's http.Error words it: the text and a newline."""
    kind = ("Content-Type", "text/plain; charset=utf-8")
    return HttpResponse(status, (kind, *headers), text.encode() + b"\n")


def http_date() -> str:
    """Now, as the Date field wants it (RFC 9110 §5.6.7)."""
    now = time.gmtime()
    return time.strftime(f"{_DAYS[now.tm_wday]}, %d {_MONTHS[now.tm_mon - 1]} %Y %H:%M:%S GMT", now)


async def answer(handler: HttpHandler, request: HttpRequest) -> HttpResponse:
    """The handler's response, or a 500 when it fails."""
    try:
        return await handler(request)
    except Exception:
        _log.exception("handler of %s %s failed", request.method, request.path)
        return text_response(500, "Internal Server Error")
