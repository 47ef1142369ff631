"""Members in one process, over real sockets: they agree, lose one another, grow, shrink and catch up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from quorate.api import errors
from quorate.api.pb import rpc_pb2 as rpc
from quorate.embed import Config, Etcd
from quorate.membership import add_change, new_member, promote_change, remove_change
from quorate.server import MemberRemoved, Server
from quorate.server.bootstrap import BootstrapError
from quorate.testing.process import free_port


async def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)


class Members:
    """Members by name, all in this process."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.path = path
        self.settings = settings
        self.configs: dict[str, Config] = {}
        self.running: dict[str, Etcd] = {}

    def describe(self, *names: str, state: str = "new") -> None:
        """Ports for members that start together."""
        ports = {name: (free_port(), free_port()) for name in names}
        known = {name: config.initial_advertise_peer_urls[0] for name, config in self.configs.items()}
        known |= {name: f"http://127.0.0.1:{peer}" for name, (_, peer) in ports.items()}
        for name, (client, _) in ports.items():
            self.configs[name] = Config(
                name=name,
                data_dir=str(self.path / name),
                listen_client_urls=[f"http://127.0.0.1:{client}"],
                advertise_client_urls=[f"http://127.0.0.1:{client}"],
                listen_peer_urls=[known[name]],
                initial_advertise_peer_urls=[known[name]],
                initial_cluster=",".join(f"{other}={url}" for other, url in known.items()),
                initial_cluster_state=state,
                heartbeat_interval=50,
                election_timeout=500,
                **self.settings,
            )

    async def start(self, *names: str) -> None:
        """Returns when all of them serve."""
        for name in names:
            self.running[name] = Etcd(self.configs[name])
        async with asyncio.timeout(20):
            await asyncio.gather(*(self.running[name].start() for name in names))

    async def stop(self, name: str) -> None:
        await self.running.pop(name).stop()

    async def crash(self, name: str) -> None:
        await self.running.pop(name).abort()

    async def stop_all(self) -> None:
        for name in list(self.running):
            await self.stop(name)

    def __getitem__(self, name: str) -> Server:
        server = self.running[name].server
        assert server is not None
        return server

    def leader(self) -> str:
        """Name of the member that all who run think leads; empty when they do not agree."""
        ids = {self[name].leader_id for name in self.running}
        found = [name for name in self.running if ids == {self[name].member_id}]
        return found[0] if found else ""

    def followers(self) -> list[str]:
        return [name for name in self.running if name != self.leader()]

    async def led(self) -> str:
        await until(lambda: bool(self.leader()))
        return self.leader()


@pytest.fixture
async def members(tmp_path: Path) -> AsyncIterator[Members]:
    made = Members(tmp_path)
    yield made
    await made.stop_all()


async def put(server: Server, key: bytes, value: bytes = b"v") -> int:
    return (await server.propose("put", rpc.PutRequest(key=key, value=value))).revision


async def get(server: Server, key: bytes) -> int:
    """Linearizable: how many keys of this name there are."""
    while True:
        try:
            await server.fresh()
            break
        except errors.LeaderChanged:  # as any client does
            continue
    return server.store.range(key).count


async def test_three_members_agree_on_writes_made_through_any_of_them(members: Members) -> None:
    members.describe("a", "b", "c")
    await members.start("a", "b", "c")
    for number in range(30):
        await put(members["abc"[number % 3]], b"k%d" % number)
    for name in "abc":
        await members[name].fresh()
        assert members[name].store.range(b"k", b"l").count == 30
    revisions = {members[name].store.revision for name in "abc"}
    assert revisions == {31}
    hashes = {(await members[name].hash_kv(31)).hash for name in "abc"}
    assert len(hashes) == 1


async def test_what_was_acknowledged_survives_the_leader(members: Members) -> None:
    members.describe("a", "b", "c")
    await members.start("a", "b", "c")
    leader = await members.led()
    await put(members[leader], b"before")
    await members.crash(leader)
    await members.led()
    for name in members.running:
        await put(members[name], b"after-" + name.encode())
        assert await get(members[name], b"before") == 1
    await members.start(leader)
    await until(lambda: members[leader].store.revision == members[members.leader()].store.revision)
    assert await get(members[leader], b"before") == 1


async def test_a_lagging_member_is_sent_the_whole_state(tmp_path: Path) -> None:
    members = Members(tmp_path, snapshot_count=10, snapshot_catchup_entries=5)
    members.describe("a", "b", "c")
    await members.start("a", "b", "c")
    try:
        await members.led()
        behind = members.followers()[0]
        await put(members[behind], b"early")
        await members.stop(behind)
        leader = await members.led()
        for number in range(100):
            await put(members[leader], b"k%d" % (number % 50))
        await members[leader].compact(rpc.CompactionRequest(revision=60))
        await until(lambda: members[leader].raft.storage.first_index() > 60)
        await members.start(behind)
        revision = members[leader].store.revision
        await until(lambda: members[behind].store.revision >= revision)
        assert members[behind].raft.storage.snapshot().index > 60
        assert len({(await members[name].hash_kv(revision)).hash for name in "abc"}) == 1
        await put(members[behind], b"late")
        await members.stop(behind)
        await members.start(behind)
        assert await get(members[behind], b"late") == 1
    finally:
        await members.stop_all()


async def test_a_cluster_grows_by_a_learner_and_shrinks_again(members: Members) -> None:
    members.describe("a", "b")
    await members.start("a", "b")
    await put(members["a"], b"k")
    members.describe("c", state="existing")
    added = new_member(members.configs["c"].initial_advertise_peer_urls, True, 1_700_000_000)
    await members["a"].configure(add_change(added))
    await members.start("c")
    await until(lambda: members["c"].store.range(b"k").count == 1)
    assert members["c"].cluster.is_local_learner
    await members["b"].configure(promote_change(added.id))
    await until(lambda: not members["c"].cluster.is_local_learner)
    await put(members["c"], b"by the new one")
    leader = await members.led()
    gone = members[leader].member_id
    await members[leader].configure(remove_change(gone))
    with pytest.raises(MemberRemoved):
        await asyncio.wait_for(members.running[leader].failed, 10)
    await members.crash(leader)
    await members.led()
    for name in members.running:
        await put(members[name], b"after")
        assert gone not in {member.id for member in members[name].cluster.members()}
    with pytest.raises(BootstrapError, match="permanently removed"):
        await Etcd(members.configs[leader]).start()


async def test_a_member_that_stops_before_it_has_heard_of_its_cluster_joins_at_its_next_start(members: Members) -> None:
    members.describe("a")
    await members.start("a")
    await put(members["a"], b"k")
    members.describe("c", state="existing")
    urls = members.configs["c"].initial_advertise_peer_urls
    await members["a"].configure(add_change(new_member(urls, 1_700_000_000, True)))
    settings = members.configs["c"].server_config()
    stopped = await Server.open(settings, asyncio.get_running_loop(), lambda error: None)
    await stopped.abort()
    await members.start("c")
    await until(lambda: members["c"].store.range(b"k").count == 1)


async def test_a_leader_that_was_removed_shows_nobody_its_own_state_as_the_newest(members: Members) -> None:
    members.describe("a", "b")
    await members.start("a", "b")
    leader = await members.led()
    gone = members[leader]
    await gone.configure(remove_change(gone.member_id))
    barrier = gone.read_barrier()
    assert barrier is not None, "the one that is left may lead and write already"
    await asyncio.wait([barrier])  # the other one has confirmed it just in time, or the member stops
    with pytest.raises(MemberRemoved):
        await asyncio.wait_for(members.running[leader].failed, 10)
    await members.crash(leader)


async def test_a_change_that_does_not_fit_is_refused_and_changes_nothing(members: Members) -> None:
    members.describe("a", "b", "c")
    await members.start("a", "b", "c")
    for refused in (remove_change(12345), promote_change(members["a"].member_id)):
        with pytest.raises((errors.MemberNotFound, errors.MemberNotLearner)):
            await members["b"].configure(refused)
    assert len(members["c"].cluster.members()) == 3
    await put(members["a"], b"k")


async def test_data_that_was_lost_does_not_start_as_a_new_member(members: Members, tmp_path: Path) -> None:
    members.describe("a", "b", "c")
    await members.start("a", "b", "c")
    await members.stop("c")
    members.configs["c"].data_dir = str(tmp_path / "empty")
    with pytest.raises(BootstrapError, match="has already been bootstrapped"):
        await Etcd(members.configs["c"]).start()


async def test_a_member_goes_on_alone_when_forced(members: Members) -> None:
    members.describe("a", "b", "c")
    await members.start("a", "b", "c")
    for number in range(20):
        await put(members["b"], b"k%d" % number)
    for name in "abc":
        await members.crash(name)
    members.configs["b"].force_new_cluster = True
    await members.start("b")
    assert await get(members["b"], b"k19") == 1
    assert [member.name for member in members["b"].cluster.members()] == ["b"]
    await put(members["b"], b"alone")
    await members.stop("b")
    members.configs["b"].force_new_cluster = False
    await members.start("b")
    assert await get(members["b"], b"alone") == 1


async def test_without_a_leader_proposals_and_reads_end_in_time(
    members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quorate.server.config.ServerConfig.request_timeout", 0.6)
    members.describe("a", "b", "c")
    await members.start("a", "b", "c")
    await members.led()
    for name in members.followers():
        await members.crash(name)
    alone = next(iter(members.running))
    await until(lambda: not members[alone].leader_id)
    with pytest.raises(errors.DeadlineExceeded):
        await put(members[alone], b"k")
    with pytest.raises(errors.Timeout):
        await members[alone].fresh()
