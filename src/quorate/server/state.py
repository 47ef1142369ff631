"""The replicated state of one member, and how committed entries change it.

entry ──► skipped if the backend has it already ──► Applier ──► result to whoever waits
                                                └─► effects + entry index, in one batch of the backend
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from quorate.api import errors
from quorate.api.internal import decode_request
from quorate.api.raftpb import Entry, EntryType, decode_conf_change
from quorate.apply import Alarms, Applied, Applier, Quota
from quorate.lease import Lessor
from quorate.pkg.jsonlog import get_log
from quorate.raft import RawNode, Role
from quorate.server.bootstrap import Booted
from quorate.server.config import ServerConfig
from quorate.server.proposals import Proposal, Proposals
from quorate.storage import schema
from quorate.storage.mvcc import WatchableStore

log = get_log(__name__)

Result = Applied | errors.EtcdError


class State:
    """What this member has applied. Own proposals get their results; `run_job(job)` takes over deleting, and `no_space`
    is told when an entry did not fit in the quota."""

    def __init__(
        self,
        config: ServerConfig,
        booted: Booted,
        proposals: Proposals,
        run_job: Callable[[Iterator[None]], object],
        no_space: Callable[[], None],
    ) -> None:
        self.backend = booted.backend
        self.cluster = booted.cluster
        self.lessor = Lessor(self.backend, min_ttl=config.min_lease_ttl)
        self.lessor.restore()
        self.store = WatchableStore(self.backend, self.lessor)
        self.store.restore()
        log.info("kvstore restored", current_rev=self.store.revision, compact_rev=self.store.compacted_revision)
        self.alarms = Alarms(schema.AlarmRecords(self.backend))
        self.quota = Quota(config.quota_backend_bytes, self.backend.size_in_use)
        self.conf_state = booted.snapshot.conf_state
        self.applied_index = booted.snapshot.index
        self._applier = Applier(self.store, self.lessor, self.cluster, self.alarms, self.quota)
        self._consistent_index = schema.get_applied(self.backend).index
        """Last entry whose effects the backend has; up to here a restart only repeats what raft must hear again."""
        self._lease_extension = config.election_timeout
        self._proposals = proposals
        self._run_job = run_job
        self._no_space = no_space

    def apply(self, entries: Sequence[Entry], now: float, node: RawNode) -> None:
        """Apply committed entries in order; their effects and their index reach the disk together.

        Those who wait for an own proposal go on before this returns, when all entries are applied.
        """
        answers: list[tuple[Proposal, Result]] = []
        self.backend.begin_entry()
        for entry in entries:
            if entry.type == EntryType.NORMAL:
                self._apply_normal(entry, now, node, answers)
            else:
                self._apply_conf_change(entry, node)
        last = entries[-1]
        self.applied_index = last.index
        if last.index > self._consistent_index:
            self._consistent_index = last.index
            schema.put_applied(self.backend, last.index, last.term)
        self.backend.end_entry()
        for proposal, result in answers:
            proposal.resolve(result)

    def _apply_normal(self, entry: Entry, now: float, node: RawNode, answers: list[tuple[Proposal, Result]]) -> None:
        if not entry.data:
            # The first entry of a term: on its leader, leases run from here on.
            if node.raft.role is Role.LEADER and entry.term == node.raft.term:
                self.lessor.promote(now, self._lease_extension)
            return
        if entry.index <= self._consistent_index:
            return
        proposal = self._proposals.take(entry.data)
        result: Result
        try:
            if proposal is not None:
                result = self._applier.apply(proposal.kind, proposal.request, now)
            else:
                kind, request, _ = decode_request(entry.data)
                result = self._applier.apply(kind, request, now)
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

    def _apply_conf_change(self, entry: Entry, node: RawNode) -> None:
        """Raft hears every change again after a restart; the stored members take only what they have not seen."""
        assert entry.type == EntryType.CONF_CHANGE, "etcd proposes only simple changes"
        change = decode_conf_change(entry.data)
        self.conf_state = node.apply_conf_change(change)
        if entry.index > self._consistent_index:
            self.cluster.apply(change)
            schema.put_conf_state(self.backend, self.conf_state)
