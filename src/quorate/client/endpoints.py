"""Where members are, as people write it: `host:port`, `http://host:port`, `https://host:port`, `unix:///path`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

DEFAULT_PORT = 2379


class Endpoint(NamedTuple):
    """One address. `port` is 0 for a Unix socket, whose path is then `host`."""

    host: str
    port: int
    encrypted: bool

    def __str__(self) -> str:
        if not self.port:
            return f"{'unixs' if self.encrypted else 'unix'}://{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.encrypted else 'http'}://{host}:{self.port}"


def parse_endpoints(given: str | Iterable[str], encrypted: bool) -> list[Endpoint]:
    """One or more endpoints, with commas between them or one by one. Without a scheme, `encrypted` decides.

    Raises ValueError.
    """
    texts = given.split(",") if isinstance(given, str) else list(given)
    found = [_parse(text.strip(), encrypted) for text in texts if text.strip()]
    if not found:
        raise ValueError("no endpoint is given")
    return found


def _parse(text: str, encrypted: bool) -> Endpoint:
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = ("https" if encrypted else "http"), text
    if scheme in ("unix", "unixs"):
        if not rest:
            raise ValueError(f"endpoint {text!r} has no path")
        return Endpoint(rest, 0, scheme == "unixs")
    if scheme not in ("http", "https"):
        raise ValueError(f"endpoint {text!r}: scheme must be http, https, unix or unixs")
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"endpoint {text!r}: {error}") from None
    if not host or parts.username or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"endpoint {text!r} is not host:port")
    return Endpoint(host, DEFAULT_PORT if port is None else port, scheme == "https")
