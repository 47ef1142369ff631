"""The server of one member: proposals in, applied results out, and the clock that drives the rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from google.protobuf.message import Message

from quorate.api import errors
from quorate.api.encode import HeaderEncoder
from quorate.api.internal import encode_request
from quorate.api.pb import membership_pb2, rpc_pb2
from quorate.api.raftpb import Entry
from quorate.apply import Applied, alarm_name, cost_of
from quorate.pkg.ids import IdGenerator
from quorate.pkg.jsonlog import get_log
from quorate.raft.reads import index_at_hand
from quorate.server.bootstrap import boot
from quorate.server.compactor import AutoCompactor
from quorate.server.config import ServerConfig
from quorate.server.jobs import Jobs
from quorate.server.leases import LeaseKeeper
from quorate.server.logs import LogCompactor
from quorate.server.node import make_node
from quorate.server.proposals import Proposals
from quorate.server.raft_loop import RaftLoop
from quorate.server.reads import Reads
from quorate.server.space import SpaceWatch
from quorate.server.state import State
from quorate.server.watch_sync import WatchSync
from quorate.storage import schema
from quorate.storage.mvcc.hashes import HashResult
from quorate.storage.wal import WalWriter
from quorate.version import CLUSTER_VERSION

log = get_log(__name__)

MAX_APPLY_GAP = 5000
"""Entries that may be committed and not applied yet, before proposals are refused."""


class Server:
    """Make one with `open`, then `start` it, wait until it is `ready`, and `stop` it in the end."""

    @classmethod
    def open(
        cls, config: ServerConfig, loop: asyncio.AbstractEventLoop, fail: Callable[[BaseException], None]
    ) -> Server:
        """Read the data directory. `fail` is told once of an error that this member must not survive.

        Raises BootstrapError, WalError, BackendError, OSError.
        """
        return cls(config, loop, fail)

    def __init__(
        self, config: ServerConfig, loop: asyncio.AbstractEventLoop, fail: Callable[[BaseException], None]
    ) -> None:
        booted = boot(config, self._fail_from_thread)
        self.config = config
        self._loop = loop
        self._tell_failure = fail
        self.cluster_id, self.member_id = booted.cluster_id, booted.member_id
        self.proposals = Proposals(loop, config.request_timeout)
        self.jobs = Jobs(loop, self._fail)
        self.state = State(config, booted, self.proposals, self.jobs.submit, lambda: self._space.exceeded())
        self.backend, self.cluster, self.store = self.state.backend, self.state.cluster, self.state.store
        self.lessor, self.alarms, self.quota = self.state.lessor, self.state.alarms, self.state.quota
        self._headers = HeaderEncoder(self.cluster_id, self.member_id)
        self.next_id = IdGenerator(self.member_id, time.time()).next
        self._node = make_node(config, booted)
        self._writer = WalWriter(booted.wal)
        self._writer.start()
        self.raft = RaftLoop(
            loop,
            self._node,
            booted.storage,
            self._writer,
            apply=self._apply,
            before_turn=lambda: self.reads.begin(),
            dropped=self._dropped,
            confirmed=lambda state: self.reads.confirmed(state.context, state.index, self.applied_index),
            led_by=self._led_by,
            fail=self._fail,
        )
        self.reads = Reads(loop, config.request_timeout, self.next_id, self._node.read_index, self.raft.poke)
        self.leases = LeaseKeeper(self)
        self.watch_sync = WatchSync(loop, self.store, self._fail)
        self._space = SpaceWatch(self.member_id, self.alarms, self.quota, self._propose_alarm)
        self._logs = LogCompactor(self, booted.storage, self._writer, booted.snapshot.index)
        self.leader_id = 0
        self.leader_changes = 0
        self._leader: asyncio.Future[None] = loop.create_future()
        self._stopping = False
        self._failed = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._next_tick = 0.0
        self._tick_timer: asyncio.TimerHandle | None = None

    # Life.

    def start(self) -> None:
        """Begin to take part in the cluster."""
        log.info(
            "starting etcd server",
            local_member_id=f"{self.member_id:x}",
            cluster_id=f"{self.cluster_id:x}",
            cluster_version=self.cluster.version or "to_be_decided",
        )
        if self.store.pending_compaction is not None:
            self.jobs.submit(self.store.pending_compaction)
        self._next_tick = self._loop.time()
        self._tick()
        self._loop.call_soon(self._campaign_if_alone)  # behind the turn that the tick asked for

    async def ready(self) -> None:
        """Return once this member has told the cluster about itself and may serve clients."""
        await self._leader
        await self._publish()
        if self.cluster.version is None and self.is_leader:
            log.info("setting up initial cluster version", cluster_version=CLUSTER_VERSION)
            request = membership_pb2.ClusterVersionSetRequest(ver=CLUSTER_VERSION)
            await self.propose("cluster_version_set", request)
        if self.cluster.version is not None and self.storage_version != self.cluster.version:
            schema.put_storage_version(self.backend, self.cluster.version)
        self.spawn(self._logs.purge_for_ever())
        config = self.config
        if config.auto_compaction_retention > 0:
            compactor = AutoCompactor(
                config.auto_compaction_mode,
                config.auto_compaction_retention,
                lambda: self.store.revision,
                lambda revision: self.compact(rpc_pb2.CompactionRequest(revision=revision)),
                lambda: self.is_leader,
            )
            self.spawn(compactor.run())

    def refuse_calls(self) -> None:
        """Fail what waits and refuse what comes: this member is about to stop."""
        self._stopping = True
        self.proposals.fail_all(errors.Stopped)
        self.reads.fail(errors.Stopped)

    async def stop(self) -> None:
        """Put everything on disk and close it."""
        self._halt()
        if self._failed:
            self.abort()
            return
        await self._loop.run_in_executor(None, self._writer.close)
        await self._loop.run_in_executor(None, self.backend.close)

    def abort(self) -> None:
        """Stop at once: what is half done is dropped, files and locks are let go."""
        self._halt()
        for close in (self._writer.close, self.backend.close):
            try:
                close()
            except Exception as err:
                log.warn("closed after a failure", error=str(err))

    def _halt(self) -> None:
        self.refuse_calls()
        self.raft.stop()
        self.jobs.stop()
        self.watch_sync.stop()
        if not self._leader.done():
            self._leader.set_exception(errors.Stopped())
            self._leader.exception()  # nobody may be waiting
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        for task in self._tasks:
            task.cancel()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a background task that ends with the server; an error in it stops the member."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """The member must not go on: what is on disk is unknown, or its state may differ from the others'."""
        if self._failed:
            return
        self._failed = True
        log.error("member cannot go on", error=str(error), kind=type(error).__name__)
        self._halt()
        self._tell_failure(error)

    def _fail_from_thread(self, error: BaseException) -> None:
        self._loop.call_soon_threadsafe(self._fail, error)

    # What clients ask for.

    @property
    def is_leader(self) -> bool:
        return self.leader_id == self.member_id

    @property
    def applied_index(self) -> int:
        return self.state.applied_index

    @property
    def committed_index(self) -> int:
        return max(self._node.raft.log.committed, self.applied_index)

    @property
    def term(self) -> int:
        return self._node.raft.term

    @property
    def storage_version(self) -> str:
        return schema.get_storage_version(self.backend) or ""

    def header(self, revision: int = 0) -> bytes:
        """The header of a reply as its first field; revision 0 stands for the store's own."""
        return self._headers.encode(revision or self.store.revision, self.term)

    def header_without_revision(self) -> bytes:
        return self._headers.encode(0, self.term)

    def complaints(self) -> list[str]:
        """What Status reports as wrong."""
        found = [f"memberID:{member} alarm:{alarm_name(kind)}" for member, kind in self.alarms.active()]
        if not self.leader_id:
            found.append(errors.NoLeader.text)
        return found

    async def propose(self, kind: str, request: Message, body: bytes | None = None) -> Applied:
        """Agree on `request`, of a `kind` that `api.internal` knows, with the cluster; returns once it is applied here.

        `body` is the request serialized, for callers that have it. Raises the EtcdError that is the result,
        TooManyRequests, RequestTooLarge, Stopped, Timeout, ProposalDropped.
        """
        if self._stopping:
            raise errors.Stopped()
        if self._node.raft.log.committed - self.applied_index > MAX_APPLY_GAP:
            raise errors.TooManyRequests()
        data = encode_request(kind, request.SerializeToString() if body is None else body, self.next_id())
        if len(data) > self.config.max_request_bytes:
            raise errors.RequestTooLarge()
        if not self.leader_id:
            await asyncio.shield(self._leader)
        answer = self.proposals.add(data, kind, request)
        self.raft.propose(data)
        return await answer

    def read_barrier(self) -> asyncio.Future[None] | None:
        """Await it, and local state holds everything acknowledged before; None when it does already.

        Shared by readers: do not cancel it. Raises Stopped.
        """
        if self._stopping:
            raise errors.Stopped()
        index = index_at_hand(self._node.raft)
        if index is not None and self.applied_index >= index:
            return None
        return self.reads.barrier()

    async def fresh(self) -> None:
        """Return once local state holds everything acknowledged before the call. May be cancelled."""
        if (barrier := self.read_barrier()) is not None:
            await asyncio.shield(barrier)

    def check_quota(self, request: rpc_pb2.PutRequest | rpc_pb2.TxnRequest | rpc_pb2.LeaseGrantRequest) -> None:
        """Raises NoSpace, and has the cluster raise the alarm, when `request` does not fit in the quota."""
        if not self.quota.fits(cost_of(request)):
            self._space.exceeded()
            raise errors.NoSpace()

    async def compact(self, request: rpc_pb2.CompactionRequest) -> None:
        """Compact; with `physical`, return only once the old rows are gone from the disk."""
        try:
            await self.propose("compaction", request)
        finally:
            if request.physical:
                await self.jobs.idle()
                await self.committed()

    async def hash_kv(self, revision: int) -> HashResult:
        """Raises Compacted, FutureRevision."""
        found: HashResult = await self.jobs.submit(self.store.hash_kv(revision))
        return found

    async def hash(self) -> int:
        """Hash of the whole database, all buckets, after everything pending is committed."""
        await self.committed()
        value: int = await self.jobs.submit(schema.hash_buckets(self.backend))
        return value

    # The turn.

    def _tick(self) -> None:
        now = self._loop.time()
        self._node.tick()
        self.reads.tick(now)
        self.proposals.expire(now, errors.Timeout)
        self.backend.flush()
        self.leases.tick(now)
        self._space.look()
        self.watch_sync.poke()
        self.raft.poke()
        self._next_tick = max(self._next_tick + self.config.heartbeat_interval, now)
        self._tick_timer = self._loop.call_at(self._next_tick, self._guarded_tick)

    def _guarded_tick(self) -> None:
        try:
            self._tick()
        except Exception as err:
            self._fail(err)

    def _led_by(self, leader_id: int) -> None:
        if leader_id == self.leader_id:
            return
        if leader_id:
            self.leader_changes += 1
            if not self._leader.done():
                self._leader.set_result(None)
        elif self._leader.done():
            self._leader = self._loop.create_future()
        self.leader_id = leader_id
        if not self.is_leader:
            self.lessor.demote()

    def _campaign_if_alone(self) -> None:
        """A cluster of one need not wait for an election timeout: nobody else can lead."""
        if self.state.conf_state.voters == (self.member_id,):
            self._node.campaign()
            self.raft.poke()

    def _apply(self, entries: Sequence[Entry]) -> None:
        self.state.apply(entries, self._loop.time(), self._node)
        self.reads.applied(self.applied_index)
        self._logs.applied(entries[-1])

    def _dropped(self, batch: Sequence[bytes]) -> None:
        for data in batch:
            if (proposal := self.proposals.take(data)) is not None:
                proposal.resolve(errors.ProposalDropped())

    async def _publish(self) -> None:
        """Tell the cluster this member's name and client URLs."""
        attributes = membership_pb2.Attributes(name=self.config.name, client_urls=self.config.advertise_client_urls)
        request = membership_pb2.ClusterMemberAttrSetRequest(member_ID=self.member_id, member_attributes=attributes)
        await self.propose("cluster_member_attr_set", request)
        log.info(
            "published local member to cluster through raft",
            local_member_id=f"{self.member_id:x}",
            cluster_id=f"{self.cluster_id:x}",
            name=self.config.name,
            client_urls=self.config.advertise_client_urls,
        )

    def _propose_alarm(self, request: rpc_pb2.AlarmRequest) -> None:
        async def propose() -> None:
            try:
                await self.propose("alarm", request)
            except errors.EtcdError as err:
                log.warn("alarm was not agreed on", error=str(err))
            finally:
                self._space.settled()

        if not self._stopping:
            self.spawn(propose())

    # The disk.

    def committed(self) -> asyncio.Future[None]:
        """Done once everything applied so far is in the database file."""
        done: asyncio.Future[None] = self._loop.create_future()

        def finish(error: BaseException | None) -> None:
            if error is not None:
                self._fail(error)
                done.cancel()
            elif not done.done():
                done.set_result(None)

        def finish_from_thread(error: BaseException | None) -> None:
            self._loop.call_soon_threadsafe(finish, error)

        self.backend.flush(finish_from_thread)
        return done
