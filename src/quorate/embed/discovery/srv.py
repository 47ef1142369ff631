"""Discovery by DNS: `--discovery-srv DOMAIN`.

    _etcd-server-ssl._tcp.DOMAIN    members at https URLs
    _etcd-server._tcp.DOMAIN        members at http URLs

With `--discovery-srv-name x` the services are `etcd-server-ssl-x` and `etcd-server-x`. Records do not name members:
this one is that whose address it advertises, the others are numbered.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, NamedTuple

from quorate.embed.discovery.errors import DiscoveryError
from quorate.pkg.jsonlog import get_log
from quorate.pkg.urls import host_port

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

log = get_log(__name__)

SERVICES = (("etcd-server-ssl", "https"), ("etcd-server", "http"))
SECONDS = 10.0
"""For all answers to one question."""

Address = tuple[str, int]


class Target(NamedTuple):
    """What a record names."""

    scheme: str
    host: str
    port: int


def system_resolver() -> Resolver:
    """That of the system's own settings."""
    import dns.asyncresolver

    return dns.asyncresolver.Resolver()


async def discover_srv(domain: str, suffix: str, name: str, urls: list[str]) -> dict[str, list[str]]:
    """Peer URLs by name of the members that DNS names; `urls` are those that this one advertises.

    Raises DiscoveryError.
    """
    found: list[Target] = []
    failures = []
    for service, scheme in SERVICES:
        service = f"{service}-{suffix}" if suffix else service
        try:
            found += await targets(service, scheme, domain)
        except DiscoveryError as err:
            failures.append(str(err))
    if not found:
        log.warn("failed to resolve during SRV discovery", error="; ".join(failures))
        raise DiscoveryError("error setting up initial cluster: " + "; ".join(failures))
    own = {address: url for url in urls for address in await addresses(*host_port(url))}
    cluster: dict[str, list[str]] = {}
    unnamed = 0
    for target in found:
        mine = [own[address] for address in await addresses(target.host, target.port) if address in own]
        if mine and not mine[0].startswith(target.scheme + "://"):
            raise DiscoveryError(
                f"error setting up initial cluster: bootstrap at {target.host}:{target.port} from DNS for "
                f"{domain} has scheme mismatch with expected peer {mine[0]}"
            )
        member = name if mine else str(unnamed)
        unnamed += not mine
        host = f"[{target.host}]" if ":" in target.host else target.host
        cluster.setdefault(member, []).append(f"{target.scheme}://{host}:{target.port}")
    if name not in cluster:
        raise DiscoveryError(f'cannot find local etcd member "{name}" in SRV records')
    log.info("got bootstrap from DNS", domain=domain, cluster=cluster)
    return {member: sorted(set(at)) for member, at in cluster.items()}


async def targets(service: str, scheme: str, domain: str) -> list[Target]:
    """What the records of one service name. Raises DiscoveryError."""
    import dns.exception
    import dns.rdatatype

    question = f"_{service}._tcp.{domain}"
    try:
        answer = await system_resolver().resolve(question, dns.rdatatype.SRV, lifetime=SECONDS)
    except (dns.exception.DNSException, OSError, ValueError) as err:
        words = " ".join(str(err).split()) or type(err).__name__
        raise DiscoveryError(f"error querying DNS SRV records for _{service} lookup {question}: {words}") from None
    records = sorted(
        (record.priority, -record.weight, str(record.target).rstrip("."), record.port) for record in answer
    )
    return [Target(scheme, host, port) for _, _, host, port in records]


async def addresses(host: str, port: int) -> set[Address]:
    """IP addresses and port that a name stands for; none for one that nobody knows."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as err:
        log.warn("failed to resolve URL host", host=host, error=str(err))
        return set()
    return {(str(at[0]), int(at[1])) for *_, at in found}
