"""The server of one member: its life, and the rooms that make it more than a log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from quorate.api import errors
from quorate.api.pb import rpc_pb2
from quorate.api.raftpb import Entry, Snapshot
from quorate.apply import Costly, alarm_name, cost_of
from quorate.pkg.histogram import Histogram, doubling
from quorate.pkg.jsonlog import get_log
from quorate.server.agreement import Agreement
from quorate.server.backups import Backups
from quorate.server.bootstrap import Booted, boot, has_log
from quorate.server.callers import Callers
from quorate.server.clock import Clock
from quorate.server.compactions import Compactions
from quorate.server.compactor import AutoCompactor
from quorate.server.config import ServerConfig
from quorate.server.corruption import Corruption
from quorate.server.defrag import Defragmenter
from quorate.server.heartbeats import Heartbeats
from quorate.server.jobs import SHORT_PAUSE, JobDropped, Jobs
from quorate.server.join import Joined, look_around
from quorate.server.leader_watch import LeaderWatch
from quorate.server.leases import LeaseKeeper
from quorate.server.log_times import LogTimes
from quorate.server.logs import LogCompactor
from quorate.server.members import Members
from quorate.server.peers import CONNECTED_SECONDS, MemberRemoved, Peers
from quorate.server.proposals import Proposal
from quorate.server.snapshot_files import database_path, remove_superseded
from quorate.server.snapshots import Snapshots
from quorate.server.space import SpaceWatch
from quorate.server.state import State
from quorate.server.timeouts import timeout_error
from quorate.server.transfer import hand_over
from quorate.server.versions import Versions
from quorate.server.watch_sync import WatchSync
from quorate.server.world import World
from quorate.storage import schema
from quorate.storage.mvcc.hashes import HashResult
from quorate.transport.http1_client import HttpClient
from quorate.transport.tls import ClientTls

log = get_log(__name__)


HASH_SECONDS = doubling(0.01, 15)
"""Bounds for how long hashes take."""
IDLE_CALLS = 64
"""Connections to a member that are kept for the next call: so many renewals of leases are forwarded at a time."""


class Server(Agreement):
    """Make one with `open`, then `start` it, wait until it is `ready`, and `stop` it in the end."""

    @classmethod
    async def open(
        cls,
        config: ServerConfig,
        loop: asyncio.AbstractEventLoop,
        fail: Callable[[BaseException], None],
        world: World | None = None,
        tls: ClientTls | None = None,
    ) -> Server:
        """Read the data directory, or ask the other members what to begin with. `fail` is told once of an error that
        this member must not survive; `world` is the machine it runs on; `tls` calls members at https URLs.

        Raises BootstrapError, WalError, BackendError, OSError.
        """
        world = world or World()
        http = HttpClient(
            tls=tls,
            connect_timeout=config.dial_timeout,
            idle_per_origin=IDLE_CALLS,
            local_address=config.peer_local_address,
        )
        try:
            joined = None if has_log(config, world.files) else await look_around(config, http)
            return cls(config, loop, fail, world, http, joined)
        except BaseException:
            await http.close()
            raise

    def __init__(
        self,
        config: ServerConfig,
        loop: asyncio.AbstractEventLoop,
        fail: Callable[[BaseException], None],
        world: World,
        http: HttpClient,
        joined: Joined | None,
    ) -> None:
        self.world = world
        booted = boot(config, world, joined, self._fail_from_thread)
        self.log_times = LogTimes(booted.wal)
        self.hash_seconds, self.hash_kv_seconds = Histogram(HASH_SECONDS), Histogram(HASH_SECONDS)
        """How long hashes took that were computed: of the whole database, and of a revision."""
        self._writer = world.make_writer(booted.wal)
        try:
            super().__init__(config, booted, loop, world)
            self._tell_failure = fail
            self._failed = self._closed = False
            self._tasks: set[asyncio.Task[Any]] = set()
            self.http = http
            self.jobs = Jobs(loop, self.fail, config.compaction_sleep_interval)
            self.threads = ThreadPoolExecutor(1, "quorate-disk")
            """For calls that wait for the disk; the loop's own pool would outlive this member."""
            self.peers = Peers(self, http, () if joined is None else joined.members)
            self.transport = self.peers.transport
            state = State(
                config,
                booted,
                self.proposals,
                lambda job: self._run_compaction(job),
                lambda: self._space.exceeded(),
                self.peers.reconfigured,
                self.slow,
            )
            self._join_raft(booted, state, self._writer, self.peers.send)
            self._build_rooms(booted)
            self._clock = Clock(loop, config.heartbeat_interval, self._tick, self.fail)
            self._writer.start()
        except BaseException:
            self._writer.close()
            booted.backend.close()
            raise

    def _build_rooms(self, booted: Booted) -> None:
        self.callers = Callers(self)
        self.members = Members(self)
        self.versions = Versions(self)
        self.leases = LeaseKeeper(self)
        self.corruption = Corruption(self)
        self.leader_watch = LeaderWatch(self)
        self.heartbeats = Heartbeats(self)
        self.compactions = Compactions(self.store)
        self.snapshots = Snapshots(self)
        self.backups = Backups(self)
        self.defragmenter = Defragmenter(self)
        self.watch_sync = WatchSync(self._loop, self.store, self.fail)
        self._space = SpaceWatch(self)
        self.logs = LogCompactor(self, booted.storage, self._writer, booted.snapshot.index)

    # Life.

    def start(self) -> None:
        """Begin to take part in the cluster."""
        log.info(
            "starting etcd server",
            local_member_id=f"{self.member_id:x}",
            cluster_id=f"{self.cluster_id:x}",
            cluster_version=self.cluster.version or "to_be_decided",
        )
        self._resume_compaction()
        self.peers.start()
        self._clock.start()
        self._loop.call_soon(self._campaign_if_alone)  # behind the turn that the tick asked for

    async def ready(self) -> None:
        """Return once this member has told the cluster about itself and may serve clients. Raises CorruptionError."""
        await self.leadership.known()
        if self.config.initial_corrupt_check:
            await self.corruption.check_at_start()
        await self.defragmenter.defragment_at_start()
        await self.versions.publish()
        self.spawn(self.versions.watch_for_ever())
        self.spawn(self.corruption.run_for_ever())
        self.spawn(self.logs.purge_for_ever())
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

    async def leave(self, transfer: bool = True) -> None:
        """Hand leadership over, then fail what waits and refuse what comes: this member is about to stop. Without
        `transfer` nobody is to lead next: the others are about to stop as well."""
        if transfer and not self._failed:
            await hand_over(self)
        self._refuse_calls()

    def _refuse_calls(self) -> None:
        self._stopping = True
        self.proposals.fail_all(errors.Stopped)
        self.reads.fail(errors.Stopped)

    async def stop(self) -> None:
        """Put everything on disk and close it. A second time does nothing."""
        if self._closed:
            return
        if self._failed:
            await self.abort()
            return
        await self._hang_up()
        try:
            await self._loop.run_in_executor(self.threads, self._writer.close)
        finally:
            await self._loop.run_in_executor(self.threads, self.backend.close)
            self._close_threads()

    async def abort(self) -> None:
        """Stop at once: what is half done is dropped, files and locks are let go."""
        await self._hang_up()
        for close in (self._writer.close, self.backend.close):
            try:
                close()
            except Exception as err:
                log.warn("closed after a failure", error=str(err))
        self._close_threads()

    def _close_threads(self) -> None:
        self._closed = True
        self.threads.shutdown()

    async def _hang_up(self) -> None:
        self._halt()
        self.snapshots.stop()
        await self.transport.stop()
        await self.http.close()
        await self.logs.purged()
        ending = self._tasks - {asyncio.current_task()}
        if ending:
            await asyncio.wait(ending)

    def _halt(self) -> None:
        self._refuse_calls()
        self.raft.stop()
        self.jobs.stop()
        self.watch_sync.stop()
        self.leadership.stop()
        self.callers.stop()
        self._clock.stop()
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
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """The member must not go on: what is on disk is unknown, or its state may differ from the others'."""
        if self._failed:
            return
        self._failed = True
        if isinstance(error, MemberRemoved):
            log.warn("server error", error=str(error))
            log.warn("data-dir used by this member must be removed", data_dir=str(self.config.data_dir))
        else:
            log.error("member cannot go on", error=str(error), kind=type(error).__name__)
        self._halt()
        self._tell_failure(error)

    def _fail_from_thread(self, error: BaseException) -> None:
        self._loop.call_soon_threadsafe(self.fail, error)

    # What clients ask for.

    def complaints(self) -> list[str]:
        """What Status reports as wrong."""
        found = [
            f"memberID:{member} alarm:{alarm_name(kind)}" if member else f"alarm:{alarm_name(kind)}"
            for member, kind in self.alarms.active()
        ]
        if not self.leader_id:
            found.append(errors.NoLeader.text)
        return found

    def connected_members(self, seconds: float = CONNECTED_SECONDS) -> set[int]:
        """Members that this one has had a link to for at least `seconds`, and itself."""
        return self.peers.connected(seconds)

    def check_quota(self, request: Costly) -> None:
        """Raises NoSpace, and has the cluster raise the alarm, when `request` does not fit in the quota."""
        if not self.quota.fits(cost_of(request)):
            self._space.exceeded()
            raise errors.NoSpace()

    async def compact(self, request: rpc_pb2.CompactionRequest) -> None:
        """Compact; with `physical`, return only once the old rows are gone from the disk."""
        refusal: errors.EtcdError | None = None
        try:
            await self.propose("compaction", request)
        except errors.EtcdError as err:
            refusal = err
        if request.physical:  # what was compacted earlier may be asked for again, to wait for it
            await self.jobs.idle()
            await self.committed()
        if refusal is not None:
            raise refusal

    async def hash_kv(self, revision: int) -> HashResult:
        """Raises Compacted, FutureRevision."""
        began = self._loop.time()
        while True:
            with suppress(JobDropped):
                found: HashResult = await self.jobs.submit(self.store.hash_kv(revision), SHORT_PAUSE)
                self.hash_kv_seconds.observe(self._loop.time() - began)
                return found

    async def hash(self) -> int:
        """Hash of the whole database, all buckets, after everything pending is committed."""
        began = self._loop.time()
        while True:
            with suppress(JobDropped):
                await self.committed()
                value: int = await self.jobs.submit(schema.hash_buckets(self.backend), SHORT_PAUSE)
                self.hash_seconds.observe(self._loop.time() - began)
                return value

    def _tick(self, now: float) -> None:
        self.node.tick()
        self.heartbeats.tick(now)
        self.reads.tick(now)
        self.proposals.expire(now, self._expired)
        self.backend.flush()
        self.leases.tick(now)
        self.leader_watch.tick(now)
        self.callers.tick(now)
        self._space.look()
        self.watch_sync.poke()
        self.raft.poke()

    def _expired(self, data: bytes, proposal: Proposal) -> errors.EtcdError:
        """Why a proposal was not answered in time; one that found no leader was never made."""
        if self.raft.withdraw(data):
            return errors.DeadlineExceeded()
        return timeout_error(self, proposal.made_at)

    def _applied(self, last: Entry) -> None:
        self.logs.applied(last)
        self.callers.applied(last.index)

    def _install(self, snapshot: Snapshot) -> None:
        self.snapshots.release_views()
        self.jobs.drop()
        self.state.install(snapshot, database_path(self.config.snap_dir, snapshot.index))
        self.peers.update()
        self._resume_compaction()
        self.reads.applied(self.applied_index)
        self.callers.applied(self.applied_index)
        self.logs.installed(snapshot.index)
        self.snapshots.close_aside(remove_superseded(self.config.snap_dir, snapshot.index, self.world.files))
        self.watch_sync.poke()

    def _resume_compaction(self) -> None:
        if self.store.pending_compaction is not None:
            self._run_compaction(self.store.pending_compaction)

    def _run_compaction(self, job: Generator[None, None, None]) -> None:
        self.jobs.submit(self.compactions.timed(job))

    def _campaign_if_alone(self) -> None:
        """A cluster of one need not wait for an election timeout: nobody else can lead."""
        if self.state.conf_state.voters == (self.member_id,):
            self.campaign()

    def campaign(self) -> None:
        """Stand for election now, rather than when no leader was heard of for long. If it fails, time decides."""
        self.node.campaign()
        self.raft.poke()

    # The disk.

    def committed(self) -> asyncio.Future[None]:
        """Done once everything applied so far is in the database file."""
        done: asyncio.Future[None] = self._loop.create_future()

        def finish(error: BaseException | None) -> None:
            if error is not None:
                self.fail(error)
                done.cancel()
            elif not done.done():
                done.set_result(None)

        def finish_from_thread(error: BaseException | None) -> None:
            self._loop.call_soon_threadsafe(finish, error)

        self.backend.flush(finish_from_thread)
        return done
