"""Changes of members as they travel through the log. `id`, the request's, is left for the proposer to fill in."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from quorate.api import errors
from quorate.api.raftpb import ConfChange, ConfChangeType
from quorate.membership.ids import member_id
from quorate.pkg.urls import parse_urls
from quorate.storage.schema import MemberRecord, encode_json


class Context(NamedTuple):
    """What a change says besides its type and node."""

    member: MemberRecord
    is_promote: bool


def check_peer_urls(urls: Iterable[str]) -> tuple[str, ...]:
    """`urls`, sorted, if members can be reached by them. Raises BadMemberUrls."""
    given = list(urls)
    try:
        if any("," in url for url in given):
            raise ValueError("a comma is not part of a URL")
        return tuple(parse_urls(",".join(given)))
    except ValueError:
        raise errors.BadMemberUrls() from None


def new_member(peer_urls: Iterable[str], seconds: int, is_learner: bool = False) -> MemberRecord:
    """A member about to be added at Unix time `seconds`. Raises BadMemberUrls."""
    urls = check_peer_urls(peer_urls)
    return MemberRecord(member_id(urls, seconds=seconds), urls, is_learner)


def add_change(member: MemberRecord) -> ConfChange:
    """Make `member` a voter, or a learner if that is what it is."""
    kind = ConfChangeType.ADD_LEARNER_NODE if member.is_learner else ConfChangeType.ADD_NODE
    return ConfChange(kind, member.id, conf_change_context(member))


def promote_change(number: int) -> ConfChange:
    """Make the learner with this ID a voter."""
    return ConfChange(ConfChangeType.ADD_NODE, number, conf_change_context(MemberRecord(number), is_promote=True))


def update_change(number: int, peer_urls: Iterable[str]) -> ConfChange:
    """Change the peer URLs of a member and nothing else. Raises BadMemberUrls."""
    member = MemberRecord(number, check_peer_urls(peer_urls))
    return ConfChange(ConfChangeType.UPDATE_NODE, number, conf_change_context(member))


def remove_change(number: int) -> ConfChange:
    return ConfChange(ConfChangeType.REMOVE_NODE, number)


def conf_change_context(member: MemberRecord, is_promote: bool = False) -> bytes:
    """The JSON that goes with a change of `member`."""
    fields = member.fields()
    if is_promote:
        fields["isPromote"] = True
    return encode_json(fields)


def decode_context(change: ConfChange) -> Context:
    """What the context of an add or update says. Raises ValueError when it is none, or of another node: such an entry
    cannot be applied, and stops the member."""
    fields = json.loads(change.context)
    member = MemberRecord.of_fields(fields)
    if member.id != change.node_id:
        raise ValueError(f"context of member {member.id:x} in a change of member {change.node_id:x}")
    return Context(member, bool(fields.get("isPromote")))
