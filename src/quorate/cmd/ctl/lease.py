"""`lease grant`, `revoke`, `timetolive`, `list` and `keep-alive`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from quorate.api import errors
from quorate.cmd.ctl.failures import BAD_ARGS, BAD_CONNECTION, BAD_FEATURE, ERROR, CallFail, Fail
from quorate.cmd.ctl.flags import BOOL, Flag
from quorate.cmd.ctl.index import Command
from quorate.cmd.ctl.show import Flat, flat, header_fields
from quorate.pkg.gotext import parse_int, quote

if TYPE_CHECKING:
    from quorate.api.plain import Message
    from quorate.cmd.ctl.run import Run
    from quorate.cmd.ctl.show import Line

RENEWALS = 3
"""How often within its time a lease is renewed."""
RETRY_SECONDS = 0.5


def lease_id(text: str) -> int:
    """Raises Fail."""
    try:
        return parse_int(text, 16)
    except ValueError as error:
        raise Fail(BAD_ARGS, f"bad lease ID arg ({error}), expecting ID in Hex") from None


def _grant(run: Run) -> None:
    if len(run.args) != 1:
        raise Fail(BAD_ARGS, "lease grant command needs TTL argument")
    try:
        ttl = parse_int(run.args[0])
    except ValueError as error:
        raise Fail(BAD_ARGS, f"bad TTL ({error})") from None
    try:
        reply = run.client().call("LeaseGrant", TTL=ttl)
    except CallFail as fail:
        raise Fail(ERROR, f"failed to grant lease ({fail.text})") from None
    shown = {"ID": reply.ID, "TTL": reply.TTL, "Error": reply.error}
    _show(
        run,
        reply,
        [f"lease {reply.ID:016x} granted with TTL({reply.TTL}s)"],
        [f'"ID" : {reply.ID}', f'"TTL" : {reply.TTL}'],
        shown,
    )


def _revoke(run: Run) -> None:
    if len(run.args) != 1:
        raise Fail(BAD_ARGS, "lease revoke command needs 1 argument")
    lease = lease_id(run.args[0])
    try:
        reply = run.client().call("LeaseRevoke", ID=lease)
    except CallFail as fail:
        raise Fail(ERROR, f"failed to revoke lease ({fail.text})") from None
    if run.format == "protobuf":
        head = reply.header
        numbers = f"cluster_id:{head.cluster_id} member_id:{head.member_id} revision:{head.revision}"
        text = f"({{{numbers} raft_term:{head.raft_term}  {{}} [] 0}})"
        raise Fail(BAD_FEATURE, f"marshal unsupported for type clientv3.LeaseRevokeResponse {text}")
    run.show(
        reply,
        simple=lambda: [f"lease {lease:016x} revoked"],
        fields=lambda: header_fields(reply.header),
    )


def _time_to_live(run: Run) -> None:
    if len(run.args) != 1:
        raise Fail(BAD_ARGS, "lease timetolive command needs lease ID as argument")
    reply = run.client().call("LeaseTimeToLive", ID=lease_id(run.args[0]), keys=run.flags["keys"])
    shown = {"id": reply.ID, "ttl": reply.TTL, "granted-ttl": reply.grantedTTL, "keys": reply.keys or None}
    fields: list[Line] = [f'"ID" : {reply.ID}', f'"TTL" : {reply.TTL}', f'"GrantedTTL" : {reply.grantedTTL}']
    fields += [f'"Key" : {quote(key)}' for key in reply.keys]
    _show(run, reply, [_remaining(reply, run.flags["keys"])], fields, shown)


def _remaining(reply: Message, with_keys: bool) -> Line:
    if not reply.grantedTTL and reply.TTL == -1:
        return f"lease {reply.ID:016x} already expired"
    text = f"lease {reply.ID:016x} granted with TTL({reply.grantedTTL}s), remaining({reply.TTL}s)"
    if not with_keys:
        return text
    return text.encode() + b", attached keys([" + b" ".join(reply.keys) + b"])"


def _list(run: Run) -> None:
    reply = run.client().call("LeaseLeases")
    lines = [f"found {len(reply.leases)} leases", *(f"{lease.ID:016x}" for lease in reply.leases)]
    shown = {"leases": [Flat(id=lease.ID) for lease in reply.leases]}
    _show(run, reply, lines, [f'"ID" : {lease.ID}' for lease in reply.leases], shown)


def _keep_alive(run: Run) -> None:
    if len(run.args) != 1:
        raise Fail(BAD_ARGS, "lease keep-alive command needs lease ID as argument")
    lease = lease_id(run.args[0])
    if run.flags["once"]:
        reply = _renew(run, lease)
        if reply is None:
            raise Fail(BAD_CONNECTION, errors.LeaseNotFound.text)
        _show_renewed(run, reply)
        return
    _renew_until_lost(run, lease)
    if run.format == "simple":
        run.print(f"lease {lease:016x} expired or revoked.")


def _renew_until_lost(run: Run, lease: int) -> None:
    """Renew a lease until it is gone, or has not been renewed for as long as it lasts."""
    lost_at = time.monotonic() + run.client().timeout
    while time.monotonic() < lost_at:
        try:
            reply = _renew(run, lease)
        except Fail:
            time.sleep(RETRY_SECONDS)
            continue
        if reply is None:
            return
        lost_at = time.monotonic() + reply.TTL
        _show_renewed(run, reply)
        time.sleep(max(reply.TTL / RENEWALS, RETRY_SECONDS))


def _renew(run: Run, lease: int) -> Message | None:
    """The answer to one renewal, or None when there is no such lease. Raises Fail."""
    client = run.client()
    try:
        stream = client.stream("LeaseKeepAlive", {"ID": lease}, last=True)
        reply = stream.receive(client.timeout)
        stream.cancel()
    except TimeoutError:
        raise Fail(BAD_CONNECTION, "context deadline exceeded") from None
    except CallFail as fail:
        raise Fail(BAD_CONNECTION, fail.text) from None
    return None if reply is None or reply.TTL <= 0 else reply


def _show_renewed(run: Run, reply: Message) -> None:
    shown = {"ID": reply.ID, "TTL": reply.TTL}
    fields: list[Line] = [f'"ID" : {reply.ID}', f'"TTL" : {reply.TTL}']
    _show(run, reply, [f"lease {reply.ID:016x} keepalived with TTL({reply.TTL})"], fields, shown)


def _show(run: Run, reply: Message, lines: list[Any], fields: list[Any], shown: dict[str, Any]) -> None:
    """Answers about leases are the client's own structs: the header is flat among their members, and all there is of
    them in protobuf."""
    run.show(
        reply,
        simple=lambda: lines,
        fields=lambda: header_fields(reply.header) + fields,
        json=lambda: flat(reply.header, shown),
        protobuf=lambda: reply.header.raw,
    )


COMMANDS = {
    "lease grant": Command("lease grant <ttl>", _grant),
    "lease revoke": Command("lease revoke <leaseID>", _revoke),
    "lease timetolive": Command(
        "lease timetolive <leaseID> [options]",
        _time_to_live,
        (Flag("keys", BOOL, False, "print the keys of the lease too"),),
    ),
    "lease list": Command("lease list", _list),
    "lease keep-alive": Command(
        "lease keep-alive [options] <leaseID>",
        _keep_alive,
        (Flag("once", BOOL, False, "renew the lease once and end"),),
    ),
}
