"""Moving the lead and lowering the version, on a cluster of one."""

from __future__ import annotations

import asyncio

import pytest
from v3rpc_support import Caller, until

from quorate.api import errors
from quorate.api.pb import rpc_pb2

VALIDATE, ENABLE, CANCEL = (
    rpc_pb2.DowngradeRequest.VALIDATE,
    rpc_pb2.DowngradeRequest.ENABLE,
    rpc_pb2.DowngradeRequest.CANCEL,
)


async def test_the_lead_moves_to_voters_only(caller: Caller) -> None:
    moved = await caller.call("Maintenance/MoveLeader", targetID=caller.server.member_id)
    assert not moved.HasField("header"), "etcd sends none here"
    await caller.refused(errors.BadLeaderTransferee, "Maintenance/MoveLeader", targetID=77)
    added = await caller.call("Cluster/MemberAdd", peerURLs=["http://127.0.0.1:1"], isLearner=True)
    await caller.refused(errors.BadLeaderTransferee, "Maintenance/MoveLeader", targetID=added.member.ID)


async def test_who_does_not_lead_cannot_move_the_lead(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller.server.leadership, "leader_id", 77)
    await caller.refused(errors.NotLeader, "Maintenance/MoveLeader", targetID=caller.server.member_id)


@pytest.mark.parametrize(
    ("version", "error"),
    [
        ("", errors.WrongDowngradeVersionFormat),
        ("3.6.x", errors.WrongDowngradeVersionFormat),
        ("3", errors.WrongDowngradeVersionFormat),
        ("3.7.0", errors.InvalidDowngradeTarget),
        ("3.5", errors.InvalidDowngradeTarget),
        ("3.8", errors.InvalidDowngradeTarget),
    ],
)
async def test_a_downgrade_goes_down_by_one_minor(caller: Caller, version: str, error: type[errors.EtcdError]) -> None:
    for action in (VALIDATE, ENABLE):
        await caller.refused(error, "Maintenance/Downgrade", action=action, version=version)
    reply = await caller.call("Maintenance/Downgrade", action=VALIDATE, version="3.6.9")
    assert reply.version == "3.7"


async def test_an_enabled_downgrade_lowers_versions_until_it_is_cancelled(caller: Caller) -> None:
    server = caller.server
    reply = await caller.call("Maintenance/Downgrade", action=ENABLE, version="3.6")
    assert reply.version == "3.7"
    await until(lambda: server.cluster.version == "3.6.0" and server.storage_version == "3.6.0")
    status = await caller.call("Maintenance/Status")
    assert (status.downgradeInfo.enabled, status.downgradeInfo.targetVersion) == (True, "3.6.0")
    assert status.storageVersion == "3.6.0"
    for action in (VALIDATE, ENABLE):
        await caller.refused(errors.DowngradeInProcess, "Maintenance/Downgrade", action=action, version="3.5")
    reply = await caller.call("Maintenance/Downgrade", action=CANCEL)
    assert reply.version == "3.6"
    await until(lambda: server.cluster.version == "3.7.0" and server.storage_version == "3.7.0")
    reply = await caller.call("Maintenance/Downgrade", action=CANCEL)  # there is none: fine
    status = await caller.call("Maintenance/Status")
    assert (status.downgradeInfo.enabled, status.downgradeInfo.targetVersion) == (False, "")


async def test_an_undeclared_action_is_refused(caller: Caller) -> None:
    await caller.refused(errors.UnknownMethod, "Maintenance/Downgrade", action=9, version="3.6")


async def test_a_caller_that_goes_away_leaves_nothing_running(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lead cannot move: nobody answers. The wait must end with the call."""
    server = caller.server
    waiting = len(server.on_leader_change)
    added = await caller.call("Cluster/MemberAdd", peerURLs=["http://127.0.0.1:1"], isLearner=True)
    member = server.cluster.member(added.member.ID)
    assert member is not None
    monkeypatch.setitem(server.cluster._members, member.id, member._replace(is_learner=False))
    call = asyncio.ensure_future(caller.call("Maintenance/MoveLeader", targetID=member.id))
    await until(lambda: len(server.on_leader_change) > waiting)
    call.cancel()
    await until(lambda: len(server.on_leader_change) == waiting)
