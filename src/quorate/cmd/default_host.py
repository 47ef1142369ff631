"""The address that a member advertises when it listens everywhere and is not told: that of the default route."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from quorate.embed import Config
from quorate.embed.config import DEFAULT_CLIENT_URL, DEFAULT_PEER_URL

EVERYWHERE = "0.0.0.0"
_FAR_AWAY = ("198.51.100.1", 9)
"""An address that only the default route leads to (RFC 5737). Nothing is sent there."""


def default_host() -> str | None:
    """This machine's address on its default route; None if it has none."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(_FAR_AWAY)
            return str(probe.getsockname()[0])
    except OSError:
        return None


def advertise_default_host(config: Config) -> str | None:
    """Put it in the place of localhost where a listener at 0.0.0.0 goes with a default; the address if so."""
    peers = config.initial_advertise_peer_urls == [DEFAULT_PEER_URL] and _port(config.listen_peer_urls)
    clients = config.advertise_client_urls == [DEFAULT_CLIENT_URL] and _port(config.listen_client_urls)
    host = default_host() if peers or clients else None
    if host is None:
        return None
    if peers:
        scheme = urlsplit(config.listen_peer_urls[0]).scheme
        config.initial_advertise_peer_urls = [f"{scheme}://{host}:{peers}"]
    if clients:
        scheme = urlsplit(config.listen_client_urls[0]).scheme
        config.advertise_client_urls = [f"{scheme}://{host}:{clients}"]
    return host


def _port(urls: list[str]) -> int | None:
    """The port of the first of `urls`, if that is everywhere."""
    parts = urlsplit(urls[0])
    return parts.port if parts.hostname == EVERYWHERE else None
