"""What is checked before any call: version, learner, caller, leader, in this order."""

from __future__ import annotations

import pytest
from v3rpc_support import Caller, until

from quorate.api import errors
from quorate.transport.grpc import Status

WANTS_LEADER = (("hasleader", "true"),)
BAD_VERSION = (("client-api-version", b"\xff".decode("utf-8", "surrogateescape")),)


async def test_nothing_is_served_before_a_version_is_decided(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller.server.cluster, "_version", None)
    caller.server.cluster._judge()
    for path, fields in (("Maintenance/Status", {}), ("KV/Range", {"key": b"k", "serializable": True})):
        await caller.refused(errors.NotCapable, path, metadata=BAD_VERSION, **fields)


async def test_a_learner_serves_status_snapshots_and_serializable_reads(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = caller.server
    own = server.cluster.member(server.member_id)
    assert own is not None
    monkeypatch.setitem(server.cluster._members, own.id, own._replace(is_learner=True))
    server.cluster._judge()
    assert (await caller.call("Maintenance/Status")).isLearner
    await caller.call("KV/Range", key=b"k", serializable=True)
    saving = caller.channel.stream("/etcdserverpb.Maintenance/Snapshot")
    saving.send(b"")
    saving.half_close()
    assert len([message async for message in saving]) >= 2
    for path, fields in (
        ("KV/Range", {"key": b"k"}),
        ("KV/Put", {"key": b"k"}),
        ("Cluster/MemberList", {}),
        ("Lease/LeaseLeases", {}),
        ("Maintenance/MoveLeader", {"targetID": 1}),
    ):
        await caller.refused(errors.NotSupportedForLearner, path, metadata=BAD_VERSION, **fields)
    with pytest.raises(Status) as caught:
        await caller.channel.stream("/etcdserverpb.Watch/Watch").receive()
    assert caught.value.message == errors.NotSupportedForLearner.text


async def test_the_api_version_of_a_caller_must_be_text(caller: Caller) -> None:
    for _ in range(2):
        await caller.refused(errors.InvalidClientApiVersion, "KV/Range", metadata=BAD_VERSION, key=b"k")
        await caller.call("KV/Range", metadata=(("client-api-version", "3.7.0"),), key=b"k")
        await caller.call("KV/Range", metadata=(("client-api-version", "3.7.\N{NO-BREAK SPACE}"),), key=b"k")


async def test_who_wants_a_leader_is_refused_when_there_is_none(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller.server.leadership, "leader_id", 0)
    await caller.refused(errors.NoLeader, "KV/Range", metadata=WANTS_LEADER, key=b"k", serializable=True)
    await caller.call("KV/Range", metadata=(("hasleader", "no"),), key=b"k", serializable=True)


async def test_a_stream_that_wants_a_leader_ends_when_there_is_none_for_too_long(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = caller.server.leader_watch
    stream = caller.channel.stream("/etcdserverpb.Watch/Watch", metadata=WANTS_LEADER)
    await until(lambda: len(watch) == 1)
    monkeypatch.setattr(caller.server.leadership, "leader_id", 0)
    for number in range(1, 4):
        watch.tick(1e12 * number)
    with pytest.raises(Status) as caught:
        await stream.receive()
    assert (caught.value.code, caught.value.message) == (errors.NoLeader.code, errors.NoLeader.text)
    await until(lambda: len(watch) == 0)
