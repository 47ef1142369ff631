"""Endpoints from DNS: the SRV records `_etcd-client-ssl._tcp` and `_etcd-client._tcp` of a domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quorate.cmd.ctl.failures import ERROR, Fail

if TYPE_CHECKING:
    from collections.abc import Callable

    Lookup = Callable[[str], list[tuple[str, int]]]
    """Hosts and ports of the SRV records of a name. Raises LookupError."""

SERVICES = (("etcd-client-ssl", "https"), ("etcd-client", "http"))


def discover(domain: str, name: str, insecure: bool, lookup: Lookup | None = None) -> list[str]:
    """The endpoints that the records of a domain name, best first; without `insecure` only those with TLS. `name`
    is put behind the service's. Raises Fail when there are none."""
    found, errors = [], []
    for service, scheme in SERVICES:
        query = f"_{service}{f'-{name}' if name else ''}._tcp.{domain}"
        try:
            targets = (lookup or look_up)(query)
        except LookupError as error:
            errors.append(f"lookup {query}: {error.args[0]}")
            continue
        if scheme == "https" or insecure:
            found += [f"{scheme}://{host}:{port}" for host, port in targets]
    if not found and errors:
        raise Fail(ERROR, f"dns lookup errors: {' and '.join(errors)}")
    return found


def look_up(name: str) -> list[tuple[str, int]]:
    """Hosts and ports of the SRV records of a name. Raises LookupError."""
    import dns.exception
    import dns.resolver

    try:
        answer = dns.resolver.resolve(name, "SRV")
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        raise LookupError("no such host") from None
    except dns.exception.DNSException as error:
        raise LookupError(str(error)) from None
    records = sorted(answer, key=lambda record: (record.priority, -record.weight))
    return [(record.target.to_text(omit_final_dot=True), record.port) for record in records]
