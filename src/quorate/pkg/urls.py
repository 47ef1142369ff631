"""URLs that a server listens on or tells others: scheme, host and port, nothing else."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

ANY = "*"
"""In a list of origins or hosts: all of them."""

SCHEMES = ("http", "https", "unix", "unixs")


def parse_urls(text: str) -> list[str]:
    """The URLs of a comma-separated list, sorted and without duplicates. Raises ValueError."""
    urls = sorted({item.strip() for item in text.split(",")})
    if urls == [""]:
        raise ValueError("no valid URLs given")
    for url in urls:
        _check(url)
    return urls


def parse_origins(text: str) -> list[str]:
    """A comma-separated list of URLs, or `*` alone. Raises ValueError."""
    return [ANY] if text.strip() in ("", ANY) else parse_urls(text)


def _check(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"URL scheme must be http, https, unix, or unixs: {url}")
    if parts.scheme in ("unix", "unixs"):
        return
    try:
        port = parts.port
    except ValueError:
        port = None
    if port is None:
        raise ValueError(f'URL address does not have the form "host:port": {url}')
    if parts.path:
        raise ValueError(f"URL must not contain a path: {url}")


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
