"""Who the other members of a new cluster are, where that is not said: asked once, before a member has any data.

- `srv`       records in the DNS
- `v2`        an URL: a service that speaks etcd's v2 API
- `v3`        endpoints and a token: keys in another etcd; `registry` is what both have in common

The members that a registry gives and the token that goes into their IDs are the same for all who ask, etcds among them.
"""

from __future__ import annotations

from typing import NamedTuple

from quorate.embed.config import Config
from quorate.embed.discovery.errors import DiscoveryError
from quorate.embed.discovery.srv import discover_srv
from quorate.membership import member_id
from quorate.pkg.jsonlog import get_log

log = get_log(__name__)

__all__ = ["Discovered", "DiscoveryError", "discover"]


class Discovered(NamedTuple):
    """Peer URLs by name, and what keeps this cluster apart from others."""

    initial_cluster: dict[str, list[str]]
    token: str


async def discover(config: Config) -> Discovered:
    """Ask as `config` says; returns when all members are known. Raises DiscoveryError."""
    urls = sorted(config.initial_advertise_peer_urls)
    if config.discovery_srv:
        found = await discover_srv(config.discovery_srv, config.discovery_srv_name, config.name, urls)
        return Discovered(found, config.initial_cluster_token)
    try:
        if config.discovery:
            from quorate.embed.discovery.v2 import discover_v2

            token = ",".join(config.discovery)
            own = f"{member_id(urls, token):x}"
            return Discovered(await discover_v2(config, config.name, urls, own), token)
        from quorate.embed.discovery.v3 import discover_v3

        token = config.discovery_token
        own = f"{member_id(urls, token):x}"
        return Discovered(await discover_v3(config, config.name, urls, own), token)
    except DiscoveryError:
        log.warn("failed to bootstrap; discovery token was already used, or nobody has made it", token=token)
        raise
