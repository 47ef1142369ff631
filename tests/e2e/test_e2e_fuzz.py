"""No client, however odd, may stop a member: random messages to every method, random bytes on the socket."""

from __future__ import annotations

import contextlib
import random
import socket
from typing import Any

import grpc
import pytest
from e2e_rpc import Client
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from quorate.api.pb import election_pb2, lock_pb2
from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.process import MemberProcess

MESSAGES = 2500
SECONDS = 0.15
"""A stream that has nothing to say is left after this time."""

AUTH = [
    "AuthEnable", "AuthDisable", "AuthStatus", "UserAdd", "UserGet", "UserList", "UserDelete", "UserChangePassword",
    "UserGrantRole", "UserRevokeRole", "RoleAdd", "RoleGet", "RoleList", "RoleDelete", "RoleGrantPermission",
    "RoleRevokePermission",
]  # fmt: skip

METHODS: dict[str, type[Message]] = {
    "/etcdserverpb.KV/Range": pb.RangeRequest,
    "/etcdserverpb.KV/Put": pb.PutRequest,
    "/etcdserverpb.KV/DeleteRange": pb.DeleteRangeRequest,
    "/etcdserverpb.KV/Txn": pb.TxnRequest,
    "/etcdserverpb.KV/Compact": pb.CompactionRequest,
    "/etcdserverpb.KV/RangeStream": pb.RangeRequest,
    "/etcdserverpb.Watch/Watch": pb.WatchRequest,
    "/etcdserverpb.Lease/LeaseGrant": pb.LeaseGrantRequest,
    "/etcdserverpb.Lease/LeaseRevoke": pb.LeaseRevokeRequest,
    "/etcdserverpb.Lease/LeaseKeepAlive": pb.LeaseKeepAliveRequest,
    "/etcdserverpb.Lease/LeaseTimeToLive": pb.LeaseTimeToLiveRequest,
    "/etcdserverpb.Lease/LeaseLeases": pb.LeaseLeasesRequest,
    "/etcdserverpb.Cluster/MemberList": pb.MemberListRequest,
    "/etcdserverpb.Cluster/MemberUpdate": pb.MemberUpdateRequest,
    "/etcdserverpb.Cluster/MemberPromote": pb.MemberPromoteRequest,
    "/etcdserverpb.Maintenance/Status": pb.StatusRequest,
    "/etcdserverpb.Maintenance/Alarm": pb.AlarmRequest,
    "/etcdserverpb.Maintenance/Hash": pb.HashRequest,
    "/etcdserverpb.Maintenance/HashKV": pb.HashKVRequest,
    "/etcdserverpb.Maintenance/Snapshot": pb.SnapshotRequest,
    "/etcdserverpb.Maintenance/Defragment": pb.DefragmentRequest,
    "/etcdserverpb.Maintenance/MoveLeader": pb.MoveLeaderRequest,
    "/etcdserverpb.Maintenance/Downgrade": pb.DowngradeRequest,
    **{
        f"/etcdserverpb.Auth/{name}": getattr(pb, f"{name if name.startswith('Auth') else 'Auth' + name}Request")
        for name in AUTH
        if name not in ("AuthEnable",)  # would only lock the fuzzer out
    },
    "/v3lockpb.Lock/Lock": lock_pb2.LockRequest,
    "/v3lockpb.Lock/Unlock": lock_pb2.UnlockRequest,
    "/v3electionpb.Election/Leader": election_pb2.LeaderRequest,
    "/v3electionpb.Election/Proclaim": election_pb2.ProclaimRequest,
    "/v3electionpb.Election/Resign": election_pb2.ResignRequest,
}

BYTES = [b"", b"\0", b"a", b"b", b"a\0", b"\xff", b"\xff\xff", b"x" * 5000]
NUMBERS = [0, 1, 2, 3, 5, 10, 100, -1, -2, (1 << 31) - 1, -(1 << 31), (1 << 63) - 1, -(1 << 63), 1 << 40]


@pytest.fixture
def victim(subject: MemberProcess, subject_is_real: bool) -> MemberProcess:
    if subject_is_real:
        pytest.skip("real etcd 3.5.1 is known to die of some of these")
    return subject


def random_message(kind: type[Message], dice: random.Random, depth: int = 0) -> Any:
    """A message with some of its fields set to edge values, nested ones too."""
    made = kind()
    for field in made.DESCRIPTOR.fields:
        if dice.random() < 0.45:
            continue
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if depth < 4:
                _fill(made, field, dice, depth)
        elif field.is_repeated:
            getattr(made, field.name).extend(_scalar(field, dice) for _ in range(dice.randrange(3)))
        else:
            setattr(made, field.name, _scalar(field, dice))
    return made


def _fill(made: Any, field: FieldDescriptor, dice: random.Random, depth: int) -> None:
    place = getattr(made, field.name)
    if field.is_repeated:
        for _ in range(dice.randrange(3)):
            part = place.add()
            part.CopyFrom(random_message(type(part), dice, depth + 1))
    else:
        place.CopyFrom(random_message(type(place), dice, depth + 1))


def _scalar(field: FieldDescriptor, dice: random.Random) -> Any:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return dice.choice(BYTES)
    if field.type == FieldDescriptor.TYPE_STRING:
        return dice.choice(["", "a", "root", "http://127.0.0.1:1", "3.6", "ü" * 50])
    if field.type == FieldDescriptor.TYPE_BOOL:
        return dice.random() < 0.5
    if field.type == FieldDescriptor.TYPE_ENUM:
        return dice.choice([0, 1, 2, 3, 9, -1])
    number = dice.choice(NUMBERS)
    if field.type in (FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_UINT32):
        number = abs(number)
    if field.type in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_UINT32):
        number = max(-(1 << 31), min(number, (1 << 31) - 1))
    return number


def test_no_message_stops_a_member(victim: MemberProcess, seed: int) -> None:
    dice = random.Random(seed)
    with Client(victim.endpoint) as client:
        last: list[str] = []
        paths = list(METHODS)
        internal: set[str] = set()
        for _ in range(MESSAGES):
            path = dice.choice(paths)
            data = random_message(METHODS[path], dice)
            raw = data.SerializeToString()
            if dice.random() < 0.1:
                raw = raw[: dice.randrange(len(raw) + 1)] + dice.randbytes(dice.randrange(4))
            last = [*last[-4:], f"{path} {{ {' '.join(str(data).split())} }}"[:1000]]
            text = _call(client, path, raw)
            if "Traceback" in text or "Error(" in text:
                internal.add(f"{path}: {text}")
            if isinstance(data, pb.AlarmRequest):
                data.action = pb.AlarmRequest.DEACTIVATE  # or nothing could be written from here on
                _call(client, path, data.SerializeToString())
            assert victim.alive(), f"status {victim.exit_status()} after\n" + "\n".join(last) + victim.log()[-2000:]
        assert not internal, internal
        found = client.get(b"\0", limit=1)
        assert found.ok, found
    assert "Traceback (most recent call last)" not in victim.log(), _traceback(victim.log())
    victim.stop()
    victim.start()


def _call(client: Client, path: str, raw: bytes) -> str:
    """Send one request the stream way, which suits every kind of method; returns the text of the status."""
    call = client.channel.stream_stream(path)(iter([raw]), timeout=SECONDS)
    try:
        next(call, None)
    except grpc.RpcError as error:
        return error.details() or ""  # type: ignore[attr-defined]
    finally:
        call.cancel()
    return ""


def _traceback(log: str) -> str:
    at = log.index("Traceback")
    return log[max(0, at - 500) : at + 3000]


NOISE = [
    b"",
    b"\0" * 100,
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
    b"POST /v3/kv/put HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 200,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\4\1\5\0\0\0\1" + b"\x82\x86\x84\xff",
    b"PRI * HTTP/2.0\r\n\r\nXX",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x11" * 300,
    b"x" * 100_000,
]


def test_no_bytes_stop_a_member(victim: MemberProcess, seed: int) -> None:
    dice = random.Random(seed)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
    frames = [preface + _frames(dice) for _ in range(200)]
    for noise in (*NOISE, *frames):
        for port in (victim.client_port, victim.peer_port):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as wire:
                wire.sendall(noise)
                if dice.random() < 0.5:
                    wire.shutdown(socket.SHUT_WR)
                    wire.settimeout(0.05)
                    wire.recv(65536)
        assert victim.alive(), f"status {victim.exit_status()} after {noise!r}\n{victim.log()[-2000:]}"
    with Client(victim.endpoint) as client:
        assert client.put(b"k", b"v").ok
    assert "Traceback (most recent call last)" not in victim.log(), _traceback(victim.log())


def _frames(dice: random.Random) -> bytes:
    """Some HTTP/2 frames that could be, with payloads that could not."""
    made = b""
    for _ in range(dice.randrange(1, 6)):
        payload = dice.randbytes(dice.choice([0, 1, 4, 5, 8, 30, 200]))
        kind, flags, stream = dice.randrange(11), dice.randrange(256), dice.choice([0, 1, 1, 3, 2, (1 << 31) - 1])
        made += len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    return made
