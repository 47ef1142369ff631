"""Configuration changes by themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.api.raftpb import ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2
from quorate.raft import InvalidConfChange
from quorate.raft.confchange import apply, as_v2, check, enter_joint, leave_joint, restore, simple
from quorate.raft.tracker import Tracker

ADD, REMOVE, LEARN = ConfChangeType.ADD_NODE, ConfChangeType.REMOVE_NODE, ConfChangeType.ADD_LEARNER_NODE
singles = st.lists(
    st.builds(ConfChangeSingle, st.sampled_from([int(kind) for kind in ConfChangeType]), st.integers(0, 5)), max_size=5
)


def a_tracker(*voters: int) -> Tracker:
    tracker = Tracker(10)
    for voter in voters:
        tracker.install(*simple(tracker, [ConfChangeSingle(ADD, voter)], 10))
    return tracker


@given(singles)
def test_a_configuration_is_restored_as_it_was_and_leaving_it_ends_the_joint_one(
    changes: list[ConfChangeSingle],
) -> None:
    tracker = a_tracker(1, 2, 3)
    try:
        membership, progress = enter_joint(tracker, changes, 10, auto_leave=True)
    except InvalidConfChange:
        return
    check(membership, progress)
    restored, members = restore(Tracker(10), membership.conf_state(), 10)
    assert restored == membership
    assert {id_: it.is_learner for id_, it in members.items()} == {id_: it.is_learner for id_, it in progress.items()}
    tracker.install(membership, progress)
    left, remaining = leave_joint(tracker)
    assert left.incoming == membership.incoming
    assert left.learners == membership.learners | membership.learners_next
    assert not left.joint
    assert not left.auto_leave
    assert set(remaining) == left.incoming | left.learners


@given(singles)
def test_a_simple_change_moves_at_most_one_voter(changes: list[ConfChangeSingle]) -> None:
    tracker = a_tracker(1, 2, 3)
    try:
        membership, _ = simple(tracker, changes, 10)
    except InvalidConfChange:
        return
    assert membership.incoming
    assert len(membership.incoming ^ {1, 2, 3}) <= 1


def test_what_is_changed_leaves_the_present_configuration_alone() -> None:
    tracker = a_tracker(1, 2, 3)
    before = tracker.membership
    simple(tracker, [ConfChangeSingle(LEARN, 3)], 10)
    assert tracker.membership == before
    assert not tracker.progress[3].is_learner


def test_a_change_with_no_node_is_no_change() -> None:
    tracker = a_tracker(1, 2)
    membership, _ = apply(tracker, as_v2(ConfChange(REMOVE, 0)), 10)
    assert membership == tracker.membership


@pytest.mark.parametrize(
    ("transition", "count", "joint", "auto_leave"),
    [
        (ConfChangeTransition.AUTO, 1, False, False),
        (ConfChangeTransition.AUTO, 2, True, True),
        (ConfChangeTransition.JOINT_IMPLICIT, 1, True, True),
        (ConfChangeTransition.JOINT_EXPLICIT, 2, True, False),
    ],
)
def test_the_transition_decides_whether_a_change_is_joint(
    transition: ConfChangeTransition, count: int, joint: bool, auto_leave: bool
) -> None:
    changes = tuple(ConfChangeSingle(ADD, 5 + n) for n in range(count))
    membership, _ = apply(a_tracker(1), ConfChangeV2(changes, transition), 10)
    assert (membership.joint, membership.auto_leave) == (joint, auto_leave)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ([ConfChangeSingle(REMOVE, 1)], "removed all voters"),
        (
            [ConfChangeSingle(ADD, 2), ConfChangeSingle(ADD, 3)],
            "more than one voter changed without entering joint config",
        ),
        ([ConfChangeSingle(9, 2)], "unexpected conf type 9"),
    ],
)
def test_what_does_not_fit_is_refused(changes: list[ConfChangeSingle], text: str) -> None:
    with pytest.raises(InvalidConfChange, match=text):
        simple(a_tracker(1), changes, 10)


def test_joint_configurations_are_entered_and_left_once() -> None:
    tracker = a_tracker(1)
    with pytest.raises(InvalidConfChange, match="can't leave a non-joint config"):
        leave_joint(tracker)
    with pytest.raises(InvalidConfChange, match="can't make a zero-voter config joint"):
        enter_joint(Tracker(10), [], 10, auto_leave=False)
    tracker.install(*enter_joint(tracker, [], 10, auto_leave=False))
    with pytest.raises(InvalidConfChange, match="config is already joint"):
        enter_joint(tracker, [], 10, auto_leave=False)
    with pytest.raises(InvalidConfChange, match="can't apply simple config change in joint config"):
        simple(tracker, [], 10)
