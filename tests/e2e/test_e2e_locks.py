"""Locks and elections, beside real etcd call by call, and shared with etcdctl, which keeps the queue by itself."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from e2e_ctl import Ctl
from e2e_rpc import Answer, Client, wait_until
from google.protobuf import text_format

from quorate.api.pb import election_pb2 as el
from quorate.api.pb import lock_pb2 as lk
from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.process import MemberProcess

pytestmark = pytest.mark.real

DEADLINE_EXCEEDED = 4
SHORT = 0.5
"""Seconds until a call that waits for nothing is given up."""


class Teller:
    """Makes calls to one member and keeps what came of them, without IDs."""

    def __init__(self, endpoint: str) -> None:
        self.client = Client(endpoint)
        self.told: list[str] = []
        self._pool = ThreadPoolExecutor(8)

    def close(self) -> None:
        self.client.close()
        self._pool.shutdown()

    def call(self, name: str, request: Any, timeout: float = 10.0) -> Any:
        answer = self.client.call(name, request, timeout=timeout)
        self.say(name, answer)
        return answer.message

    def start(self, name: str, request: Any, key: bytes) -> Future[Answer]:
        """A call that waits; `key` is the one it makes."""
        future = self._pool.submit(self.client.call, name, request, timeout=20.0)
        assert wait_until(lambda: self.client.get(key).message.count == 1)
        return future

    def end(self, name: str, future: Future[Answer]) -> Any:
        answer = future.result(20)
        self.say(name, answer)
        return answer.message

    def grant(self, *leases: int) -> None:
        for lease in leases:
            self.call("LeaseGrant", pb.LeaseGrantRequest(ID=lease, TTL=60))

    def revoke(self, lease: int) -> None:
        self.call("LeaseRevoke", pb.LeaseRevokeRequest(ID=lease))

    def keys(self) -> None:
        self.say("keys", Answer(self.client.everything()))

    def gone(self, key: bytes) -> None:
        assert wait_until(lambda: self.client.get(key).message.count == 0), key

    def say(self, what: str, answer: Answer) -> None:
        code, text = answer.code, answer.text
        if answer.ok:
            text = text_format.MessageToString(answer.message, as_one_line=True)
        elif code == DEADLINE_EXCEEDED or text == "context deadline exceeded":
            code, text = DEADLINE_EXCEEDED, ""  # in the words of whoever noticed first, client or server
        text = re.sub(r"(cluster_id|member_id): \d+ ", "", text)
        text = re.sub(r"(lease|ID): \d{12,}", r"\1: MADE", text)
        self.told.append(f"{what}: {code} {re.sub(r'/[0-9a-f]{12,}', '/MADE', text)}")

    def observe(self, name: bytes) -> Observer:
        return Observer(self.client, name)


class Observer:
    """An Observe stream; a thread collects what it says."""

    def __init__(self, client: Client, name: bytes) -> None:
        self._call = client.channel.unary_stream(
            "/v3electionpb.Election/Observe",
            el.LeaderRequest.SerializeToString,
            el.LeaderResponse.FromString,
        )(el.LeaderRequest(name=name))
        self._heard: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        try:
            for message in self._call:
                self._heard.put(Answer(message))
        except grpc.RpcError as error:
            self._heard.put(Answer(None, error.code().value[0]))  # type: ignore[attr-defined]

    def next(self) -> Answer:
        return self._heard.get(timeout=10)

    def close(self) -> None:
        self._call.cancel()
        self._thread.join(5)


Story = Callable[[Teller], None]
STORIES: list[Story] = []


def story(told: Story) -> Story:
    STORIES.append(told)
    return told


@pytest.mark.parametrize("told", STORIES, ids=lambda told: told.__name__)
def test_real_etcd_says_the_same(told: Story, real: MemberProcess, subject: MemberProcess) -> None:
    accounts = []
    for member in (real, subject):
        teller = Teller(member.endpoint)
        try:
            told(teller)
        finally:
            teller.close()
        accounts.append(teller.told)
    assert accounts[0] and accounts[1] == accounts[0]


@story
def locks(t: Teller) -> None:
    t.grant(16, 0x1FF, -5)
    for _ in range(2):
        t.call("Lock", lk.LockRequest(name=b"a", lease=16))
    t.call("Lock", lk.LockRequest(lease=0x1FF))
    t.call("Lock", lk.LockRequest(name=b"a/", lease=-5))
    t.call("Lock", lk.LockRequest(name=b"made"))
    t.keys()
    t.call("LeaseLeases", pb.LeaseLeasesRequest())
    t.call("Unlock", lk.UnlockRequest(key=b"a/10"))
    t.call("Unlock", lk.UnlockRequest(key=b"a/10"))
    t.keys()


@story
def locks_refused(t: Teller) -> None:
    t.grant(16)
    t.call("Lock", lk.LockRequest(name=b"a", lease=77))
    t.call("Lock", lk.LockRequest(name=b"a" * 1_600_000, lease=16))
    t.call("Unlock", lk.UnlockRequest())
    t.call("Unlock", lk.UnlockRequest(key=b"absent"))
    t.keys()


@story
def locks_waited_for(t: Teller) -> None:
    t.grant(1, 2, 3, 4)
    t.call("Lock", lk.LockRequest(name=b"a", lease=1))
    second = t.start("Lock", lk.LockRequest(name=b"a", lease=2), b"a/2")
    third = t.start("Lock", lk.LockRequest(name=b"a", lease=3), b"a/3")
    t.client.put(b"x", b"1")
    t.call("Unlock", lk.UnlockRequest(key=b"a/1"))
    t.end("Lock", second)
    t.client.put(b"x", b"2")
    t.call("Lock", lk.LockRequest(name=b"a", lease=4), SHORT)
    t.gone(b"a/4")
    t.keys()
    t.revoke(2)
    t.end("Lock", third)


@story
def locks_lost_while_waited_for(t: Teller) -> None:
    """Real etcd says so only when the turn comes, so that is when both are asked."""
    t.grant(1, 2, 3)
    t.call("Lock", lk.LockRequest(name=b"a", lease=1))
    lost = t.start("Lock", lk.LockRequest(name=b"a", lease=2), b"a/2")
    last = t.start("Lock", lk.LockRequest(name=b"a", lease=3), b"a/3")
    t.revoke(2)
    t.call("Unlock", lk.UnlockRequest(key=b"a/1"))
    t.end("Lock", lost)
    t.end("Lock", last)


@story
def elections(t: Teller) -> None:
    t.grant(33, 34, 35)
    t.call("Leader", el.LeaderRequest(name=b"e"))
    for value in (b"v1", b"v1", b"v2"):
        leader = t.call("Campaign", el.CampaignRequest(name=b"e", lease=33, value=value)).leader
    t.call("Campaign", el.CampaignRequest(name=b"made"))
    second = t.start("Campaign", el.CampaignRequest(name=b"e", lease=34, value=b"w"), b"e/22")
    t.call("Campaign", el.CampaignRequest(name=b"e", lease=35, value=b"w"), SHORT)
    t.gone(b"e/23")
    t.call("Leader", el.LeaderRequest(name=b"e"))
    t.call("Proclaim", el.ProclaimRequest(leader=leader, value=b"p"))
    t.keys()
    t.call("Resign", el.ResignRequest(leader=leader))
    t.end("Campaign", second)
    t.call("Resign", el.ResignRequest(leader=leader))
    t.call("Proclaim", el.ProclaimRequest(leader=leader, value=b"too late"))
    t.call("Leader", el.LeaderRequest(name=b"e"))
    t.keys()


@story
def elections_refused(t: Teller) -> None:
    t.grant(33)
    t.call("Campaign", el.CampaignRequest(name=b"e", lease=77, value=b"v"))
    leader = t.call("Campaign", el.CampaignRequest(name=b"e", lease=33, value=b"v")).leader
    t.call("Proclaim", el.ProclaimRequest(value=b"x"))
    t.call("Resign", el.ResignRequest())
    t.call("Proclaim", el.ProclaimRequest(leader=el.LeaderKey(), value=b"x"))
    t.call("Resign", el.ResignRequest(leader=el.LeaderKey()))
    for change in ({"rev": leader.rev - 1}, {"lease": 4242}, {"key": b"e/0"}, {"name": b"other"}, {"lease": 0}):
        changed = el.LeaderKey()
        changed.CopyFrom(leader)
        for field, value in change.items():
            setattr(changed, field, value)
        t.call("Proclaim", el.ProclaimRequest(leader=changed, value=b"x"))
        t.keys()
    changed.rev -= 1
    t.call("Resign", el.ResignRequest(leader=changed))
    t.call("Leader", el.LeaderRequest(name=b"e"))
    t.call("Resign", el.ResignRequest(leader=leader))
    t.keys()


@story
def elections_observed(t: Teller) -> None:
    t.grant(1, 2)
    first = t.call("Campaign", el.CampaignRequest(name=b"e", lease=1, value=b"1")).leader
    t.client.put(b"x", b"1")
    observer = t.observe(b"e")
    t.say("observed", observer.next())
    t.call("Proclaim", el.ProclaimRequest(leader=first, value=b"1a"))
    t.say("observed", observer.next())
    second = t.start("Campaign", el.CampaignRequest(name=b"e", lease=2, value=b"2"), b"e/2")
    t.call("Proclaim", el.ProclaimRequest(leader=first, value=b"1b"))
    t.say("observed", observer.next())
    t.call("Resign", el.ResignRequest(leader=first))
    t.say("observed", observer.next())
    t.end("Campaign", second)
    t.revoke(2)
    t.call("Leader", el.LeaderRequest(name=b"e"))
    t.grant(3)
    t.call("Campaign", el.CampaignRequest(name=b"e", lease=3, value=b"3"))
    t.say("observed", observer.next())
    observer.close()
    t.say("end", observer.next())


@pytest.fixture
def ctl(etcdctl: Path, subject: MemberProcess) -> Ctl:
    return Ctl(etcdctl, subject)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


def grant(client: Client, lease: int) -> None:
    assert client.call("LeaseGrant", pb.LeaseGrantRequest(ID=lease, TTL=60)).ok


def test_etcdctl_waits_for_a_lock_of_the_service(ctl: Ctl, client: Client) -> None:
    grant(client, 1)
    held = client.call("Lock", lk.LockRequest(name=b"l", lease=1)).message
    with ctl.background("lock", "l") as command:
        assert wait_until(lambda: client.get(b"l/", b"l0").message.count == 2)
        assert command.output() == ""
        assert client.call("Unlock", lk.UnlockRequest(key=held.key)).ok
        command.until("l/")
        mine = command.output().strip().encode()
        assert client.get(mine).message.count == 1
    assert client.get(b"l/", b"l0").message.count == 0


def test_the_service_waits_for_a_lock_of_etcdctl(ctl: Ctl, client: Client, pool: ThreadPoolExecutor) -> None:
    grant(client, 1)
    with ctl.background("lock", "l") as command:
        command.until("l/")
        waiter = pool.submit(client.call, "Lock", lk.LockRequest(name=b"l", lease=1), timeout=30.0)
        assert wait_until(lambda: client.get(b"l/1").message.count == 1)
        assert not waiter.done()
    answer = waiter.result(20)
    assert (answer.code, answer.message.key) == (0, b"l/1")


def test_etcdctl_and_the_service_take_turns_as_leaders(ctl: Ctl, client: Client, pool: ThreadPoolExecutor) -> None:
    grant(client, 1)
    grant(client, 2)
    first = client.call("Campaign", el.CampaignRequest(name=b"e", lease=1, value=b"service")).message.leader
    with ctl.background("elect", "--listen", "e") as listener:
        listener.until("service")
        with ctl.background("elect", "e", "etcdctl") as command:
            assert wait_until(lambda: client.get(b"e/", b"e0").message.count == 2)
            waiter = pool.submit(
                client.call, "Campaign", el.CampaignRequest(name=b"e", lease=2, value=b"again"), timeout=30.0
            )
            assert wait_until(lambda: client.get(b"e/2").message.count == 1)
            assert client.call("Resign", el.ResignRequest(leader=first)).ok
            command.until("etcdctl")
            leader = client.call("Leader", el.LeaderRequest(name=b"e")).message
            assert leader.kv.value == b"etcdctl" and not waiter.done()
            listener.until("etcdctl")
        assert waiter.result(20).message.leader.key == b"e/2"
        listener.until("again")
