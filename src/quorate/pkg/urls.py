"""URLs that a server listens on or tells others: scheme, host and port, nothing else."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

ANY = "*"
"""In a list of origins or hosts: all of them."""

SCHEMES = ("http", "https", "unix", "unixs")


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_AUTHORITY = re.compile(
    r"(?:(?:[\w.~!$&'()*+;=:-]|%[0-9A-Fa-f]{2})*@)?"  # user
    r"(?:[\w.~!$&'()*+;=<>\"-]*|\[[0-9A-Fa-f:.]+(?:%25[\w.~-]+)?\])"  # host
    r"(?::[0-9]*)?",
    re.ASCII,
)
_FRAGMENT = re.compile(r"(?:[^%\s]|%[0-9A-Fa-f]{2})*")


def parse_urls(text: str) -> list[str]:
    """The URLs of a comma-separated list, sorted and without duplicates, schemes in lower case. Raises ValueError."""
    given = {item.strip() for item in text.split(",")}
    if given == {""}:
        raise ValueError("no valid URLs given")
    return sorted(_check(url) for url in given)


def parse_origins(text: str) -> list[str]:
    """A comma-separated list of URLs, or `*` alone. Raises ValueError."""
    return [ANY] if text.strip() in ("", ANY) else parse_urls(text)


def parse_locations(text: str) -> list[str]:
    """The http and https URLs of a comma-separated list, paths and all; none in an empty one. Raises ValueError."""
    found = [item.strip() for item in text.split(",") if item.strip()]
    for url in found:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise ValueError(f"URL scheme must be http, https, unix, or unixs: {url}")
        if not parts.hostname:
            raise ValueError(f"URL must have a host: {url}")
    return found


def _check(url: str) -> str:
    parts = urlsplit(url)
    scheme, colon, rest = url.partition(":")
    url = scheme.lower() + colon + rest
    if parts.scheme not in SCHEMES:
        raise ValueError(f"URL scheme must be http, https, unix, or unixs: {url}")
    if parts.scheme in ("unix", "unixs"):
        return url
    try:
        port = parts.port
    except ValueError:
        port = None
    if port is None:
        raise ValueError(f'URL address does not have the form "host:port": {url}')
    if parts.path:
        raise ValueError(f"URL must not contain a path: {url}")
    if _CONTROL.search(url) or not (_AUTHORITY.fullmatch(parts.netloc) and _FRAGMENT.fullmatch(parts.fragment)):
        raise ValueError(f"URL holds what no URL can: {url!r}")
    return url


def check_bindable(url: str) -> None:
    """Raises ValueError unless `url` names an address of this machine by IP, as localhost, or as a unix socket."""
    parts = urlsplit(url)
    if parts.scheme in ("unix", "unixs") or parts.hostname in (None, "", "localhost"):
        return
    try:
        ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        raise ValueError(f"expected IP in URL for binding ({url})") from None


def check_advertised(url: str, flag: str) -> None:
    """Raises ValueError when others could not reach `url` because it has no host."""
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and not parts.hostname:
        raise ValueError(f'{flag} "{url}" must be "host:port" (unexpected empty host ({url}))')


def host_port(url: str) -> tuple[str, int]:
    """Host (brackets of an IPv6 address removed) and port of an http or https URL."""
    parts = urlsplit(url)
    assert parts.port is not None, url
    return parts.hostname or "", parts.port


def unix_path(url: str) -> str | None:
    """Path of the socket of a unix or unixs URL: all that follows the scheme. None for other URLs."""
    parts = urlsplit(url)
    return parts.netloc + parts.path if parts.scheme in ("unix", "unixs") else None
