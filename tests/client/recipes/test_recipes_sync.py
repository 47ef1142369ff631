"""The recipes for programs with threads: what is theirs alone. The rest is what the asyncio ones do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from quorate.client import ops
from quorate.client.sync import Client
from quorate.client.sync.recipes import Election, Lock, Namespace, Queue, StmTxn, WatchCache, stm
from quorate.testing.process import MemberProcess

THREADS, ROUNDS = 4, 10


@pytest.fixture
def sync_client(member: MemberProcess) -> Client:
    return Client(member.endpoint)


def test_threads_that_count_under_a_lock_miss_no_count(sync_client: Client, prefix: bytes) -> None:
    def count() -> None:
        with sync_client.session(20) as session:
            for _ in range(ROUNDS):
                with Lock(sync_client, session, prefix + b"lock") as lock:
                    value = int(sync_client.get(prefix).value or 0)
                    write = sync_client.txn().when(lock.is_owner()).then(ops.put(prefix, str(value + 1)))
                    assert write.commit().succeeded

    with sync_client, ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(count) for _ in range(THREADS)]:
            done.result(60.0)
        assert sync_client.get(prefix).value == b"%d" % (THREADS * ROUNDS)


def test_a_transaction_function_runs_in_the_thread_that_called_and_is_done_again(
    sync_client: Client, prefix: bytes
) -> None:
    def add(txn: StmTxn) -> None:
        txn.put(prefix, str(int(txn.get(prefix) or 0) + 1))

    with sync_client, ThreadPoolExecutor(THREADS) as pool:
        each = [pool.submit(lambda: [stm(sync_client, add) for _ in range(ROUNDS)]) for _ in range(THREADS)]
        for done in each:
            done.result(60.0)
        assert sync_client.get(prefix).value == b"%d" % (THREADS * ROUNDS)


def test_a_thread_that_waits_to_lead_leads_when_the_leader_resigns(sync_client: Client, prefix: bytes) -> None:
    waits = Event()

    def follow() -> bytes:
        with sync_client.session(20) as session:
            election = Election(sync_client, session, prefix)
            waits.set()
            election.campaign(b"second", timeout=30.0)
            leader = election.leader()
            assert leader is not None
            return leader.value

    with sync_client, ThreadPoolExecutor(1) as pool, sync_client.session(20) as session:
        first = Election(sync_client, session, prefix)
        first.campaign(b"first")
        second = pool.submit(follow)
        assert waits.wait(10.0)
        assert next(first.observe()).value == b"first"
        first.resign()
        assert second.result(30.0) == b"second"


def test_a_queue_gives_a_waiting_thread_what_another_puts_in(sync_client: Client, prefix: bytes) -> None:
    with sync_client, ThreadPoolExecutor(1) as pool:
        queue = Queue(sync_client, prefix)
        waiting = pool.submit(queue.dequeue, timeout=30.0)
        queue.enqueue("first")
        queue.enqueue("second")
        assert [waiting.result(30.0), queue.dequeue()] == [b"first", b"second"]


def test_a_namespace_and_a_cache_hide_the_prefix_from_threads_too(sync_client: Client, prefix: bytes) -> None:
    with sync_client:
        inside = Namespace(sync_client, prefix + b"/")
        with inside.watch("k") as watch, WatchCache(sync_client, prefix) as cache:
            revision = inside.put("k", "v").header.revision
            event = watch.next(10.0)
            assert event is not None and event.key == b"k"
            cache.wait_synced(revision, timeout=10.0)
            cached = cache.get(prefix + b"/k")
            assert cached is not None and cached.value == b"v"
        assert [event.key for event in iter(lambda: watch.next(0.1), None)] == []
