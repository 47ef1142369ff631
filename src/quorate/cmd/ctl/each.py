"""Commands that ask each endpoint for itself, in place of whichever answers."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from quorate.cmd.ctl.endpoints import Endpoint
from quorate.cmd.ctl.failures import ERROR, CallFail, Fail
from quorate.cmd.ctl.flags import BOOL, Flag
from quorate.cmd.ctl.rpc import Client

if TYPE_CHECKING:
    from quorate.api.plain import Message
    from quorate.cmd.ctl.run import Run

CLUSTER = Flag("cluster", BOOL, False, "ask all members that the cluster has, at their client URLs")


def targets(run: Run) -> list[str]:
    """The endpoints that the command line names, or with `--cluster` the client URLs of all members. Raises Fail."""
    client = run.stranger()
    if not run.flags["cluster"]:
        return [endpoint.text for endpoint in client.endpoints]
    try:
        reply = client.call("MemberList", linearizable=True)
    except CallFail as fail:
        raise Fail(ERROR, f"failed to fetch endpoints from etcd cluster member list: {fail.text}") from None
    return [url for member in reply.members for url in member.clientURLs]


def client_of(run: Run, target: str, token: str = "") -> Client:
    """A client of one endpoint, with a connection of its own. Raises Fail."""
    return Client([Endpoint(target, run.settings)], run.stranger().timeout, token)


def ask(run: Run, target: str, method: str, /, **fields: Any) -> Message:
    """What one endpoint answers. Raises CallFail."""
    with closing(client_of(run, target, run.client().token)) as client:
        return client.call(method, **fields)
