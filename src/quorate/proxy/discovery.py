"""Members found by DNS: the SRV records of a domain.

_etcd-client-ssl[-NAME]._tcp.DOMAIN     members at https
_etcd-client[-NAME]._tcp.DOMAIN         members at http, believed only by who says so
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from quorate.pkg.jsonlog import get_log
from quorate.proxy.addresses import AddressError
from quorate.proxy.remotes import Target

log = get_log(__name__)

PROBE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Found:
    """What the records of a domain say."""

    encrypted: list[Target]
    plain: list[Target]

    @property
    def targets(self) -> list[Target]:
        return self.encrypted + self.plain

    @property
    def endpoints(self) -> list[str]:
        return [f"https://{target}" for target in self.encrypted] + [f"http://{target}" for target in self.plain]


def query(name: str) -> list[Target]:
    """The SRV records under a name, none when there are none. Raises AddressError when nobody can tell."""
    import dns.exception
    import dns.resolver

    try:
        answer = dns.resolver.resolve(name, "SRV", search=True)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except dns.exception.DNSException as error:
        raise AddressError(f"error querying DNS SRV records for {name}: {error}") from None
    return [
        Target(str(record.target).rstrip("."), record.port, record.priority, record.weight)
        for record in sorted(answer, key=lambda each: (each.priority, -each.weight, str(each.target)))
    ]


def discover(domain: str, name: str, insecure: bool, lookup: Callable[[str], list[Target]] = query) -> Found:
    """The members of a domain; `name` is a suffix of the service. Raises AddressError when there are none."""
    suffix = f"-{name}" if name else ""
    encrypted = lookup(f"_etcd-client-ssl{suffix}._tcp.{domain}")
    plain = lookup(f"_etcd-client{suffix}._tcp.{domain}")
    if plain and not insecure:
        log.warn("left out members that are found without TLS", domain=domain, addresses=[str(each) for each in plain])
        plain = []
    if not encrypted and not plain:
        raise AddressError(f"no endpoints found in the SRV records of {domain}")
    log.info("discovered service via DNS SRV", domain=domain, endpoints=[str(each) for each in encrypted + plain])
    return Found(encrypted, plain)


async def trusted(targets: list[Target], ca_file: str, domain: str) -> list[Target]:
    """Those that show a certificate of the CA for the domain: DNS may be lied to. Raises AddressError, OSError."""
    context = ssl.create_default_context(cafile=ca_file or None)
    good = []
    for target in targets:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                _, writer = await asyncio.open_connection(target.host, target.port, ssl=context, server_hostname=domain)
        except (OSError, TimeoutError) as error:
            log.warn("rejected a discovered endpoint", address=str(target), error=str(error) or "i/o timeout")
            continue
        writer.close()
        good.append(target)
    if not good:
        raise AddressError(f"no endpoint of {domain} could be verified")
    return good
