"""`etcdctl snapshot save` from outside: etcd's own tools take what is saved, and a real etcd goes on from it."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from e2e_rpc import Client, wait_until

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.process import Command, MemberProcess, real_binary

Start = Callable[..., MemberProcess]

SHA256_BYTES = 32


@pytest.fixture(scope="session")
def etcdutl() -> Path:
    binary = real_binary("etcdutl")
    if binary is None:
        pytest.skip("no real etcdutl here")
    return binary


def run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def work(client: Client, dice: random.Random) -> None:
    """Keys of all sizes, some deleted, some under a lease, some compacted away."""
    lease = client.call("LeaseGrant", pb.LeaseGrantRequest(TTL=6000)).message.ID
    for number in range(300):
        value = dice.randbytes(dice.choice([0, 10, 300, 5_000, 60_000]))
        assert client.put(b"k%03d" % dice.randrange(120), value, lease=lease * (number % 5 == 0)).ok
    client.call("DeleteRange", pb.DeleteRangeRequest(key=b"k020", range_end=b"k030"))
    client.call("Compact", pb.CompactionRequest(revision=150, physical=True))


def hash_kv(client: Client) -> tuple[int, int, int]:
    reply = client.call("HashKV", pb.HashKVRequest()).message
    return reply.hash, reply.compact_revision, reply.header.revision


def saved(etcdctl: Path, member: MemberProcess, path: Path) -> Path:
    told = run(etcdctl, "--endpoints", member.endpoint, "snapshot", "save", path)
    assert told.startswith(f"Snapshot saved at {path}")
    return path


def leftovers(member: MemberProcess) -> list[str]:
    return [name for name in os.listdir(member.data_dir / "member" / "snap") if name.startswith("tmp.")]


@pytest.mark.real
def test_a_real_etcd_goes_on_from_what_etcdctl_saved_and_a_new_member_beside_it(
    start_member: Start,
    subject: MemberProcess,
    client: Client,
    real_command: Command,
    etcdctl: Path,
    etcdutl: Path,
    tmp_path: Path,
    seed: int,
) -> None:
    work(client, random.Random(seed))
    before, keys = hash_kv(client), list(client.everything().kvs)
    leases = client.call("LeaseLeases", pb.LeaseLeasesRequest()).message.leases
    path = saved(etcdctl, subject, tmp_path / "saved")
    assert not leftovers(subject)
    assert client.put(b"later", b"not saved").ok

    told = json.loads(run(etcdutl, "snapshot", "status", path, "-w", "json"))
    assert (told["revision"], told["totalSize"]) == (before[2], path.stat().st_size - SHA256_BYTES)
    restored = start_member(real_command, name="restored", run=False)
    cluster = f"restored={restored.peer_url}"
    run(
        *(etcdutl, "snapshot", "restore", path, "--data-dir", restored.data_dir, "--name=restored"),
        *(f"--initial-cluster={cluster}", f"--initial-advertise-peer-urls={restored.peer_url}"),
    )
    restored.start()
    with Client(restored.endpoint) as other:
        assert hash_kv(other) == before
        assert list(other.everything().kvs) == keys
        assert other.call("LeaseLeases", pb.LeaseLeasesRequest()).message.leases == leases
        [alone] = other.call("MemberList", pb.MemberListRequest()).message.members
        assert list(alone.peerURLs) == [restored.peer_url]
        assert other.put(b"k000", b"goes on").ok

        joined = start_member(name="joined", run=False)
        assert other.call("MemberAdd", pb.MemberAddRequest(peerURLs=[joined.peer_url])).ok
        joined.flags = [f"--initial-cluster={cluster},joined={joined.peer_url}", "--initial-cluster-state=existing"]
        joined.start()
        with Client(joined.endpoint) as newest:
            assert wait_until(lambda: hash_kv(newest) == hash_kv(other), 20)
            again = saved(etcdctl, joined, tmp_path / "again")
            assert json.loads(run(etcdutl, "snapshot", "status", again, "-w", "json"))["revision"] == before[2] + 1


def test_a_file_for_a_client_is_gone_after_a_kill(
    subject: MemberProcess, client: Client, subject_is_real: bool
) -> None:
    if subject_is_real:
        pytest.skip("real etcd reads from its database itself")
    for number in range(200):
        assert client.put(b"k%d" % number, os.urandom(100_000)).ok
    with Client(subject.endpoint) as slow:
        call: Any = slow.channel.unary_stream(
            "/etcdserverpb.Maintenance/Snapshot", pb.SnapshotRequest.SerializeToString, pb.SnapshotResponse.FromString
        )(pb.SnapshotRequest(), timeout=60)
        first = next(call)
        assert len(first.blob) == 32_768
        assert len(leftovers(subject)) == 1
        assert client.put(b"meanwhile", b"").ok
        subject.kill()
        with pytest.raises(grpc.RpcError):
            list(call)
    assert len(leftovers(subject)) == 1
    subject.start()
    assert not leftovers(subject)
