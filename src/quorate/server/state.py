"""The replicated state of one member, and how committed entries change it.

entry ──► Applier ──► result to whoever waits
                  └─► effects + entry index, in one batch of the backend

Raft begins behind the last entry whose effects the backend has, so no entry is ever applied twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from quorate.api import errors
from quorate.api.internal import NOBODY, decode_request, split_request
from quorate.api.plain_put import parse_put
from quorate.api.raftpb import ConfChange, Entry, EntryType, Snapshot, decode_conf_change
from quorate.apply import Alarms, Applied, Applier, Quota
from quorate.auth import AuthStore, SimpleTokens
from quorate.lease import CHECKPOINT_INTERVAL, Lessor
from quorate.membership import check_not_above
from quorate.pkg.histogram import Histogram
from quorate.pkg.jsonlog import get_log
from quorate.raft import RawNode, Role
from quorate.server.apply_times import ApplyTimes
from quorate.server.bootstrap import Booted
from quorate.server.config import ServerConfig
from quorate.server.proposals import Proposal, Proposals
from quorate.server.slow import SlowRequests
from quorate.storage import schema
from quorate.storage.mvcc import WatchableStore
from quorate.txn.tree import parse_txn
from quorate.version import ETCD_VERSION

log = get_log(__name__)

Result = Applied | errors.EtcdError

_PARSERS: dict[str, Callable[[bytes], Any]] = {"put": parse_put, "txn": parse_txn}


class State:
    """What this member has applied. Own proposals get their results; `run_job(job)` takes over deleting, `no_space` is
    told when an entry did not fit in the quota, and `reconfigured(change)` when the members have changed."""

    def __init__(
        self,
        config: ServerConfig,
        booted: Booted,
        proposals: Proposals,
        run_job: Callable[[Generator[None, None, None]], object],
        no_space: Callable[[], None],
        reconfigured: Callable[[ConfChange], None],
        slow: SlowRequests,
    ) -> None:
        self.backend = booted.backend
        self.cluster = booted.cluster
        self.lessor = Lessor(
            self.backend,
            min_ttl=config.min_lease_ttl,
            retry_interval=config.request_timeout,
            checkpoint_interval=CHECKPOINT_INTERVAL if config.lease_checkpoints else math.inf,
        )
        self.lessor.restore()
        self.store = WatchableStore(self.backend, self.lessor, compaction_batch_limit=config.compaction_batch_limit)
        self.store.restore()
        log.info("kvstore restored", current_rev=self.store.revision, compact_rev=self.store.compacted_revision)
        self.alarms = Alarms(schema.AlarmRecords(self.backend))
        self.auth = AuthStore(self.backend, SimpleTokens(config.auth_token.ttl))
        self.quota = Quota(config.quota_backend_bytes, self.backend.size_in_use)
        self.conf_state = booted.conf_state
        self.applied_index = booted.applied_index
        self.apply_times = ApplyTimes()
        self._applier = Applier(self.store, self.lessor, self.cluster, self.alarms, self.quota, self.auth)
        self._lease_extension = config.election_timeout
        self._proposals = proposals
        self._run_job = run_job
        self._no_space = no_space
        self._reconfigured = reconfigured
        self._slow = slow

    def apply(self, entries: Sequence[Entry], now: float, node: RawNode) -> None:
        """Apply committed entries in order; their effects and their index reach the disk together.

        Those who wait for an own proposal go on before this returns, when all entries are applied.
        """
        answers: list[tuple[Proposal, Result]] = []
        committed = time.monotonic()
        self.backend.begin_entry()
        begun = committed
        for entry in entries:
            seconds = None
            if entry.type == EntryType.NORMAL:
                seconds = self._apply_normal(entry, now, node, answers)
            else:
                self._apply_conf_change(entry, node, answers)
            ended = time.monotonic()
            if seconds is not None:
                took = ended - begun
                if took <= seconds.first:
                    seconds.low += 1
                    seconds.sum += took
                else:
                    seconds.observe(took)
            if ended - begun > self._slow.limit:
                self._slow.apply(entry, ended - begun)
            begun = ended
        last = entries[-1]
        self.applied_index = last.index
        schema.put_applied(self.backend, last.index, last.term)
        self.backend.end_entry()
        if answers and begun - answers[0][0].made_at > self._slow.limit:
            self._slow.answered([proposal for proposal, _ in answers], last.index, committed, begun)
        for proposal, result in answers:
            proposal.resolve(result)

    def _apply_normal(
        self, entry: Entry, now: float, node: RawNode, answers: list[tuple[Proposal, Result]]
    ) -> Histogram | None:
        """Where to note how long this took; None for an entry that asks for nothing."""
        if not entry.data:
            # The first entry of a term: on its leader, leases run from here on.
            if node.raft.role is Role.LEADER and entry.term == node.raft.term:
                self.lessor.promote(now, self._lease_extension)
            return None
        proposal = self._proposals.take(entry.data)
        result: Result
        try:
            if proposal is not None:
                kind = proposal.kind
                result = self._applier.apply(kind, proposal.request, now, proposal.caller, entry.index)
            elif (split := split_request(entry.data)) is not None:
                kind, body = split
                result = self._applier.apply(kind, _PARSERS[kind](body), now, NOBODY, entry.index)
            else:
                kind, request, _, caller = decode_request(entry.data)
                result = self._applier.apply(kind, request, now, caller, entry.index)
        except errors.EtcdError as err:
            if isinstance(err, errors.NoSpace):
                self._no_space()
            result = err
        except BaseException:
            if proposal is not None:
                proposal.resolve(errors.Stopped())  # this member is about to stop
            raise
        else:
            if result.job is not None:
                self._run_job(result.job)
        if proposal is not None:
            answers.append((proposal, result))
        times = self.apply_times
        return (times.succeeded if result.__class__ is Applied else times.failed)[kind]

    def _apply_conf_change(self, entry: Entry, node: RawNode, answers: list[tuple[Proposal, Result]]) -> None:
        """A change that does not fit the members is refused by all of them alike: raft is told of no change."""
        assert entry.type == EntryType.CONF_CHANGE, "etcd proposes only simple changes"
        change = decode_conf_change(entry.data)
        proposal = self._proposals.take(entry.data)
        result: Result = Applied(self.store.revision)
        try:
            self.cluster.validate(change)
        except errors.EtcdError as err:
            result = err
            self.conf_state = node.apply_conf_change(ConfChange(change.type, 0))
            log.warn("refused a change of the members", node_id=f"{change.node_id:x}", error=str(err))
        else:
            self.conf_state = node.apply_conf_change(change)
            self.cluster.apply(change)
            schema.put_conf_state(self.backend, self.conf_state)
            self._reconfigured(change)
        if proposal is not None:
            answers.append((proposal, result))

    def install(self, snapshot: Snapshot, database: Path) -> None:
        """Become what a leader sent: `database` replaces all rows, everything in memory is read anew."""
        self.backend.replace(database)
        self.lessor.restore()
        self.store.restore()
        self.alarms.reload()
        self.auth.reload(self.backend)
        self.cluster.reload(self.backend)
        applied = schema.get_applied(self.backend)
        assert applied.index == snapshot.index, f"database at entry {applied.index}, its snapshot at {snapshot.index}"
        if self.cluster.version is not None:
            check_not_above(self.cluster.version, ETCD_VERSION)
        self.conf_state = snapshot.conf_state
        for line in self.cluster.repair(snapshot.conf_state):
            log.warn("the members in a snapshot disagree with raft", detail=line)
        self.applied_index = snapshot.index
        log.info("installed snapshot", index=snapshot.index, term=snapshot.term, current_rev=self.store.revision)
