"""Faults that etcd once had in linearizable reads, in what clients send again, and in whom members hear, each played
again (docs/testing/past-bugs.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sim_scenes import Scene

from quorate.api.pb import rpc_pb2 as pb
from quorate.api.raftpb import Message, MessageType, encode_message
from quorate.transport.grpc import Status

READ = pb.RangeRequest(key=b"k")


def test_20418_acknowledgements_of_old_heartbeats_confirm_no_later_read() -> None:
    with Scene(3) as scene:
        scene.lead(0)
        scene.put(0, b"k", b"old")
        scene.settle()
        echoes: list[Message] = []
        asked: list[Message] = []

        def judge(message: Message) -> Message | None:
            if message.type == MessageType.READ_INDEX:
                asked.append(replace(message, entries=list(message.entries)))
            if message.type == MessageType.HEARTBEAT_RESP and message.context:
                echoes.append(message)
            return message

        hear = scene.hear(0, judge)
        assert scene.get(1, b"k") == b"old"
        assert asked and echoes
        for name in scene.names[1:]:
            scene.network.partition(["m1"], [name])
        scene.until(lambda: scene.server(1).is_leader or scene.server(2).is_leader)
        scene.put(1, b"k", b"new")
        assert scene.server(0).is_leader, "it does not know better yet"
        late = scene.begin(0, READ)
        scene.scheduler.run_for(0.01)
        for message in [*asked, *echoes, *echoes]:
            scene.scheduler.run(scene.members[0].process.loop, told(hear, message))
        scene.scheduler.run_for(0.01)
        assert scene.server(0).is_leader and not late.done()
        scene.network.heal()
        scene.until(late.done)
        assert isinstance(late.exception(), Status) or late.result().kvs[0].value == b"new"


def test_21375_a_new_leader_and_the_answer_of_the_old_one_together_end_the_read() -> None:
    with Scene(5) as scene:
        scene.lead(0)
        scene.put(0, b"k", b"old")
        scene.settle()
        held: list[Message] = []
        hear = scene.hear(4, lambda message: held.append(message) if message.type != MessageType.HEARTBEAT else message)
        read = scene.begin(4, READ)
        scene.until(lambda: any(m.type == MessageType.READ_INDEX_RESP for m in held))
        [answer] = [m for m in held if m.type == MessageType.READ_INDEX_RESP]
        scene.hear(4, held.append)
        scene.lead_elsewhere(0)
        scene.until(lambda: held[-1].type == MessageType.APP and held[-1].term > answer.term)
        assert not read.done()
        scene.scheduler.run(scene.members[4].process.loop, told(hear, answer, held[-1]))
        scene.scheduler.run_for(0.01)
        assert scene.server(4).leader_id == held[-1].from_
        assert "leader changed" in str(read.exception())


def test_7331_a_new_leader_answers_no_read_by_what_it_knew_to_be_committed_before() -> None:
    with Scene(3) as scene:
        scene.lead(0)
        scene.put(0, b"k", b"old")
        scene.settle()
        for number in (1, 2):
            scene.deaf_to_commits(number)
        scene.put(0, b"k", b"new")
        scene.members[0].crash()
        scene.until(lambda: scene.leader() in (1, 2))
        leader = scene.leader()
        assert leader is not None
        scene.hear(leader, lambda message: None if message.type == MessageType.APP_RESP else message)
        read = scene.begin(leader, READ)
        scene.scheduler.run_for(0.7)
        assert not read.done() and scene.server(leader).store.revision == 2
        scene.hear_all()
        scene.until(read.done)
        assert read.result().kvs[0].value == b"new"


def test_9566_a_read_that_waits_for_a_leader_that_is_gone_ends_with_the_next_one() -> None:
    with Scene(3) as scene:
        scene.lead(0)
        scene.put(0, b"k")
        scene.hear(1, lambda message: None if message.type == MessageType.READ_INDEX_RESP else message)
        read = scene.begin(1, READ)
        scene.scheduler.run_for(0.2)
        begun = scene.scheduler.now
        scene.members[0].crash(power=True)
        scene.until(lambda: scene.leader() in (1, 2))
        scene.until(read.done, 0.5)
        assert "leader changed" in str(read.exception()) and scene.scheduler.now - begun < 5.0


def test_12680_a_read_whose_question_was_lost_asks_again() -> None:
    with Scene(3) as scene:
        scene.lead(0)
        scene.put(0, b"k")
        lost: list[Message] = []

        def judge(message: Message) -> Message | None:
            if message.type == MessageType.READ_INDEX and not lost:
                lost.append(message)
                return None
            return message

        scene.hear(0, judge)
        read = scene.begin(1, READ)
        scene.until(read.done, 1.0)
        assert lost and read.result().kvs[0].value == b"v"


def test_14890_a_client_does_not_send_again_what_may_have_happened() -> None:
    with Scene(1) as scene:
        scene.settle()
        calls = []
        for number in range(3):
            scene.until(lambda: scene.refusal(0, READ) == "")  # there is a connection
            scene.network.cut("m1", "clients")
            calls.append(scene.begin(0, pb.TxnRequest(success=[_put(b"k%d" % number)])))
            scene.until(lambda number=number: scene.server(0).store.revision == number + 2)
            scene.network.reset("m1", "clients")
            scene.network.heal()
            scene.until(calls[-1].done)
        assert all(isinstance(call.exception(), Status) for call in calls)
        scene.scheduler.run_for(3.0)
        answer = scene.ask(0, pb.RangeRequest(key=b"k", range_end=b"l"))
        assert [kv.version for kv in answer.kvs] == [1, 1, 1] and answer.header.revision == 4


def test_17813_a_message_for_another_member_is_not_heard() -> None:
    with Scene(3) as scene:
        scene.lead(0)
        scene.settle()
        heard: list[Message] = []
        scene.hear(2, lambda message: heard.append(message) or message)
        own, leader = scene.server(2).member_id, scene.server(0)
        http, cluster = scene.server(1).http, f"{leader.cluster_id:x}"
        headers = [("X-Etcd-Cluster-ID", cluster), ("X-Server-Version", "3.7.0")]
        for to, status in ((own ^ 1, 500), (own, 204)):
            message = Message(
                MessageType.HEARTBEAT, to, leader.member_id, leader.term, commit=1, context=b"unlike others"
            )
            call = http.request(
                "POST",
                "http://10.0.0.3:2380/raft",
                headers=headers,
                body=encode_message(message),
                timeout=5.0,
                body_limit=1000,
            )
            reply = scene.scheduler.run(scene.members[1].process.loop, call)
            assert reply.status == status
        assert [message.to for message in heard if message.context == b"unlike others"] == [own]


def _put(key: bytes) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key))


async def told(hear: Callable[[Message], None], *messages: Message) -> None:
    for message in messages:
        hear(message)
