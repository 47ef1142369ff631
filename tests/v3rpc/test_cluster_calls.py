"""Member calls on a cluster of one: what is accepted, what is refused and in which words."""

from __future__ import annotations

import pytest
from v3rpc_support import Caller

from quorate.api import errors

LEARNER = "http://127.0.0.1:1"
OTHER = "http://127.0.0.1:2"


async def add_learner(caller: Caller) -> int:
    reply = await caller.call("Cluster/MemberAdd", peerURLs=[LEARNER], isLearner=True)
    return int(reply.member.ID)


async def test_a_new_member_is_listed_without_a_name_until_it_starts(caller: Caller) -> None:
    reply = await caller.call("Cluster/MemberAdd", peerURLs=[OTHER, LEARNER], isLearner=True)
    assert (reply.member.name, reply.member.isLearner) == ("", True)
    assert list(reply.member.peerURLs) == [LEARNER, OTHER]
    assert reply.header.revision == 0 and reply.header.member_id == caller.server.member_id
    listed = await caller.call("Cluster/MemberList", linearizable=True)
    assert list(listed.members) == list(reply.members)
    assert [member.ID for member in listed.members] == sorted([caller.server.member_id, reply.member.ID])
    [own] = [member for member in listed.members if member.name]
    assert caller.server.member_id == own.ID
    assert list(own.clientURLs) == caller.server.config.advertise_client_urls


@pytest.mark.parametrize(
    "urls", [[], [""], ["x"], ["http://a"], ["http://a:1/p"], ["ftp://a:1"], ["http://a:1,http://b:1"], ["http://[:1"]]
)
async def test_urls_that_nobody_can_be_reached_by_are_refused(caller: Caller, urls: list[str]) -> None:
    await caller.refused(errors.BadMemberUrls, "Cluster/MemberAdd", peerURLs=urls)
    await caller.refused(errors.BadMemberUrls, "Cluster/MemberUpdate", ID=caller.server.member_id, peerURLs=urls)


async def test_urls_and_learners_are_limited_where_the_change_is_applied(caller: Caller) -> None:
    await add_learner(caller)
    await caller.refused(errors.PeerUrlExists, "Cluster/MemberAdd", peerURLs=[LEARNER, OTHER], isLearner=True)
    await caller.refused(errors.TooManyLearners, "Cluster/MemberAdd", peerURLs=[OTHER], isLearner=True)
    own = list(caller.server.cluster.members()[0].peer_urls + caller.server.cluster.members()[1].peer_urls)
    await caller.refused(errors.PeerUrlExists, "Cluster/MemberUpdate", ID=caller.server.member_id, peerURLs=own)


async def test_a_member_added_twice_in_a_second_is_refused_and_a_removed_one_never_comes_back(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quorate.server.members.time.time", lambda: 1_800_000_000.5)
    number = await add_learner(caller)
    await caller.refused(errors.MemberExists, "Cluster/MemberAdd", peerURLs=[LEARNER], isLearner=True)
    reply = await caller.call("Cluster/MemberRemove", ID=number)
    assert [member.ID for member in reply.members] == [caller.server.member_id]
    await caller.refused(errors.MemberNotFound, "Cluster/MemberAdd", peerURLs=[LEARNER], isLearner=True)
    for call in ("Cluster/MemberRemove", "Cluster/MemberPromote"):
        await caller.refused(errors.MemberNotFound, call, ID=number)
    await caller.refused(errors.MemberNotFound, "Cluster/MemberUpdate", ID=number, peerURLs=[OTHER])


async def test_an_update_changes_the_peer_urls_and_leaves_a_learner_one(caller: Caller) -> None:
    number = await add_learner(caller)
    reply = await caller.call("Cluster/MemberUpdate", ID=number, peerURLs=[OTHER])
    [updated] = [member for member in reply.members if number == member.ID]
    assert (list(updated.peerURLs), updated.isLearner) == ([OTHER], True)
    await caller.refused(errors.LearnerNotReady, "Cluster/MemberPromote", ID=number)


async def test_only_a_learner_in_step_is_promoted(caller: Caller) -> None:
    number = await add_learner(caller)
    await caller.refused(errors.LearnerNotReady, "Cluster/MemberPromote", ID=number)
    await caller.refused(errors.MemberNotLearner, "Cluster/MemberPromote", ID=caller.server.member_id)
    await caller.refused(errors.MemberNotFound, "Cluster/MemberPromote", ID=77)
    progress = caller.server.node.raft.tracker.progress
    progress[number].match = progress[caller.server.member_id].match  # as if it had told so
    reply = await caller.call("Cluster/MemberPromote", ID=number)
    assert [member.isLearner for member in reply.members] == [False, False]


async def test_the_last_member_cannot_be_removed(caller: Caller) -> None:
    """Its own text has a code for clients, but comes without one, as etcd sends it."""
    await caller.refused(errors.NotEnoughStarted, "Cluster/MemberRemove", ID=caller.server.member_id)


async def test_members_survive_a_restart_of_the_member(caller: Caller) -> None:
    number = await add_learner(caller)
    before = await caller.call("Cluster/MemberList")
    await caller.member.stop()
    caller.member = type(caller.member)(caller.member.config)
    await caller.member.start()
    after = await caller.call("Cluster/MemberList")
    assert list(before.members) == list(after.members)
    await caller.call("Cluster/MemberRemove", ID=number)
