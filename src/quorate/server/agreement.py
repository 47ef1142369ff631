"""What a member asks of its cluster, and how the answers come: agree on a request, read what was agreed on.

propose ──► Proposals ──► RaftLoop ──► committed ──► State ──► the proposal's answer
read_barrier ──► Reads ──► RaftLoop ──► confirmed and applied ──► the readers' future
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Sequence

from google.protobuf.message import Message

from quorate.api import errors
from quorate.api.encode import HeaderEncoder
from quorate.api.internal import NOBODY, Caller, encode_request
from quorate.api.plain_put import PlainPut
from quorate.api.raftpb import ConfChange, Entry, Snapshot, encode_conf_change
from quorate.apply import Applied
from quorate.pkg.ids import IdGenerator
from quorate.raft import ProposalDropped, Role
from quorate.raft.reads import index_at_hand
from quorate.server.bootstrap import Booted
from quorate.server.config import ServerConfig
from quorate.server.leadership import Leadership
from quorate.server.node import make_node
from quorate.server.proposals import Proposals
from quorate.server.raft_loop import RaftLoop, Send
from quorate.server.reads import Reads
from quorate.server.slow import SlowRequests
from quorate.server.state import State
from quorate.server.world import World
from quorate.storage import schema
from quorate.storage.wal import WalWriter
from quorate.txn.tree import Txn

PRIORITY_KINDS = ("lease_revoke",)
"""Requests that free what others wait for: with --feature-gates=PriorityRequest=true twice that gap is theirs."""
MAX_APPLY_GAP = 5000
"""Entries that may be committed and not applied yet, before proposals are refused."""
CATCH_UP_POLL = 0.005
"""Seconds between two looks at the applied index."""


class Agreement:
    """The part of a server that deals with the log: `Server` adds life and the rooms around it."""

    state: State

    def __init__(self, config: ServerConfig, booted: Booted, loop: asyncio.AbstractEventLoop, world: World) -> None:
        self.config = config
        self._loop = loop
        self.cluster_id, self.member_id = booted.cluster_id, booted.member_id
        self._stopping = False
        self._headers = HeaderEncoder(self.cluster_id, self.member_id)
        self.next_id = IdGenerator(self.member_id, time.time()).next
        self.leadership = Leadership(loop)
        self.on_leader_change = self.leadership.on_change
        self.proposals = Proposals(loop, config.request_timeout)
        self.slow = SlowRequests(config.warning_apply_duration)
        self.node = make_node(config, booted, world)

    def _join_raft(self, booted: Booted, state: State, writer: WalWriter, send: Send) -> None:
        """Connect what is applied, the log and the other members to raft."""
        self.state = state
        self.backend, self.cluster, self.store = state.backend, state.cluster, state.store
        self.lessor, self.alarms, self.quota, self.auth = state.lessor, state.alarms, state.quota, state.auth
        self.raft = RaftLoop(
            self._loop,
            self.node,
            booted.storage,
            writer,
            apply=self._apply,
            send=send,
            install=self._install,
            before_turn=lambda: self.reads.begin(),
            dropped=self._dropped,
            confirmed=lambda state: self.reads.confirmed(state.context, state.index, self.applied_index),
            led_by=self._led_by,
            fail=self.fail,
            slow=self.slow,
        )
        self.reads = Reads(
            self._loop, self.config.request_timeout, self.next_id, self.node.read_index, self.raft.poke, self.slow
        )

    @abstractmethod
    def fail(self, error: BaseException) -> None:
        """The member must not go on: what is on disk is unknown, or its state may differ from the others'."""

    @abstractmethod
    def _install(self, snapshot: Snapshot) -> None:
        """A leader's snapshot takes the place of what is applied."""

    @abstractmethod
    def _applied(self, last: Entry) -> None:
        """Entries up to `last` are applied."""

    @property
    def leader_id(self) -> int:
        """Who leads; 0 for nobody."""
        return self.leadership.leader_id

    @property
    def is_leader(self) -> bool:
        return self.leader_id == self.member_id

    @property
    def applied_index(self) -> int:
        return self.state.applied_index

    @property
    def committed_index(self) -> int:
        return max(self.node.raft.log.committed, self.applied_index)

    @property
    def term(self) -> int:
        return self.node.raft.term

    @property
    def storage_version(self) -> str:
        return schema.get_storage_version(self.backend) or ""

    def header(self, revision: int = 0) -> bytes:
        """The header of a reply as its first field; revision 0 stands for the store's own."""
        return self._headers.encode(revision or self.store.revision, self.term)

    def header_without_revision(self) -> bytes:
        return self._headers.encode(0, self.term)

    async def propose(
        self, kind: str, request: Message | PlainPut | Txn, body: bytes | None = None, caller: Caller = NOBODY
    ) -> Applied:
        """Agree on `request`, of a `kind` that `api.internal` knows, with the cluster; returns once it is applied here.

        `body` is the request serialized, for whoever has it; `caller` is who asks. Raises the EtcdError that is
        the result, TooManyRequests, RequestTooLarge, Stopped, Timeout, ProposalDropped; DeadlineExceeded when no leader
        was found.
        """
        if body is None:
            assert isinstance(request, Message), "what is no message comes with its bytes"
            body = request.SerializeToString()
        data = self._entry_data(kind, body, caller)
        answer = self.proposals.add(data, kind, request, caller)
        self.raft.propose(data)
        try:
            return await answer
        except asyncio.CancelledError:
            self.proposals.given_up(answer)
            raise

    async def propose_all(
        self, kind: str, requests: Sequence[Message | PlainPut | Txn], bodies: Sequence[bytes], caller: Caller = NOBODY
    ) -> list[Applied | errors.EtcdError]:
        """As `propose`, for requests that came together; what became of each.

        Raises Stopped, TooManyRequests, RequestTooLarge, and then none of them is proposed.
        """
        data = [self._entry_data(kind, body, caller) for body in bodies]
        answer = self.proposals.add_all(data, kind, requests, caller).answer
        self.raft.propose(*data)
        try:
            return await answer
        except asyncio.CancelledError:
            self.proposals.given_up(answer, len(data))
            raise

    async def propose_leading(self, kind: str, request: Message, caller: Caller = NOBODY) -> Applied:
        """As `propose`, but never by way of another leader: for what only the one who leads may decide.

        Raises NotLeader as well.
        """
        data = self._entry_data(kind, request.SerializeToString(), caller)
        if self.node.raft.role is not Role.LEADER:
            raise errors.NotLeader()
        answer = self.proposals.add(data, kind, request, caller)
        try:
            self.raft.propose_now(data)
        except ProposalDropped:
            self.proposals.take(data)
            raise errors.ProposalDropped() from None
        return await answer

    def _entry_data(self, kind: str, body: bytes, caller: Caller) -> bytes:
        if self._stopping:
            raise errors.Stopped()
        first = kind in PRIORITY_KINDS and self.config.priority_requests
        if self.node.raft.log.committed - self.applied_index > MAX_APPLY_GAP * (1 + first):
            raise errors.TooManyRequests()
        data = encode_request(kind, body, self.next_id(), caller)
        if len(data) > self.config.max_request_bytes:
            raise errors.RequestTooLarge()
        return data

    async def configure(self, change: ConfChange) -> None:
        """Have the cluster agree on a change of its members; returns once it is applied here, however long that takes.

        Raises the EtcdError of `Cluster.validate`, Stopped, ProposalDropped.
        """
        if self._stopping:
            raise errors.Stopped()
        if not self.leader_id:
            await self.leadership.known()
        change = change._replace(id=self.next_id())
        data = encode_conf_change(change)
        answer = self.proposals.add(data, "conf_change", change, patient=True)
        try:
            self.raft.propose_conf_change(change)
            await answer
        except ProposalDropped:
            raise errors.ProposalDropped() from None
        finally:
            self.proposals.take(data)

    def is_fresh(self) -> bool:
        """Whether local state is known to hold everything acknowledged before."""
        index = index_at_hand(self.node.raft)
        return index is not None and self.applied_index >= index and not self._stopping

    def read_barrier(self) -> asyncio.Future[None] | None:
        """Await it, and local state holds everything acknowledged before; None when it does already.

        Shared by readers: do not cancel it. Raises Stopped.
        """
        if self._stopping:
            raise errors.Stopped()
        return None if self.is_fresh() else self.reads.barrier()

    async def catch_up(self, timeout: float) -> None:
        """Return once everything committed by now is applied. Raises TimeoutWaitApplied."""
        index = self.node.raft.log.committed
        deadline = self._loop.time() + timeout
        while self.applied_index < index:
            if self._loop.time() > deadline:
                raise errors.TimeoutWaitApplied()
            await asyncio.sleep(CATCH_UP_POLL)

    async def fresh(self) -> None:
        """Return once local state holds everything acknowledged before the call. May be cancelled."""
        if (barrier := self.read_barrier()) is None:
            return
        shielded = asyncio.shield(barrier)
        try:
            await shielded
        finally:
            shielded.cancel()  # whoever stops this coroutine need not be a task, and then nobody else does

    # The turn.

    def _led_by(self, leader_id: int) -> None:
        if leader_id and leader_id != self.leader_id:
            self.reads.leader_changed()
        if leader_id != self.member_id:
            self.lessor.demote()
        self.leadership.led_by(leader_id)

    def _apply(self, entries: Sequence[Entry]) -> None:
        self.state.apply(entries, self._loop.time(), self.node)
        self.reads.applied(self.applied_index)
        self._applied(entries[-1])

    def _dropped(self, batch: Sequence[bytes]) -> None:
        for data in batch:
            if (proposal := self.proposals.take(data)) is not None:
                self.proposals.failed += 1
                proposal.resolve(errors.ProposalDropped())
