"""Addresses as both proxies take them: `host:port`, with or without a scheme before it."""

from __future__ import annotations

import ipaddress
import socket

from quorate.proxy.remotes import Target


class AddressError(Exception):
    """An address that cannot be used; the text is what the operator reads."""


def strip_scheme(endpoint: str) -> str:
    """What is left of a URL without its scheme and path."""
    text = endpoint
    for scheme in ("http://", "https://"):
        text = text.removeprefix(scheme)
    return text if text == endpoint else text.partition("/")[0]


def split_address(text: str) -> tuple[str, int]:
    """Host, "" for all addresses of this machine, and port. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535 or (":" in host and not bracketed):
        raise ValueError(f"{text!r} is not host:port")
    return host.strip("[]"), int(port)


def parse_targets(endpoints: list[str]) -> list[Target]:
    """Raises AddressError."""
    targets = []
    for endpoint in endpoints:
        try:
            host, port = split_address(strip_scheme(endpoint))
            if not host or any(sign.isspace() for sign in host):
                raise ValueError
        except ValueError:
            raise AddressError(f'error parsing endpoint "{endpoint}"') from None
        targets.append(Target(host, port))
    return targets


def check_no_loop(listen: str, targets: list[Target]) -> tuple[str, int]:
    """Host and port of the listen address, once it is sure that no target is that same address. Raises AddressError."""
    try:
        host, port = split_address(listen)
    except ValueError:
        raise AddressError(f"failed to validate listen address: {listen}") from None
    own = _resolve(host, f"failed to resolve listen host: {listen}") if host else set()
    for target in targets:
        found = _resolve(target.host, f"failed to resolve endpoint host: {target}")
        same = {address for address in found if address in own or (not own and _is_here(address))}
        if port == target.port and port and same:
            raise AddressError(
                f"SRV or endpoint ({target}->{sorted(same)[0]}:{port}) should not resolve to the gateway listen addr "
                f"({listen})"
            )
    return host, port


def _resolve(host: str, words: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        raise AddressError(words) from None


def _is_here(address: str) -> bool:
    """Whether it is certainly an address of this machine."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
