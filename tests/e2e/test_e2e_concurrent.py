"""Several clients at once: reads are linearizable, a compare-and-swap has one winner, revisions are handed out once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from e2e_rpc import Client

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.process import MemberProcess

CLIENTS = 8
ROUNDS = 60


def together(member: MemberProcess, work: Callable[[Client, int], None]) -> None:
    """Run it in several threads, each with a connection of its own; the first failure is raised."""
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            with Client(member.endpoint) as client:
                work(client, number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_a_read_sees_every_write_acknowledged_before_it_began(subject: MemberProcess) -> None:
    newest: dict[bytes, int] = {}

    def work(client: Client, number: int) -> None:
        for n in range(ROUNDS):
            key = b"k%d" % (number // 2)
            if number % 2:
                answer = client.put(key, b"%d" % n)
                assert answer.ok, answer
                newest[key] = answer.message.header.revision
            else:
                expected = newest.get(key, 0)
                found = client.get(key).message
                assert found.header.revision >= expected
                assert not expected or found.kvs[0].mod_revision >= expected, f"stale read of {key!r}"

    together(subject, work)


def test_a_counter_raised_by_compare_and_swap_loses_nothing(subject: MemberProcess) -> None:
    won: list[int] = []

    def work(client: Client, number: int) -> None:
        for _ in range(ROUNDS):
            while True:
                kvs = client.get(b"counter").message.kvs
                value, revision = (int(kvs[0].value), kvs[0].mod_revision) if kvs else (0, 0)
                raised = pb.PutRequest(key=b"counter", value=b"%d" % (value + 1))
                guard = pb.Compare(key=b"counter", target=pb.Compare.MOD, mod_revision=revision)
                answer: Any = client.call(
                    "Txn", pb.TxnRequest(compare=[guard], success=[pb.RequestOp(request_put=raised)])
                )
                assert answer.ok, answer
                if answer.message.succeeded:
                    won.append(answer.message.header.revision)
                    break

    together(subject, work)
    with Client(subject.endpoint) as client:
        kv = client.get(b"counter").message.kvs[0]
        assert int(kv.value) == kv.version == CLIENTS * ROUNDS == len(set(won))


def test_every_write_gets_a_revision_of_its_own(subject: MemberProcess) -> None:
    seen: list[int] = []

    def work(client: Client, number: int) -> None:
        calls = [
            client.channel.unary_unary("/etcdserverpb.KV/Put", response_deserializer=pb.PutResponse.FromString).future(
                pb.PutRequest(key=b"%d/%d" % (number, n), value=b"x").SerializeToString()
            )
            for n in range(ROUNDS)
        ]
        seen.extend(call.result(10).header.revision for call in calls)

    together(subject, work)
    assert sorted(seen) == list(range(2, 2 + CLIENTS * ROUNDS))
