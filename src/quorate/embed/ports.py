"""Ports that the system chooses: URLs with port 0 are bound first, and every setting then names what was got."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

from quorate.embed.config import Config
from quorate.embed.errors import ConfigError

Hold = Callable[[str], str]


def is_free(url: str) -> bool:
    """Whether `url` leaves the port to the system."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and parts.port == 0


def endpoint(url: str) -> str:
    """`host:port` of an http or https URL; others as they are."""
    parts = urlsplit(url)
    return parts.netloc if parts.scheme in ("http", "https") else url


def with_port(url: str, port: int) -> str:
    """The same URL with another port."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return urlunsplit(parts._replace(netloc=f"{host}:{port}"))


def settle(config: Config, hold: Hold) -> Config:
    """`config` with real ports for those left open. `hold` binds one such URL, keeps the socket and returns the URL
    with its port.

    What is advertised with port 0 gets the port of the listener in the same place of its list. Raises ConfigError,
    and OSError from `hold`.
    """
    peers = _bind_free(config.listen_peer_urls, hold)
    clients = _bind_free(config.listen_client_urls, hold)
    advertised = _follow(config.initial_advertise_peer_urls, peers, "initial_advertise_peer_urls")
    initial = config.initial_cluster
    if not initial and advertised != config.initial_advertise_peer_urls:
        initial = ",".join(f"{config.name}={url}" for url in advertised)
    told = config.advertise_client_urls
    return replace(
        config,
        listen_peer_urls=peers,
        listen_client_urls=clients,
        listen_client_http_urls=_bind_free(config.listen_client_http_urls, hold),
        listen_metrics_urls=_bind_free(config.listen_metrics_urls, hold),
        initial_advertise_peer_urls=advertised,
        advertise_client_urls=None if told is None else _follow(told, clients, "advertise_client_urls"),
        initial_cluster=initial,
    )


def _bind_free(urls: Sequence[str], hold: Hold) -> list[str]:
    return [hold(url) if is_free(url) else url for url in urls]


def _follow(advertised: Sequence[str], listening: Sequence[str], field: str) -> list[str]:
    """`advertised`, with the ports of `listening` where it names none."""
    urls = []
    for place, url in enumerate(advertised):
        if is_free(url):
            port = urlsplit(listening[place]).port if place < len(listening) else None
            if not port:
                raise ConfigError(f"{field}: nothing listens for {url}")
            url = with_port(url, port)
        urls.append(url)
    return urls
