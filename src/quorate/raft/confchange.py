"""Changing a configuration: from the present one and a list of changes to the next one (Raft thesis §4).

    simple        at most one voter comes or goes, so old and new majorities overlap
    enter_joint   any change: both the old and the new majority must agree until …
    leave_joint   … the old one is dropped

Pure: nothing is changed in place. A progress that stays is carried over as the same object, except where its
learner flag changes.
"""

from __future__ import annotations

from collections.abc import Iterable

from quorate.api.raftpb import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeTransition,
    ConfChangeType,
    ConfChangeV2,
    ConfState,
)
from quorate.raft.errors import InvalidConfChange
from quorate.raft.progress import Progress
from quorate.raft.tracker import Membership, Tracker

ProgressMap = dict[int, Progress]


def as_v2(change: ConfChange | ConfChangeV2) -> ConfChangeV2:
    """The same change in the general form."""
    if isinstance(change, ConfChangeV2):
        return change
    return ConfChangeV2((ConfChangeSingle(change.type, change.node_id),), context=change.context)


def apply(tracker: Tracker, change: ConfChangeV2, last_index: int) -> tuple[Membership, ProgressMap]:
    """The configuration after `change`; raises InvalidConfChange. `last_index` is where a new member is probed from."""
    if not change.changes and change.transition == ConfChangeTransition.AUTO:
        return leave_joint(tracker)
    if change.transition == ConfChangeTransition.AUTO and len(change.changes) <= 1:
        return simple(tracker, change.changes, last_index)
    auto_leave = change.transition != ConfChangeTransition.JOINT_EXPLICIT
    return enter_joint(tracker, change.changes, last_index, auto_leave=auto_leave)


def simple(tracker: Tracker, changes: Iterable[ConfChangeSingle], last_index: int) -> tuple[Membership, ProgressMap]:
    if tracker.membership.joint:
        raise InvalidConfChange("can't apply simple config change in joint config")
    draft = _Draft(tracker, last_index)
    draft.apply(changes)
    if len(tracker.membership.incoming ^ draft.incoming) > 1:
        raise InvalidConfChange("more than one voter changed without entering joint config")
    return draft.result(tracker.membership.auto_leave)


def enter_joint(
    tracker: Tracker, changes: Iterable[ConfChangeSingle], last_index: int, *, auto_leave: bool
) -> tuple[Membership, ProgressMap]:
    if tracker.membership.joint:
        raise InvalidConfChange("config is already joint")
    if not tracker.membership.incoming:
        raise InvalidConfChange("can't make a zero-voter config joint")
    draft = _Draft(tracker, last_index)
    draft.outgoing = set(draft.incoming)
    draft.apply(changes)
    return draft.result(auto_leave)


def leave_joint(tracker: Tracker) -> tuple[Membership, ProgressMap]:
    if not tracker.membership.joint:
        raise InvalidConfChange("can't leave a non-joint config")
    draft = _Draft(tracker, 0)
    for id_ in draft.learners_next:
        draft.set_learner(id_, True)
    draft.learners |= draft.learners_next
    draft.learners_next = set()
    for id_ in draft.outgoing - draft.incoming - draft.learners:
        del draft.progress[id_]
    draft.outgoing = set()
    return draft.result(False)


def restore(tracker: Tracker, state: ConfState, last_index: int) -> tuple[Membership, ProgressMap]:
    """The configuration `state` describes, every member of it as good as new."""
    membership = Membership(
        frozenset(state.voters),
        frozenset(state.voters_outgoing),
        frozenset(state.learners),
        frozenset(state.learners_next),
        state.auto_leave,
    )
    progress = {}
    for id_ in membership.voters() | membership.learners:
        progress[id_] = _new_member(tracker, last_index, is_learner=id_ in membership.learners)
    check(membership, progress)
    return membership, progress


def check(membership: Membership, progress: ProgressMap) -> None:
    """What holds for every configuration; an AssertionError here is a fault of this module or of a snapshot."""
    voters = membership.voters()
    for id_ in voters | membership.learners | membership.learners_next:
        assert id_ in progress, f"no progress for {id_}"
    for id_ in membership.learners_next:
        # It stays a voter of the outgoing half until that is left, and becomes a learner only then.
        assert id_ in membership.outgoing, f"{id_} is in LearnersNext, but not Voters[1]"
        assert not progress[id_].is_learner, f"{id_} is in LearnersNext, but is already marked as learner"
    for id_ in membership.learners:
        assert id_ not in membership.outgoing, f"{id_} is in Learners and Voters[1]"
        assert id_ not in membership.incoming, f"{id_} is in Learners and Voters[0]"
        assert progress[id_].is_learner, f"{id_} is in Learners, but is not marked as learner"
    if not membership.joint:
        assert not membership.learners_next, "LearnersNext must be nil when not joint"
        assert not membership.auto_leave, "AutoLeave must be false when not joint"


class _Draft:
    """A configuration while it is being changed."""

    def __init__(self, tracker: Tracker, last_index: int) -> None:
        membership = tracker.membership
        self.incoming = set(membership.incoming)
        self.outgoing = set(membership.outgoing)
        self.learners = set(membership.learners)
        self.learners_next = set(membership.learners_next)
        self.progress = dict(tracker.progress)
        self._tracker = tracker
        self._last_index = last_index

    def apply(self, changes: Iterable[ConfChangeSingle]) -> None:
        for kind, id_ in changes:
            if id_ == 0:
                continue  # the application found the change invalid when applying it and made it a no-op
            if kind == ConfChangeType.ADD_NODE:
                self.make_voter(id_)
            elif kind == ConfChangeType.ADD_LEARNER_NODE:
                self.make_learner(id_)
            elif kind == ConfChangeType.REMOVE_NODE:
                self.remove(id_)
            elif kind != ConfChangeType.UPDATE_NODE:
                raise InvalidConfChange(f"unexpected conf type {kind}")
        if not self.incoming:
            raise InvalidConfChange("removed all voters")

    def make_voter(self, id_: int) -> None:
        if id_ in self.progress:
            self.set_learner(id_, False)
            self.learners.discard(id_)
            self.learners_next.discard(id_)
        else:
            self.progress[id_] = _new_member(self._tracker, self._last_index, is_learner=False)
        self.incoming.add(id_)

    def make_learner(self, id_: int) -> None:
        known = self.progress.get(id_)
        if known is None:
            self.progress[id_] = _new_member(self._tracker, self._last_index, is_learner=True)
            self.learners.add(id_)
            return
        if known.is_learner:
            return
        self.remove(id_)
        self.progress[id_] = known
        if id_ in self.outgoing:
            self.learners_next.add(id_)  # still a voter there: it becomes a learner when the joint config is left
        else:
            self.set_learner(id_, True)
            self.learners.add(id_)

    def remove(self, id_: int) -> None:
        self.incoming.discard(id_)
        self.learners.discard(id_)
        self.learners_next.discard(id_)
        if id_ not in self.outgoing:
            self.progress.pop(id_, None)

    def set_learner(self, id_: int, is_learner: bool) -> None:
        if self.progress[id_].is_learner != is_learner:
            changed = self.progress[id_].copy()
            changed.is_learner = is_learner
            self.progress[id_] = changed

    def result(self, auto_leave: bool) -> tuple[Membership, ProgressMap]:
        membership = Membership(
            frozenset(self.incoming),
            frozenset(self.outgoing),
            frozenset(self.learners),
            frozenset(self.learners_next),
            auto_leave,
        )
        check(membership, self.progress)
        return membership, self.progress


def _new_member(tracker: Tracker, last_index: int, *, is_learner: bool) -> Progress:
    # Probed from the last index: it is likely to need a snapshot anyway. It counts as active, or else a leader that
    # adds members would step down before they had a chance to answer.
    progress = tracker.new_progress(0, max(last_index, 1), is_learner=is_learner)
    progress.recent_active = True
    return progress
