"""`member list`, `add`, `remove`, `update` and `promote`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quorate.cmd.ctl.failures import BAD_ARGS, BAD_FEATURE, ERROR, Fail
from quorate.cmd.ctl.flags import BOOL, STRING, Flag
from quorate.cmd.ctl.index import Command
from quorate.cmd.ctl.show import Flat, header_fields, members_of, table
from quorate.pkg.gotext import parse_uint, quote

if TYPE_CHECKING:
    from quorate.api.plain import Message
    from quorate.cmd.ctl.run import Run
    from quorate.cmd.ctl.show import Line

LIST_HEADS = ("ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner")
PEER_URLS = Flag("peer-urls", STRING, "", "where the member listens for the others: URLs with commas between them")


def _list(run: Run) -> None:
    consistency = run.flags["consistency"]
    if consistency not in ("l", "s"):
        raise Fail(BAD_FEATURE, f'unknown consistency flag "{consistency}"')
    reply = run.client().call("MemberList", linearizable=consistency == "l")
    run.show(
        reply,
        simple=lambda: [", ".join(row) for row in map(_row, reply.members)],
        fields=lambda: [*header_fields(reply.header), *(line for one in reply.members for line in _fields(one))],
        table=lambda: table(LIST_HEADS, map(_row, reply.members)),
        json=lambda: _in_hex(reply) if run.hex else reply,
    )


def _row(member: Message) -> list[str]:
    return [
        f"{member.ID:x}",
        "started" if member.name else "unstarted",
        member.name,
        ",".join(member.peerURLs),
        ",".join(member.clientURLs),
        "true" if member.isLearner else "false",
    ]


def _fields(member: Message) -> list[Line]:
    return [
        f'"ID" : {member.ID}',
        f'"Name" : {quote(member.name)}',
        *(f'"PeerURL" : {quote(url)}' for url in member.peerURLs),
        *(f'"ClientURL" : {quote(url)}' for url in member.clientURLs),
        f'"IsLearner" : {"true" if member.isLearner else "false"}',
        "",
    ]


def _in_hex(reply: Message) -> Flat:
    """For JSON with ids as people read them."""
    header = members_of(reply.header)
    for name in ("cluster_id", "member_id"):
        header[name] = f"{reply.header.values.get(name, 0):x}"
    members = [
        Flat(ID=f"{one.ID:x}", name=one.name, peerURLs=one.peerURLs or None, clientURLS=one.clientURLs or None)
        for one in reply.members
    ]
    return Flat(header=header, members=members)


def _add(run: Run) -> None:
    if not run.args:
        raise Fail(BAD_ARGS, "member name not provided")
    if len(run.args) > 1:
        raise Fail(BAD_ARGS, "too many arguments")
    urls, learner = _peer_urls(run), run.flags["learner"]
    reply = run.client().call("MemberAdd", peerURLs=_checked(urls), isLearner=learner)
    name = run.args[0]

    def lines() -> list[str]:
        new: int = reply.member.ID
        initial = [
            f"{name if new == member.ID else member.name}={url}" for member in reply.members for url in member.peerURLs
        ]
        return [
            f"Member {new:16x} added to cluster {reply.header.cluster_id:16x}",
            "",
            f"ETCD_NAME={quote(name)}",
            f"ETCD_INITIAL_CLUSTER={quote(','.join(initial))}",
            f"ETCD_INITIAL_ADVERTISE_PEER_URLS={quote(run.flags['peer-urls'])}",
            'ETCD_INITIAL_CLUSTER_STATE="existing"',
        ]

    run.show(reply, simple=lines)


def _remove(run: Run) -> None:
    _change(run, "MemberRemove", "removed from", {"ID": _member_id(run)})


def _update(run: Run) -> None:
    member = _member_id(run)
    urls = _peer_urls(run)
    _change(run, "MemberUpdate", "updated in", {"ID": member, "peerURLs": urls})


def _promote(run: Run) -> None:
    _change(run, "MemberPromote", "promoted in", {"ID": _member_id(run)})


def _change(run: Run, method: str, done: str, request: dict[str, Any]) -> None:
    client = run.client()
    if "peerURLs" in request:
        request["peerURLs"] = _checked(request["peerURLs"])
    reply = client.ask(method, request)
    text = f"Member {request['ID']:16x} {done} cluster {reply.header.cluster_id:16x}"
    run.show(reply, simple=lambda: [text])


def _member_id(run: Run) -> int:
    """Raises Fail."""
    if len(run.args) != 1:
        raise Fail(BAD_ARGS, "member ID is not provided")
    try:
        return parse_uint(run.args[0], 16)
    except ValueError as error:
        raise Fail(BAD_ARGS, f"bad member ID arg ({error}), expecting ID in Hex") from None


def _peer_urls(run: Run) -> list[str]:
    """Raises Fail."""
    text: str = run.flags["peer-urls"]
    if not text:
        raise Fail(BAD_ARGS, "member peer urls not provided")
    return text.split(",")


def _checked(urls: list[str]) -> list[str]:
    """Raises Fail."""
    from quorate.pkg.urls import parse_urls

    try:
        for url in urls:
            if not url.strip():
                raise ValueError("URL scheme must be http, https, unix, or unixs: ")
            parse_urls(url)
    except ValueError as error:
        raise Fail(ERROR, str(error)) from None
    return urls


ABOUT_LIST = f"""In the simple format there is a line for each member:
{", ".join(LIST_HEADS)}."""
CONSISTENCY = Flag("consistency", STRING, "l", "as the cluster agrees (l), or as the asked member knows it (s)")
LEARNER = Flag("learner", BOOL, False, "the new member gets the log, and has no vote")

COMMANDS = {
    "member list": Command("member list", _list, (CONSISTENCY,), ABOUT_LIST),
    "member add": Command("member add <memberName> [options]", _add, (LEARNER, PEER_URLS)),
    "member remove": Command("member remove <memberID>", _remove),
    "member update": Command("member update <memberID> [options]", _update, (PEER_URLS,)),
    "member promote": Command("member promote <memberID>", _promote, (), "Gives a learner its vote."),
}
