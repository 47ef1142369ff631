"""Files that a real etcd wrote are read row by row, and files written here are taken by it."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import grpc
import pytest
from bbolt_support import findings, read, write
from google_crc32c import extend

from quorate.api.pb import rpc_pb2 as rpc
from quorate.storage.schema import BUCKETS
from quorate.testing.process import MemberProcess, real_binary

pytestmark = pytest.mark.real

Files = dict[bytes, list[tuple[bytes, bytes]]]


class Etcd(MemberProcess):
    """A real member, and the few calls needed."""

    def __init__(self, data_dir: Path, **options: object) -> None:
        binary = real_binary("etcd")
        if binary is None:
            pytest.skip("no real etcd here")
        super().__init__(data_dir, command=(str(binary),), flags=["--unsafe-no-fsync"], **options)

    def call(self, path: str, request: object, reply: object) -> object:
        with grpc.insecure_channel(self.endpoint) as channel:
            method = channel.unary_unary(
                "/etcdserverpb." + path,
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=reply.FromString,
            )
            return method(request, timeout=10)

    def hash_kv(self) -> tuple[int, int]:
        reply = self.call("Maintenance/HashKV", rpc.HashKVRequest(), rpc.HashKVResponse)
        return reply.hash, reply.header.revision

    def keys(self) -> list[tuple[bytes, bytes]]:
        reply = self.call("KV/Range", rpc.RangeRequest(key=b"\0", range_end=b"\0"), rpc.RangeResponse)
        return [(kv.key, kv.value) for kv in reply.kvs]

    def work(self, dice: random.Random) -> None:
        """Puts of all sizes, deletes, a compaction, leases: pages that came and went, and some of them overflowing."""
        ops = []
        for number in range(900):
            key = b"%s-%d" % (dice.randbytes(4).hex().encode(), number) + b"k" * dice.choice([0, 0, 3, 2_000])
            value = dice.randbytes(dice.choice([0, 10, 200, 200, 3_000] + [100_000] * (number % 50 == 0)))
            ops.append(rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value)))
            if dice.random() < 0.2:
                start = dice.randbytes(1).hex().encode()
                gone = rpc.DeleteRangeRequest(key=start, range_end=start + b"\xff")
                ops.append(rpc.RequestOp(request_delete_range=gone))
            if len(ops) >= 20:
                for op in ops:
                    self.call("KV/Txn", rpc.TxnRequest(success=[op]), rpc.TxnResponse)
                ops = []
        self.call("KV/Put", rpc.PutRequest(key=b"~", value=dice.randbytes(200_000)), rpc.PutResponse)  # no range has it
        for _ in range(20):
            self.call("Lease/LeaseGrant", rpc.LeaseGrantRequest(TTL=9999), rpc.LeaseGrantResponse)
        _, revision = self.hash_kv()
        self.call("KV/Compact", rpc.CompactionRequest(revision=revision - 50, physical=True), rpc.CompactionResponse)


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[int, int], list[tuple[bytes, bytes]]]:
    """The data directory of a real member that did some work, its hash and what it answered."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    member = Etcd(tmp_path_factory.mktemp("etcd") / "data")
    member.start()
    try:
        member.work(random.Random(seed))
        hashed, keys = member.hash_kv(), member.keys()
    finally:
        member.stop()
    return member.data_dir, hashed, keys


def status(path: Path) -> dict[str, int]:
    """What etcd's own tool says of a file, having checked it."""
    binary = real_binary("etcdutl")
    assert binary is not None
    run = subprocess.run(
        [binary, "snapshot", "status", path, "-w", "json"], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def digest(rows: Files) -> int:
    crc = 0
    for name in sorted(rows):
        crc = extend(crc, name)
        for key, value in rows[name]:
            crc = extend(extend(crc, key), value)
    return crc


def test_every_row_of_a_real_member_is_read(worked) -> None:
    path = worked[0] / "member" / "snap" / "db"
    rows = read(path)
    told = status(path)
    assert list(rows) == [bucket.name for bucket in BUCKETS]
    assert digest(rows) == told["hash"]
    assert sum(map(len, rows.values())) == told["totalKey"]
    assert findings(path) == []
    assert max(len(value) for _, value in rows[b"key"]) > 100_000


def test_a_file_written_here_passes_the_check_of_etcd(worked, tmp_path: Path) -> None:
    rows = read(worked[0] / "member" / "snap" / "db")
    size = write(tmp_path / "db", rows)
    told = status(tmp_path / "db")
    assert (told["hash"], told["totalKey"]) == (digest(rows), sum(map(len, rows.values())))
    assert told["totalSize"] == size == (tmp_path / "db").stat().st_size


def test_a_file_of_few_rows_passes_the_check_of_etcd(tmp_path: Path) -> None:
    rows: Files = {bucket.name: [] for bucket in BUCKETS}
    write(tmp_path / "db", rows)
    assert status(tmp_path / "db")["hash"] == digest(rows)


def test_a_real_member_goes_on_with_a_file_written_here(worked, tmp_path: Path) -> None:
    data_dir, hashed, keys = worked
    subprocess.run(["cp", "-r", data_dir, tmp_path / "data"], check=True)
    path = tmp_path / "data" / "member" / "snap" / "db"
    rows = read(path)
    write(path, rows)
    member = Etcd(tmp_path / "data")
    member.start()
    try:
        assert member.hash_kv() == hashed
        assert member.keys() == keys
        member.work(random.Random(1))
        hashed, keys = member.hash_kv(), member.keys()
        member.stop()
        told = status(path)
        assert digest(read(path)) == told["hash"]
        assert findings(path) == []
    finally:
        member.stop()


def test_a_file_written_here_can_be_restored_by_etcdutl(worked, tmp_path: Path) -> None:
    data_dir, hashed, keys = worked
    binary = real_binary("etcdutl")
    assert binary is not None
    write(tmp_path / "db", read(data_dir / "member" / "snap" / "db"))
    member = Etcd(tmp_path / "data")
    restore = [binary, "snapshot", "restore", tmp_path / "db", "--skip-hash-check", "--data-dir", tmp_path / "data"]
    restore += ["--name", member.name, "--initial-cluster", f"{member.name}={member.peer_url}"]
    restore += ["--initial-advertise-peer-urls", member.peer_url]
    subprocess.run(restore, check=True, capture_output=True, timeout=60)
    member.start()
    try:
        assert member.hash_kv() == hashed
        assert member.keys() == keys
    finally:
        member.stop()
