"""`etcd gateway start`: carry TCP connections to the members of a cluster."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import uvloop

from quorate.cmd.subcommand import parse, until_signal
from quorate.pkg import jsonlog
from quorate.pkg.goflag import Duration, FlagSet, parse_bool, parse_duration, parse_string
from quorate.proxy.addresses import AddressError, check_no_loop, parse_targets
from quorate.proxy.discovery import discover, trusted
from quorate.proxy.gateway import Gateway

log = jsonlog.get_log("quorate.cmd.gateway")


def run(arguments: Sequence[str]) -> int:
    """Run the command to its end; returns the exit code."""
    values = parse("gateway", "start the gateway", build_flags(), arguments)
    if isinstance(values, int):
        return values
    jsonlog.configure("info", ["default"])
    log.info("Running: ", args=["etcd", "gateway", *arguments])
    try:
        return uvloop.run(_serve(values))
    except (AddressError, OSError, ValueError) as error:
        print(error, file=sys.stdout)  # noqa: T201
        return 1


def build_flags() -> FlagSet:
    flags = FlagSet()
    flags.add("endpoints", lambda text: text.split(","), ["127.0.0.1:2379"], "Addresses of the members, with commas.")
    flags.add("listen-addr", parse_string, "127.0.0.1:23790", "Address to listen on.")
    flags.add("discovery-srv", parse_string, "", "Domain whose SRV records name the members.")
    flags.add("discovery-srv-name", parse_string, "", "Suffix of the service in the SRV records.")
    flags.add("insecure-discovery", parse_bool, False, "Take members that are found without TLS, too.")
    flags.add("trusted-ca-file", parse_string, "", "The CA that members found by DNS must have a certificate of (PEM).")
    flags.add("retry-delay", parse_duration, Duration(60), "Time until a member that failed is tried again.")
    return flags


async def _serve(values: dict[str, Any]) -> int:
    domain = values["discovery-srv"]
    if domain:
        found = discover(domain, values["discovery-srv-name"], values["insecure-discovery"])
        targets = found.plain
        if found.encrypted:
            ca = values["trusted-ca-file"]
            targets = (await trusted(found.encrypted, ca, domain) if ca else found.encrypted) + targets
    else:
        targets = parse_targets(values["endpoints"])
    host, port = check_no_loop(values["listen-addr"], targets)
    gateway = Gateway(host, port, targets, values["retry-delay"])
    await gateway.start()
    return await until_signal(gateway.stop)
