"""The flags of `etcd` by which a new member finds the others of its cluster."""

from __future__ import annotations

from quorate.embed import Config
from quorate.pkg.goflag import Duration, FlagSet, one_of, parse_bool, parse_duration, parse_string
from quorate.pkg.urls import parse_locations


def add_discovery(flags: FlagSet) -> None:
    """Names and defaults are etcd's."""
    default = Config()
    flags.section("Discovery: who the other members of a new cluster are")
    flags.add("discovery-srv", parse_string, "", "DNS domain whose SRV records name the members.")
    flags.add("discovery-srv-name", parse_string, "", "Suffix of the services in these records.")
    flags.add("discovery", parse_locations, [], "URL of a token at a v2 discovery service.")
    flags.add("discovery-proxy", parse_string, "", "HTTP proxy to reach that service by.")
    flags.add("discovery-fallback", one_of("exit", "proxy"), "exit", "What to do when discovery fails: only exit.")
    flags.add("discovery-endpoints", parse_endpoints, [], "Endpoints of an etcd in which the members find each other.")
    flags.add("discovery-token", parse_string, "", "Name of the new cluster there.")
    for name in ("dial-timeout", "request-timeout", "keepalive-time", "keepalive-timeout"):
        seconds = getattr(default, f"discovery_{name.replace('-', '_')}")
        flags.add(f"discovery-{name}", parse_duration, Duration(seconds), "As the flag of etcdctl of that name.")
    flags.add("discovery-insecure-transport", parse_bool, True, "Whether endpoints without a scheme are not encrypted.")
    flags.add("discovery-insecure-skip-tls-verify", parse_bool, False, "Trust whatever certificate is shown.")
    flags.add("discovery-cert", parse_string, "", "Certificate to show there (PEM).")
    flags.add("discovery-key", parse_string, "", "Its key.")
    flags.add("discovery-cacert", parse_string, "", "CA of the endpoints' certificates.")
    flags.add("discovery-user", parse_string, "", "User there, name or name:password.")
    flags.add("discovery-password", parse_string, "", "Password of that user.")


def parse_endpoints(text: str) -> list[str]:
    """A comma-separated list; what is empty in it stays, to be refused."""
    return [item.strip() for item in text.split(",")] if text else []
