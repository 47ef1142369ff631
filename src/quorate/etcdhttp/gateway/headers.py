"""What a web request says beside its body, as a call says it: metadata and a deadline."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

from quorate.api.errors import Code
from quorate.transport.grpc import Context, Metadata, Status
from quorate.transport.grpc.metadata import decode_binary
from quorate.transport.web import HttpRequest

METADATA_PREFIX = "grpc-metadata-"
"""Of headers that become metadata without it."""
WEB_PREFIX = "grpcgateway-"
"""Of metadata that HTTP's own headers become."""
CLOCK_TICK = 1e-3
"""Seconds; the loop's clock counts no finer, so a shorter timeout is over as soon as it begins."""

_WEB_HEADERS = frozenset(
    (
        *("accept", "accept-charset", "accept-language", "accept-ranges", "authorization", "cache-control"),
        *("content-type", "cookie", "date", "expect", "from", "host", "if-match", "if-modified-since"),
        *("if-none-match", "if-schedule-tag-match", "if-unmodified-since", "max-forwards", "origin", "pragma"),
        *("referer", "user-agent", "via", "warning"),
    )
)
_TIMEOUT = re.compile(r"(\d{1,18})([HMSmun])", re.ASCII)
_UNIT = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_SECRET = frozenset(("peercert", "ssl_object"))


def context_of(request: HttpRequest, path: str, now: float) -> Context:
    """The call that a request is. Raises Status."""
    return Context(path, Metadata(tuple(_metadata(request))), _deadline(request, now), request.peer, _Socket(request))


def _metadata(request: HttpRequest) -> Iterator[tuple[str, str | bytes]]:
    for name, value in request.headers:
        if name.startswith(METADATA_PREFIX):
            name = name[len(METADATA_PREFIX) :]
            if name.endswith("-bin"):
                try:
                    yield name, decode_binary(value.encode("latin-1"))
                except ValueError as error:
                    raise Status(Code.INVALID_ARGUMENT, f"invalid binary header {name}: {error}") from None
            else:
                yield name, _text(value)
        elif name in _WEB_HEADERS:
            yield WEB_PREFIX + name, _text(value)
            if name == "authorization":
                yield name, _text(value)


def _text(value: str) -> str:
    """Headers are bytes; metadata is UTF-8 where it can be."""
    return value.encode("latin-1", "replace").decode("utf-8", "surrogateescape")


def _deadline(request: HttpRequest, now: float) -> float | None:
    """Raises Status. A timeout of 0 is none."""
    given = request.header("grpc-timeout")
    if not given:
        return None
    parts = _TIMEOUT.fullmatch(given)
    if parts is None:
        raise Status(Code.INVALID_ARGUMENT, f"invalid grpc-timeout: {given}")
    seconds = int(parts[1]) * _UNIT[parts[2]]
    if not seconds:
        return None
    return now + seconds if seconds >= CLOCK_TICK else now


class _Socket(asyncio.BaseTransport):
    """What a handler may know of the socket. A certificate stands for who sent the request only in gRPC: behind the
    gateway it is often a proxy's."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    def get_extra_info(self, name: Any, default: Any = None) -> Any:
        if name in _SECRET:
            return default
        found = self._request.extra(name)
        return default if found is None else found
