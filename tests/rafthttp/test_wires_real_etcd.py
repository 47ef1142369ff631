"""A real etcd 3.5.1 in a cluster of two, whose other member is nothing but our raft machine and our wires."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from wires_support import Wires, until

from quorate.api.internal import encode_request
from quorate.api.pb import rpc_pb2
from quorate.api.raftpb import Entry, EntryType, Message, decode_conf_change
from quorate.membership import Member, cluster_id, conf_change_context, member_id
from quorate.raft import Config, MemoryStorage, Peer, ProposalDropped, RaftError, RawNode, ReadState
from quorate.testing.process import MemberProcess, real_binary
from quorate.transport.http1_client import HttpError

TICK = 0.1
ETCD = real_binary("etcd")

pytestmark = [pytest.mark.real, pytest.mark.skipif(ETCD is None, reason="no real etcd here")]


class BareMember(Wires):
    """Wires with a RawNode behind them: it agrees with the other member and keeps what was agreed on."""

    def begin(self, peers: list[Peer]) -> None:
        self.storage = MemoryStorage()
        self.node = RawNode(
            Config(
                id=self.id,
                storage=self.storage,
                rng=random.Random(1),
                election_tick=10,
                check_quorum=True,
                pre_vote=True,
            )
        )
        self.node.bootstrap(peers)
        self.stands_for_election = True
        self.committed: list[Entry] = []
        self.reads: list[ReadState] = []
        self.host.on_message = self._step
        self._next: asyncio.TimerHandle | None = None
        self._tick()

    @property
    def leader(self) -> int:
        return self.node.raft.lead

    def propose(self, kind: str, request: Any) -> None:
        self.node.propose(encode_request(kind, request.SerializeToString(), random.getrandbits(60)))
        self.turn()

    def turn(self) -> None:
        while self.node.has_ready():
            ready = self.node.ready()
            if ready.hard_state is not None:
                self.storage.set_hard_state(ready.hard_state)
            self.storage.append(ready.entries)
            self.transport.send(ready.messages)
            self.reads += ready.read_states
            for entry in ready.committed_entries:
                if entry.type == EntryType.CONF_CHANGE:
                    self.node.apply_conf_change(decode_conf_change(entry.data))
            self.committed += ready.committed_entries
            self.node.advance()

    def _step(self, message: Message) -> None:
        try:
            self.node.step(message)
        except (RaftError, ProposalDropped):
            return
        asyncio.get_running_loop().call_soon(self.turn)

    def _tick(self) -> None:
        self.node.tick()
        if not self.stands_for_election:
            self.node.raft.election_elapsed = 0
        self.turn()
        self._next = asyncio.get_running_loop().call_later(TICK, self._tick)

    async def stop(self) -> None:
        if self._next is not None:
            self._next.cancel()
        await super().stop()


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[MemberProcess, BareMember]]:
    """A real member and a bare one, which have not found each other yet."""
    ours = BareMember(0)
    await ours.listen()
    real = MemberProcess(tmp_path / "real", command=(str(ETCD),), name="real")
    real.flags = [
        f"--initial-cluster=real={real.peer_url},ours={ours.url}",
        "--initial-cluster-token=wires",
        "--strict-reconfig-check=false",
    ]
    ids = {name: member_id([url], "wires") for name, url in (("real", real.peer_url), ("ours", ours.url))}
    ours.listener.close()
    ours.id = ids["ours"]
    ours.cluster_id = cluster_id(ids.values())
    await ours.start()
    members = [Member(ids["real"], (real.peer_url,), name="real"), Member(ids["ours"], (ours.url,), name="ours")]
    members.sort(key=lambda member: member.id)
    ours.begin([Peer(member.id, conf_change_context(member)) for member in members])
    ours.transport.add_peer(ids["real"], [real.peer_url])
    real.spawn()
    yield real, ours
    real.kill()
    await ours.stop()


async def call(ours: BareMember, real: MemberProcess, path: str, **body: Any) -> dict[str, Any]:
    """A call of the JSON gateway of the real member."""
    data = json.dumps(body).encode()
    reply = await ours.client.request("POST", f"{real.client_url}/v3/{path}", body=data, timeout=10.0)
    assert reply.status == 200, reply.body
    return dict(json.loads(reply.body))


async def serves(ours: BareMember, real: MemberProcess) -> None:
    """Return once the real member is healthy, which takes the agreement of this one."""
    async with asyncio.timeout(20):
        while True:
            try:
                if (await ours.client.request("GET", real.client_url + "/health", timeout=3.0)).status == 200:
                    return
            except (OSError, HttpError):
                pass
            await asyncio.sleep(0.02)


def text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


async def value_of(ours: BareMember, real: MemberProcess, key: str, *, serializable: bool) -> str | None:
    found = await call(ours, real, "kv/range", key=text(key), serializable=serializable)
    rows = found.get("kvs", [])
    return base64.b64decode(rows[0]["value"]).decode() if rows else None


def wired(ours: BareMember) -> bool:
    """All four streams are there, and something came on both of those to us."""
    [number] = ours.transport.peers()
    peer = ours.transport.peer(number)
    assert peer is not None
    return peer._appends.working and peer._messages.working and peer.link.active_since is not None


async def test_a_real_member_leads_and_this_one_follows(pair: tuple[MemberProcess, BareMember]) -> None:
    real, ours = pair
    ours.stands_for_election = False
    [real_id] = ours.transport.peers()
    await until(lambda: ours.leader == real_id, 20)
    await until(lambda: wired(ours))
    await serves(ours, real)
    await call(ours, real, "kv/put", key=text("a"), value=text("1" * 1000))
    assert any(b"1" * 1000 in entry.data for entry in ours.node.raft.log.entries(1, 1 << 20))
    # What is proposed here is sent on to the leader, and so are reads.
    ours.propose("put", rpc_pb2.PutRequest(key=b"sent on", value=b"2"))
    await until(lambda: any(b"sent on" in entry.data for entry in ours.committed))
    assert await value_of(ours, real, "sent on", serializable=False) == "2"
    ours.node.read_index(b"12345678")
    ours.turn()
    await until(lambda: [state.context for state in ours.reads] == [b"12345678"])
    counters = ours.transport.counters(real_id)
    assert counters is not None and counters.received_failures == counters.sent_failures == 0
    assert [line for line in real.log().splitlines() if "rafthttp/" in line and '"level":"info"' not in line] == []


async def test_this_member_leads_and_a_real_one_follows(pair: tuple[MemberProcess, BareMember]) -> None:
    real, ours = pair
    [real_id] = ours.transport.peers()
    await until(lambda: wired(ours), 20)
    while ours.leader != ours.id:
        ours.node.campaign()
        ours.turn()
        await asyncio.sleep(0.3)
    await serves(ours, real)
    for n in range(200):
        ours.propose("put", rpc_pb2.PutRequest(key=b"k%d" % n, value=b"v" * n))
    await until(lambda: any(b"k199" in entry.data for entry in ours.committed))
    # The real one answers reads that everyone agrees on, and sends its own proposals to us.
    assert await value_of(ours, real, "k150", serializable=False) == "v" * 150
    await call(ours, real, "kv/put", key=text("theirs"), value=text("x"))
    assert any(b"theirs" in entry.data for entry in ours.committed)
    big = b"x" * 1_000_000
    for n in range(3):
        ours.propose("put", rpc_pb2.PutRequest(key=b"big%d" % n, value=big))
    await until(lambda: sum(big in entry.data for entry in ours.committed) == 3)
    counters = ours.transport.counters(real_id)
    assert counters is not None and counters.received_failures == counters.sent_failures == 0


async def test_a_real_member_that_is_killed_is_found_again(pair: tuple[MemberProcess, BareMember]) -> None:
    real, ours = pair
    [real_id] = ours.transport.peers()
    await until(lambda: wired(ours) and ours.leader, 20)
    await serves(ours, real)
    real.kill()
    await until(lambda: ours.transport.active_since(real_id) is None, 10)
    await until(lambda: not wired(ours))
    real.spawn()
    await until(lambda: wired(ours), 20)
    await serves(ours, real)
    await call(ours, real, "kv/put", key=text("after"), value=text("1"))
    await until(lambda: any(b"after" in entry.data for entry in ours.committed))


async def test_a_real_member_of_another_cluster_is_refused_and_refuses(
    pair: tuple[MemberProcess, BareMember], caplog: pytest.LogCaptureFixture
) -> None:
    real, ours = pair
    [real_id] = ours.transport.peers()
    stranger = Wires(ours.id, cluster_id=ours.cluster_id + 1)
    await stranger.start()
    stranger.transport.add_peer(real_id, [real.peer_url])
    await until(lambda: "due to cluster ID mismatch" in caplog.text)
    assert stranger.transport.active_since(real_id) is None
    await stranger.stop()


async def test_a_real_member_removes_this_one_and_says_so(pair: tuple[MemberProcess, BareMember]) -> None:
    real, ours = pair
    await until(lambda: wired(ours) and ours.leader, 20)
    await serves(ours, real)
    while ours.leader == ours.id:
        ours.node.transfer_leader(ours.transport.peers()[0])
        ours.turn()
        await asyncio.sleep(0.2)
    await call(ours, real, "cluster/member/remove", ID=str(ours.id))
    await until(lambda: ours.host.told_removed == 1, 20)
    # It took this one's log to agree on that. Whether word of the agreement still came is chance: the real member
    # closes the streams as soon as it has applied the change.
    log = ours.storage.entries(ours.storage.first_index(), ours.storage.last_index() + 1, 1 << 30)
    changes = [decode_conf_change(entry.data) for entry in log if entry.type == EntryType.CONF_CHANGE]
    assert (changes[-1].type, changes[-1].node_id) == (1, ours.id)
