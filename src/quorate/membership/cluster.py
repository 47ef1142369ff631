"""The cluster as this member has applied it, in memory and in the store alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from quorate.api import errors
from quorate.api.raftpb import ConfChange, ConfChangeType, ConfState
from quorate.membership.changes import decode_context
from quorate.storage import schema
from quorate.storage.schema import Downgrade, MemberRecord, Store

DEFAULT_MAX_LEARNERS = 1


class Cluster:
    """Members, removed IDs, cluster version and downgrade job. `id` is the cluster's, `local_id` this member's."""

    def __init__(
        self, store: Store, cluster_id: int, local_id: int, *, max_learners: int = DEFAULT_MAX_LEARNERS
    ) -> None:
        self.id = cluster_id
        self.local_id = local_id
        self.max_learners = max_learners
        self.version_changed: Callable[[], None] = _nothing
        """Called after the version has changed, also by a reload."""
        self.is_restricted = True
        """True while this member may not serve every call: no version is decided yet, or it is a learner."""
        self.reload(store)

    @classmethod
    def restore(
        cls, store: Store, cluster_id: int, local_id: int, *, max_learners: int = DEFAULT_MAX_LEARNERS
    ) -> Cluster:
        """The cluster that `store` holds; an empty one when it holds none yet."""
        return cls(store, cluster_id, local_id, max_learners=max_learners)

    def reload(self, store: Store) -> None:
        """Read everything anew from `store`, which may replace the one before."""
        self._store = store
        self._members = {member.id: member for member in schema.members(store)}
        self._removed = set(schema.removed_members(store))
        self._version = schema.get_cluster_version(store)
        self._downgrade = schema.get_downgrade(store)
        self._judge()
        self.version_changed()

    # What it is.

    @property
    def version(self) -> str | None:
        """X.Y.0 that all members agree on, None while none is decided."""
        return self._version

    @property
    def downgrade(self) -> Downgrade:
        return self._downgrade

    def members(self) -> list[MemberRecord]:
        """All members by ID."""
        return sorted(self._members.values())

    def member(self, number: int) -> MemberRecord | None:
        return self._members.get(number)

    def voters(self) -> list[MemberRecord]:
        """Members that are not learners, by ID."""
        return [member for member in self.members() if not member.is_learner]

    def learners(self) -> list[MemberRecord]:
        return [member for member in self.members() if member.is_learner]

    def is_removed(self, number: int) -> bool:
        """True for an ID that was a member once; its messages are refused."""
        return number in self._removed

    def removed(self) -> list[int]:
        """All such IDs, ascending."""
        return sorted(self._removed)

    @property
    def is_local_learner(self) -> bool:
        local = self._members.get(self.local_id)
        return local is not None and local.is_learner

    # How it changes: by entries of the log.

    def validate(self, change: ConfChange) -> None:
        """Judge a committed change by the state it is to be applied to. Whoever applies it turns a refused one into no
        change for raft.

        Raises MemberNotFound, MemberExists, PeerUrlExists, TooManyLearners, MemberNotLearner.
        """
        if change.node_id in self._removed:
            raise errors.MemberNotFound()
        known = self._members.get(change.node_id)
        match change.type:
            case ConfChangeType.ADD_NODE | ConfChangeType.ADD_LEARNER_NODE:
                self._validate_add(change, known)
            case ConfChangeType.UPDATE_NODE:
                if known is None:
                    raise errors.MemberNotFound()
                self._refuse_taken_urls(decode_context(change).member)
            case ConfChangeType.REMOVE_NODE:
                if known is None:
                    raise errors.MemberNotFound()
            case _:
                raise ValueError(f"unknown type of change: {change.type}")

    def apply(self, change: ConfChange) -> None:
        """Carry out a change that `validate` let pass."""
        match change.type:
            case ConfChangeType.ADD_NODE | ConfChangeType.ADD_LEARNER_NODE:
                added, is_promote = decode_context(change)
                member = self._members[change.node_id] if is_promote else added
                self._keep(member._replace(is_learner=change.type == ConfChangeType.ADD_LEARNER_NODE))
            case ConfChangeType.UPDATE_NODE:
                # Its peer URLs and nothing else: a learner stays one (etcd 21736).
                urls = decode_context(change).member.peer_urls
                self._keep(self._members[change.node_id]._replace(peer_urls=urls))
            case ConfChangeType.REMOVE_NODE:
                self._forget(change.node_id)
                self._removed.add(change.node_id)
                schema.put_removed(self._store, change.node_id)
            case _:
                raise ValueError(f"unknown type of change: {change.type}")

    def set_attributes(self, number: int, name: str, client_urls: Iterable[str]) -> None:
        """Take what a member says of itself. One that was removed meanwhile is passed over."""
        member = self._members.get(number)
        if member is not None:
            self._keep(member._replace(name=name, client_urls=tuple(client_urls)))
        else:
            assert number in self._removed, f"attributes of member {number:x}, which never was one"

    def set_version(self, version: str) -> None:
        """Agree on a version, X.Y.0."""
        self._version = version
        schema.put_cluster_version(self._store, version)
        self._judge()
        self.version_changed()

    def set_downgrade(self, downgrade: Downgrade) -> None:
        """Begin a downgrade job, or end it with `Downgrade()`."""
        self._downgrade = downgrade
        schema.put_downgrade(self._store, downgrade)

    def repair(self, conf_state: ConfState) -> list[str]:
        """Make the members agree with who votes and learns in raft; returns a line for each one corrected.

        Older releases of etcd left members and learner flags behind that raft had long changed (etcd 19557, 20793,
        20967). Call it wherever members come from elsewhere, own disk at start or a snapshot, with the ConfState that
        came with them.
        """
        voters = {*conf_state.voters, *conf_state.voters_outgoing}
        learners = {*conf_state.learners, *conf_state.learners_next} - voters
        lines = []
        for member in self.members() if voters else ():
            if member.id not in voters | learners:
                self._forget(member.id)
                lines.append(f"member {member.id:x} is none to raft: dropped")
            elif member.is_learner != (member.id in learners):
                self._keep(member._replace(is_learner=member.id in learners))
                lines.append(
                    f"member {member.id:x} is a {'voter' if member.is_learner else 'learner'} to raft: corrected"
                )
        return lines

    # Helpers.

    def _validate_add(self, change: ConfChange, known: MemberRecord | None) -> None:
        member, is_promote = decode_context(change)
        if is_promote:
            if known is None:
                raise errors.MemberNotFound()
            if not known.is_learner:
                raise errors.MemberNotLearner()
            return
        if known is not None:
            raise errors.MemberExists()
        self._refuse_taken_urls(member)
        if change.type == ConfChangeType.ADD_LEARNER_NODE and len(self.learners()) >= self.max_learners:
            raise errors.TooManyLearners()

    def _refuse_taken_urls(self, member: MemberRecord) -> None:
        wanted = set(member.peer_urls)
        if any(other.id != member.id and wanted.intersection(other.peer_urls) for other in self._members.values()):
            raise errors.PeerUrlExists()

    def _keep(self, member: MemberRecord) -> None:
        self._members[member.id] = member
        schema.put_member(self._store, member)
        self._judge()

    def _forget(self, number: int) -> None:
        del self._members[number]
        schema.delete_member(self._store, number)
        self._judge()

    def _judge(self) -> None:
        self.is_restricted = self._version is None or self.is_local_learner


def _nothing() -> None:
    """Nobody wants to know."""
