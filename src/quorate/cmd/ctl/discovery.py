"""Endpoints from DNS. Not there yet."""

from __future__ import annotations

from quorate.cmd.ctl.failures import ERROR, Fail


def discover(domain: str, name: str, insecure: bool) -> list[str]:
    """The endpoints that the SRV records of a domain name. Raises Fail."""
    raise Fail(ERROR, f"--discovery-srv is not supported (domain {domain}, name {name or '-'}, insecure {insecure})")
