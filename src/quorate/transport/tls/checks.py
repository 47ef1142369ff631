"""What is asked of a certificate that has been verified: names, the place it is used from, whether it was revoked.

A certificate is the dict of `ssl.SSLSocket.getpeercert`. The rules are Go's, for they are what etcd's operators know:
host names are compared with the subject alternative names alone, the common name only where a common name is asked for.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from typing import Any

Certificate = Mapping[str, Any]

ANY_PORT = 0


class Rejected(ConnectionError):
    """The other end's certificate is sound, but not one that this side takes."""


def common_name(certificate: Certificate) -> str:
    """The subject's common name, the last if there are several; "" without one."""
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    return str(names[-1]) if names else ""


def dns_names(certificate: Certificate) -> list[str]:
    return [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]


def ip_addresses(certificate: Certificate) -> list[str]:
    found = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "IP Address"]
    return [str(address) for text in found if (address := _address(text)) is not None]


def has_name(certificate: Certificate, host: str) -> bool:
    """Whether the certificate is for `host`, a host name or an IP address."""
    wanted = _address(host.removeprefix("[").removesuffix("]"))
    if wanted is not None:
        return str(wanted) in ip_addresses(certificate)
    return any(_matches(pattern, host) for pattern in dns_names(certificate))


def check_names(certificate: Certificate, common_names: Iterable[str], hosts: Iterable[str]) -> None:
    """Raises Rejected unless the certificate has one of the names. No names at all: everybody is taken."""
    common_names, hosts = list(common_names), list(hosts)
    if common_names and common_name(certificate) not in common_names:
        raise Rejected("client certificate authentication failed")
    if hosts and not any(has_name(certificate, host) for host in hosts):
        raise Rejected("client certificate authentication failed")


def check_time(certificate: Certificate) -> None:
    """Raises Rejected when the certificate has ended: since it was verified, in a session of TLS 1.2 that goes on."""
    if ssl.cert_time_to_seconds(certificate["notAfter"]) < time.time():
        raise Rejected("x509: certificate has expired")


def check_revoked(serials: Iterable[str], revoked: frozenset[int]) -> None:
    """Raises Rejected when one of the hexadecimal serial numbers is revoked."""
    for serial in serials:
        if int(serial, 16) in revoked:
            digits = f"{int(serial, 16):x}"
            raise Rejected(f"transport: certificate serial {digits.zfill(len(digits) + len(digits) % 2)} revoked")


async def check_address(certificate: Certificate, host: str) -> None:
    """Raises Rejected unless a caller from IP address `host` is where the names of its certificate say.

    Addresses are compared, then names are looked up; a name with a wildcard is held against the names of `host`. A
    certificate without names may be used from everywhere.
    """
    addresses, names = ip_addresses(certificate), dns_names(certificate)
    if not addresses and not names:
        return
    if addresses and has_name(certificate, host):
        return
    if not names:
        raise Rejected(f"x509: certificate is valid for {', '.join(addresses)}, not {host}")
    wanted = _address(host)
    if any(name.startswith("*.") for name in names):
        found = (await _name_of(host)).rstrip(".")
        if any(_matches(name, found) for name in names if name.startswith("*.")):
            return
    for name in names:
        if not name.startswith("*.") and wanted in await _addresses_of(name):
            return
    listed = ", ".join(f'"{name}"' for name in names)
    raise Rejected(f'tls: "{host}" does not match any of DNSNames [{listed}]')


def _matches(pattern: str, host: str) -> bool:
    """RFC 9525 §6.3: a wildcard stands for the whole first label and nothing else."""
    pattern, host = pattern.rstrip(".").lower(), host.rstrip(".").lower()
    if not host or not pattern:
        return False
    if not pattern.startswith("*."):
        return pattern == host
    label, dot, rest = host.partition(".")
    return bool(label and dot) and rest == pattern[2:]


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


async def _addresses_of(name: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address | None]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, ANY_PORT, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [address for *_, where in found if (address := _address(str(where[0]))) is not None]


async def _name_of(host: str) -> str:
    try:
        name, _ = await asyncio.get_running_loop().getnameinfo((host, ANY_PORT), socket.NI_NAMEREQD)
    except OSError:
        return ""
    return name
