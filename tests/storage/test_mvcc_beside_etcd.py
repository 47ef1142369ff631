"""The same random work on the store and on a real etcd: equal revisions, equal ranges, equal hashes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from mvcc_support import DictLeases, MemoryRows, finish

from quorate.api.pb import rpc_pb2 as rpc
from quorate.storage.mvcc import Store
from quorate.storage.mvcc.hashes import HashCache
from quorate.testing.process import MemberProcess, real_binary

pytestmark = pytest.mark.real

KEYS = [b"a", b"aa", b"b", b"c", b"d" * 200]
ALL = b"\0"


class Etcd:
    """The few calls needed, on a real member."""

    def __init__(self, endpoint: str) -> None:
        self._channel = grpc.insecure_channel(endpoint)

    def call(self, path: str, request: Any, reply: Any) -> Any:
        method = self._channel.unary_unary(
            "/etcdserverpb." + path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=reply.FromString,
        )
        return method(request, timeout=10)

    def txn(self, *ops: rpc.RequestOp) -> int:
        reply = self.call("KV/Txn", rpc.TxnRequest(success=ops), rpc.TxnResponse)
        return int(reply.header.revision)

    def hash_kv(self, revision: int) -> tuple[int, int]:
        reply = self.call("Maintenance/HashKV", rpc.HashKVRequest(revision=revision), rpc.HashKVResponse)
        return reply.hash, reply.compact_revision


@pytest.fixture(scope="module")
def binary() -> Path:
    found = real_binary("etcd")
    if found is None:
        pytest.skip("no real etcd here")
    return found


@pytest.fixture
def etcd(binary: Path, tmp_path: Path) -> Iterator[Etcd]:
    member = MemberProcess(tmp_path / "data", command=(str(binary),), flags=["--unsafe-no-fsync"])
    member.start()
    yield Etcd(member.endpoint)
    member.stop()


@pytest.mark.parametrize("seed", range(2))
def test_hashes_and_ranges_equal_those_of_etcd(seed: int, etcd: Etcd) -> None:
    print("seed", seed)
    dice = random.Random(seed)
    store = Store(MemoryRows(), DictLeases())
    store.restore()
    assert finish(store.hash_kv()).hash == etcd.hash_kv(0)[0] == 1084519789
    for _ in range(300):
        keys = dice.sample(KEYS, dice.choice([1, 1, 2, 5]))
        doomed = [key for key in keys if dice.random() < 0.4]
        value = dice.randbytes(dice.choice([0, 3, 300]))
        ops = []
        with store.write() as txn:
            for key in keys:
                if key in doomed:
                    txn.delete_range(key)
                    ops.append(rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key)))
                else:
                    txn.put(key, value)
                    ops.append(rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value)))
        assert etcd.txn(*ops) == store.revision
        if dice.random() < 0.05 and store.compacted_revision < store.revision:
            revision = dice.randint(store.compacted_revision + 1, store.revision)
            request = rpc.CompactionRequest(revision=revision, physical=True)
            etcd.call("KV/Compact", request, rpc.CompactionResponse)
            finish(store.compact(revision))
            # etcd 3.5.1 keeps no hashes of compactions.
            store.hashes = HashCache()
        # etcd 3.5.1 refuses the hash at exactly the compacted revision, unless it is asked for the newest.
        above = range(store.compacted_revision + 1, store.revision + 1)
        revision = dice.choice([0, *above][-20:])
        mine = finish(store.hash_kv(revision))
        assert (mine.hash, mine.compact_revision) == etcd.hash_kv(revision)
        reply = etcd.call("KV/Range", rpc.RangeRequest(key=ALL, range_end=ALL, revision=revision), rpc.RangeResponse)
        assert store.range(ALL, ALL, revision=revision).kvs == [row.SerializeToString() for row in reply.kvs]
