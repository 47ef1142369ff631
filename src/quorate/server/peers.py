"""The other members: messages to and from them, and who of them is there.

This is what `rafthttp` knows of the server (its `Host`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING

from quorate.api.raftpb import ConfChange, ConfChangeType, Message, MessageType
from quorate.membership import Member
from quorate.pkg.jsonlog import get_log
from quorate.rafthttp import Identity, Transport
from quorate.transport.http1_client import HttpClient

if TYPE_CHECKING:
    from quorate.server.member import Server

log = get_log(__name__)

CONNECTED_SECONDS = 5.0
"""How long a link must have been up to count for changes of the members."""
ADVANCE_WAIT = 5.0
ADVANCE_POLL = 0.05
"""Seconds in which the others are waited for, and how often they are looked for, before the first election."""
REMOVAL_DELAY = 1.0
"""Seconds a removed member stays, so that the others learn of its removal from it."""
REMOVAL_PATIENCE = 60.0
"""Seconds it stays longer where only one voter is left, which cannot learn it elsewhere, nor lead without it."""


class MemberRemoved(Exception):
    """This member is not one of the cluster any more."""

    def __init__(self) -> None:
        super().__init__("the member has been permanently removed from the cluster")


class Peers:
    """Links of one member to the others."""

    def __init__(self, server: Server, http: HttpClient, remotes: Iterable[Member]) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        config = server.config
        self.transport = Transport(
            self._loop,
            Identity(server.member_id, server.cluster_id, tuple(config.peer_urls), config.release),
            self,
            http,
            election_timeout=config.election_timeout,
            read_timeout=config.raft_read_timeout,
            write_timeout=config.raft_write_timeout,
            rng=server.world.rng,
        )
        self._remotes = list(remotes)

    def start(self) -> None:
        """Connect to everyone known."""
        self.transport.start()
        self.update()
        for member in self._remotes:
            if member.id != self._server.member_id and not self.transport.has_peer(member.id):
                self.transport.add_remote(member.id, member.peer_urls)
        if len(self._server.config.initial_cluster) > 1 and self._server.config.initial_election_tick_advance:
            self._server.spawn(self._advance_election())

    def update(self) -> None:
        """Have links to the members of now, and to no one else."""
        members = {member.id: member for member in self._server.cluster.members()}
        members.pop(self._server.member_id, None)
        for number in set(self.transport.peers()) - members.keys():
            self.transport.remove_peer(number)
        for member in members.values():
            self.transport.add_peer(member.id, member.peer_urls)

    def reconfigured(self, change: ConfChange) -> None:
        """A change of the members is applied."""
        own = change.node_id == self._server.member_id
        member = self._server.cluster.member(change.node_id)
        if change.type == ConfChangeType.REMOVE_NODE:
            log.info("removed a member", removed_member_id=f"{change.node_id:x}")
            if own:
                self._server.spawn(self._leave())
            else:
                self.transport.remove_peer(change.node_id)
        elif member is not None and not own:
            if self.transport.has_peer(member.id):
                self.transport.update_peer(member.id, member.peer_urls)
            else:
                self.transport.add_peer(member.id, member.peer_urls)
            log.info("added or changed a member", member_id=f"{member.id:x}", peer_urls=list(member.peer_urls))

    def connected(self, seconds: float = CONNECTED_SECONDS) -> set[int]:
        """Members with a link for at least `seconds`, and this one."""
        latest = self._loop.time() - seconds
        found = {self._server.member_id}
        for number in self.transport.peers():
            since = self.transport.active_since(number)
            if since is not None and since <= latest:
                found.add(number)
        return found

    def send(self, messages: Sequence[Message]) -> None:
        """Messages of raft. What cannot be sent is lost, as on any network."""
        plain = [message for message in messages if message.type != MessageType.SNAP]
        if len(plain) < len(messages):
            for message in messages:
                if message.type == MessageType.SNAP:
                    self._server.snapshots.send(message)
        self.transport.send(plain)

    # What the wires ask.

    def receive(self, message: Message) -> None:
        self._server.raft.receive(message)

    def is_removed(self, member_id: int) -> bool:
        return self._server.cluster.is_removed(member_id)

    def report_unreachable(self, member_id: int) -> None:
        self._server.node.report_unreachable(member_id)
        self._server.raft.poke()

    def report_snapshot(self, member_id: int, ok: bool) -> None:
        self._server.snapshots.sent(member_id)
        self._server.node.report_snapshot(member_id, ok)
        self._server.raft.poke()

    def was_removed(self) -> None:
        self._server.fail(MemberRemoved())

    async def receive_snapshot(self, message: Message, chunks: AsyncIterator[bytes]) -> None:
        await self._server.snapshots.receive(message, chunks)

    async def _leave(self) -> None:
        """This member's removal is applied here; the others may not know yet."""
        await asyncio.sleep(REMOVAL_DELAY)
        if len(self._server.state.conf_state.voters) == 1:
            await asyncio.sleep(REMOVAL_PATIENCE)  # unless the other one says earlier that it knows
        self.was_removed()

    async def _advance_election(self) -> None:
        """A member that starts with the others in place need not wait a whole election timeout to campaign."""
        deadline = self._loop.time() + ADVANCE_WAIT
        while self._loop.time() < deadline:
            if sum(self.transport.active_since(number) is not None for number in self.transport.peers()) > 1:
                ticks = self._server.config.election_ticks - 2
                log.info("advancing election ticks", forward_ticks=ticks)
                self._server.node.advance_ticks(ticks)
                return
            await asyncio.sleep(ADVANCE_POLL)
