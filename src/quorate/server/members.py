"""Changing who the members are: what the asked member checks before it proposes, and where a promotion is decided.

    add · update · remove   strict check by what this member sees ──► ConfChange through the log
    promote                 only the leader knows how far a learner is: others forward it over HTTP

A change is judged once more where it is applied (`membership.Cluster.validate`); that verdict is the one that counts.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from quorate.api import errors
from quorate.membership import (
    Member,
    add_change,
    check_add,
    check_promote,
    check_remove,
    decode_members,
    new_member,
    promote_change,
    remove_change,
    update_change,
)
from quorate.pkg.jsonlog import get_log
from quorate.transport.http1_client import HttpError, HttpReply

if TYPE_CHECKING:
    from quorate.server.member import Server

log = get_log(__name__)

HEALTH_SECONDS = 5.0
"""How long a link must have lasted to count as one."""
APPLY_WAIT = 1.0
"""Seconds that the leader waits for its own state before it judges a learner."""
READY_PARTS, ALL_PARTS = 9, 10
"""Share of the leader's log that a learner must hold to be promoted."""
FORWARD_RETRY = 0.5
"""Seconds before another attempt to reach the leader."""
MAX_MEMBERS_BYTES = 1024 * 1024
"""Size of an answer that lists the members."""


class Members:
    """Answers for the member calls of one server. All methods return the members as they are after the change."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.promoted = 0
        """Learners that this member has promoted, as leader."""
        self.promotions_refused: Counter[str] = Counter()
        """Promotions that failed here, by the text of the error."""

    async def add(self, peer_urls: Sequence[str], is_learner: bool) -> tuple[Member, Sequence[Member]]:
        """Add a member; the new one and all. Raises BadMemberUrls, NotEnoughStarted, Unhealthy, and at apply
        MemberExists, PeerUrlExists, TooManyLearners."""
        server = self._server
        member = new_member(peer_urls, int(time.time()), is_learner)
        if server.config.strict_reconfig_check:
            check_add(server.cluster, is_learner, server.connected_members(HEALTH_SECONDS))
        await server.configure(add_change(member))
        log.info("added member", added_member_id=f"{member.id:x}", peer_urls=member.peer_urls, is_learner=is_learner)
        return member, server.cluster.members()

    async def remove(self, number: int) -> Sequence[Member]:
        """Remove a member for good. Raises NotEnoughStarted, Unhealthy, and at apply MemberNotFound."""
        server = self._server
        if server.config.strict_reconfig_check:
            check_remove(
                server.cluster,
                number,
                server.connected_members(HEALTH_SECONDS),
                is_linked=number in server.connected_members(0.0),
            )
        await server.configure(remove_change(number))
        log.info("removed member", removed_member_id=f"{number:x}")
        return server.cluster.members()

    async def update(self, number: int, peer_urls: Sequence[str]) -> Sequence[Member]:
        """Change a member's peer URLs. Raises BadMemberUrls, and at apply MemberNotFound, PeerUrlExists."""
        change = update_change(number, peer_urls)
        await self._server.configure(change)
        log.info("updated member", member_id=f"{number:x}", peer_urls=list(peer_urls))
        return self._server.cluster.members()

    async def promote(self, number: int) -> Sequence[Member]:
        """Make a learner a voter. Raises MemberNotFound, LearnerNotReady, MemberNotLearner, NotEnoughStarted,
        TimeoutWaitApplied; forwarded also NoLeader, Timeout, Stopped."""
        if self._server.is_leader:
            try:
                members = await self._promote_here(number)
            except errors.NotLeader:
                pass  # any more
            except errors.EtcdError as err:
                self.promotions_refused[str(err)] += 1
                raise
            else:
                self.promoted += 1
                return members
        return await self._forward_promote(number)

    async def _promote_here(self, number: int) -> Sequence[Member]:
        server = self._server
        await server.catch_up(APPLY_WAIT)
        self._check_ready(number)
        if server.config.strict_reconfig_check:
            check_promote(server.cluster)
        await server.configure(promote_change(number))
        log.info("promoted learner member", promoted_member_id=f"{number:x}")
        return server.cluster.members()

    def _check_ready(self, number: int) -> None:
        """Raises NotLeader; MemberNotFound for who is none to raft, LearnerNotReady for who lags too far behind."""
        progress = self._server.node.status().progress
        if not progress:
            raise errors.NotLeader()
        if number not in progress:
            raise errors.MemberNotFound()
        leader = progress[self._server.member_id].match
        if progress[number].match * ALL_PARTS < leader * READY_PARTS:
            raise errors.LearnerNotReady()

    async def _forward_promote(self, number: int) -> Sequence[Member]:
        """Ask whoever leads, again and again, until there is a verdict or the request timeout is over."""
        server = self._server
        try:
            async with asyncio.timeout(server.config.request_timeout):
                while True:
                    leader = server.cluster.member(server.leader_id)
                    for url in leader.peer_urls if leader is not None else ():
                        members = await self._ask_leader(f"{url}/members/promote/{number}")
                        if members is not None:
                            return members
                    await asyncio.sleep(FORWARD_RETRY)
        except TimeoutError:
            raise (errors.Timeout() if server.leader_id else errors.NoLeader()) from None

    async def _ask_leader(self, url: str) -> Sequence[Member] | None:
        """The members after the promotion, None when this must be tried again. Raises the leader's verdict."""
        server = self._server
        try:
            reply = await server.http.request(
                "POST", url, timeout=server.config.request_timeout, body_limit=MAX_MEMBERS_BYTES
            )
            if reply.status == 200:
                return decode_members(reply.body)
        except (OSError, TimeoutError, HttpError, ValueError) as err:
            log.warn("failed to forward a promotion to the leader", url=url, error=str(err))
            return None
        _raise_verdict(reply)
        log.warn("the leader could not promote", url=url, status=reply.status, body=reply.body.decode(errors="replace"))
        return None


# How a verdict on a forwarded promotion travels: statuses and texts are those of etcd.

_NOT_FOUND = "membership: ID not found"
_NOT_LEARNER = "membership: can only promote a learner member"


def encode_verdict(err: errors.EtcdError) -> tuple[int, str]:
    """Status and text with which a promotion that was forwarded to this member is refused."""
    match err:
        case errors.MemberNotFound():
            return 404, _NOT_FOUND
        case errors.MemberNotLearner():
            return 412, _NOT_LEARNER
        case errors.LearnerNotReady():
            return 412, err.text
    return 500, err.text


def _raise_verdict(reply: HttpReply) -> None:
    """Raises what `reply` refuses for good. Other refusals may be over the next time."""
    text = reply.body.decode(errors="replace")
    for error, wording in (
        (errors.MemberNotFound, _NOT_FOUND),
        (errors.LearnerNotReady, errors.LearnerNotReady.text),
        (errors.MemberNotLearner, _NOT_LEARNER),
        (errors.NotEnoughStarted, errors.NotEnoughStarted.text),
    ):
        if wording in text:
            raise error()
