"""Handing leadership to another member: because a client asks for it, or because this one is about to stop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from quorate.api import errors
from quorate.pkg.jsonlog import get_log

if TYPE_CHECKING:
    from quorate.server.member import Server

log = get_log(__name__)


async def move_leader(server: Server, target: int, timeout: float) -> None:
    """Have the voter `target` lead; returns once it does, as seen from here.

    Raises NotLeader, BadLeaderTransferee, and TimeoutLeaderTransfer after `timeout` seconds.
    """
    if not server.is_leader:
        raise errors.NotLeader()
    member = server.cluster.member(target)
    if member is None or member.is_learner:
        raise errors.BadLeaderTransferee()
    about = {"local_member_id": f"{server.member_id:x}", "transferee_member_id": f"{target:x}"}
    log.info("leadership transfer starting", **about)
    changed = asyncio.Event()
    server.on_leader_change.append(changed.set)
    try:
        server.node.transfer_leader(target)
        server.raft.poke()
        async with asyncio.timeout(timeout):
            while server.leader_id != target:
                await changed.wait()
                changed.clear()
    except TimeoutError:
        raise errors.TimeoutLeaderTransfer() from None
    finally:
        server.on_leader_change.remove(changed.set)
    log.info("leadership transfer finished", **about)


async def hand_over(server: Server) -> None:
    """Before this member stops: leave the lead to the voter that has been connected longest, if there is one.

    Never raises and takes no longer than an election, which is what its failure costs the others.
    """
    if not server.is_leader:
        log.info("skipped leadership transfer; local server is not leader", local_member_id=f"{server.member_id:x}")
        return
    others = [member.id for member in server.cluster.voters() if member.id != server.member_id]
    if not others:
        log.info("skipped leadership transfer for single voting member cluster")
        return
    linked = {number: since for number in others if (since := server.transport.active_since(number)) is not None}
    if not linked:
        log.warn("skipped leadership transfer; no other voter is connected")
        return
    try:
        await move_leader(server, min(linked, key=lambda number: linked[number]), server.config.election_timeout)
    except errors.EtcdError as err:
        log.warn("leadership transfer failed", local_member_id=f"{server.member_id:x}", error=str(err))
