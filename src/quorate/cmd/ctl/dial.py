"""The way to a cluster: which endpoints, with which name and password."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from quorate.api import errors
from quorate.cmd.ctl.endpoints import Endpoint
from quorate.cmd.ctl.failures import BAD_CONNECTION, CallFail, Fail
from quorate.cmd.ctl.rpc import Client

if TYPE_CHECKING:
    from quorate.cmd.ctl.run import Run, Settings


def connect(run: Run, settings: Settings) -> Client:
    """A client of the endpoints that the flags name, not logged in. Raises Fail."""
    endpoints = _endpoints(run)
    if not endpoints:
        raise Fail(BAD_CONNECTION, "etcdclient: no available endpoints")
    return Client([Endpoint(text, settings) for text in endpoints], run.flags["command-timeout"])


def introduce(client: Client, run: Run, settings: Settings) -> None:
    """Give a client the token of the user that the flags name, if they do. Raises Fail."""
    flags = run.flags
    user, password = credentials(flags["user"], flags["password"])
    if flags["auth-jwt-token"]:
        client.token = flags["auth-jwt-token"]
    elif user and password:
        log_in(client, user, password, settings.dial_timeout)


def log_in(client: Client, user: str, password: str, timeout: float) -> None:
    """Get a token; none is needed where users are not asked for. Raises Fail."""
    try:
        client.token = client.ask("Authenticate", {"name": user, "password": password}, timeout).token
    except CallFail as fail:
        if fail.text != errors.AuthNotEnabled.text:
            raise Fail(BAD_CONNECTION, fail.text) from None


def credentials(user: str, password: str) -> tuple[str, str]:
    """Name and password of `name[:password]`; asks for a password that is not given."""
    if not user:
        return "", ""
    if password:
        return user, password
    name, colon, password = user.partition(":")
    if not colon:
        return user, ask_password("Password: ")
    return name, password


def ask_password(prompt: str) -> str:
    """A password typed by somebody who does not want to be seen, or a line of stdin."""
    if sys.stdin.isatty():
        import getpass

        return getpass.getpass(prompt)
    sys.stdout.write(prompt)
    line = sys.stdin.readline()
    sys.stdout.write("\n")
    sys.stdout.flush()
    return line.rstrip("\n")


def _endpoints(run: Run) -> list[str]:
    domain = run.flags["discovery-srv"]
    if not domain:
        return [text.strip() for text in run.flags["endpoints"]]
    from quorate.cmd.ctl.discovery import discover

    return discover(domain, run.flags["discovery-srv-name"], run.flags["insecure-discovery"])
