"""Users and what they ask for, to be asked of two members: everything that the rules of auth tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from e2e_rpc import Answer, Client

from quorate.api.pb import auth_pb2
from quorate.api.pb import rpc_pb2 as pb

READ, WRITE, BOTH = 0, 1, 2

LEASE_A, LEASE_B, LEASE_NONE = 10, 11, 12
"""Leases that hold a key of [a,b), one of [b,c), and none."""

ROLES: dict[str, list[tuple[int, bytes, bytes]]] = {
    "owner": [(BOTH, b"a", b"b")],
    "reader": [(READ, b"a", b"b")],
    "writer": [(WRITE, b"a", b"b")],
    "next": [(BOTH, b"b", b"c")],
    "single": [(BOTH, b"foo", b"")],
    "open": [(BOTH, b"x", b"\0")],
}
USERS: dict[str, list[str]] = {
    "root": ["root"],
    "admin": ["root"],
    "owner": ["owner"],
    "reader": ["reader"],
    "writer": ["writer"],
    "parts": ["owner", "next", "open"],
    "single": ["single"],
    "none": [],
}

Step = tuple[str, Any]


def request(name: str, /, **fields: Any) -> Step:
    """A call by its short name."""
    prefix = "Auth" if name.startswith(("User", "Role")) else ""
    return name, getattr(pb, f"{prefix}{name}Request")(**fields)


def permission(kind: int, key: bytes, end: bytes = b"") -> Any:
    return auth_pb2.Permission(permType=kind, key=key, range_end=end)  # type: ignore[arg-type]


def setup() -> Iterator[Step]:
    """From an empty member to one with users and keys, auth on."""
    for role, permissions in ROLES.items():
        yield request("RoleAdd", name=role)
        for held in permissions:
            yield request("RoleGrantPermission", name=role, perm=permission(*held))
    for user, roles in USERS.items():
        yield request("UserAdd", name=user, password=f"pw-{user}")
        for role in roles:
            yield request("UserGrantRole", user=user, role=role)
    yield request("UserAdd", name="certified", options=auth_pb2.UserAddOptions(no_password=True))
    for lease in (LEASE_A, LEASE_B, LEASE_NONE):
        yield "LeaseGrant", pb.LeaseGrantRequest(ID=lease, TTL=600)
    for key, lease in ((b"a1", LEASE_A), (b"a2", 0), (b"b1", LEASE_B), (b"foo", 0), (b"foo1", 0), (b"x1", 0)):
        yield "Put", pb.PutRequest(key=key, value=b"0", lease=lease)
    yield request("AuthEnable")


def identities(client: Client) -> dict[str, list[tuple[str, str]]]:
    """Metadata by who calls: every user by a token, and those who have none that is good."""
    found = {}
    for user in USERS:
        answer = client.call("Authenticate", pb.AuthenticateRequest(name=user, password=f"pw-{user}"))
        assert answer.ok, answer
        found[user] = [("token", answer.message.token)]
    found["nobody"] = []
    found["forged"] = [("token", "abcdefghijklmnop.3")]
    found["garbled"] = [("token", "no token at all")]
    return found


def txn(*success: Any, failure: tuple[Any, ...] = (), compare: tuple[Any, ...] = ()) -> Any:
    return pb.TxnRequest(compare=compare, success=[_op(one) for one in success], failure=[_op(one) for one in failure])


def _op(one: Any) -> Any:
    field = {"RangeRequest": "range", "PutRequest": "put", "DeleteRangeRequest": "delete_range", "TxnRequest": "txn"}
    return pb.RequestOp(**{f"request_{field[type(one).__name__]}": one})


def exists(key: bytes, end: bytes = b"") -> Any:
    return pb.Compare(key=key, range_end=end, target=pb.Compare.VERSION, result=pb.Compare.GREATER, version=-1)


RANGES = (
    (b"a1", b""),
    (b"a", b"b"),
    (b"a", b"c"),
    (b"aa", b"a"),  # backwards, and so empty
    (b"b", b"a"),
    (b"foo", b""),
    (b"foo", b"\0"),
    (b"y", b"\0"),
    (b"\0", b"\0"),
)


def table() -> list[Step]:
    """What every identity asks for. No user or role is changed by it."""
    steps: list[Step] = []
    for key, end in RANGES:
        steps.append(("Range", pb.RangeRequest(key=key, range_end=end)))
        steps.append(("Range", pb.RangeRequest(key=key, range_end=end, serializable=True, keys_only=True)))
        steps.append(("Txn", txn(pb.RangeRequest(key=key, range_end=end))))
        steps.append(("Txn", txn(pb.PutRequest(key=b"a2"), compare=(exists(key, end),))))
        if end != b"b":
            steps.append(("DeleteRange", pb.DeleteRangeRequest(key=key + b"/", range_end=end)))
    for key in (b"a2", b"foo", b"x2"):
        steps.append(("Put", pb.PutRequest(key=key, value=b"1")))
        steps.append(("Put", pb.PutRequest(key=key, value=b"2", prev_kv=True)))
        steps.append(("Put", pb.PutRequest(key=key, value=b"3", lease=LEASE_A)))
        steps.append(("Put", pb.PutRequest(key=key, value=b"4", lease=LEASE_B)))
        steps.append(("Put", pb.PutRequest(key=key, value=b"5", lease=999)))
        steps.append(("DeleteRange", pb.DeleteRangeRequest(key=key, prev_kv=True)))
        steps.append(("Txn", txn(pb.PutRequest(key=key, value=b"6"), failure=(pb.RangeRequest(key=b"zz"),))))
        steps.append(("Txn", txn(pb.RangeRequest(key=key), failure=(pb.PutRequest(key=key),))))
        steps.append(("Txn", txn(pb.DeleteRangeRequest(key=key, prev_kv=True))))
    for lease in (LEASE_A, LEASE_B, LEASE_NONE, 999):
        for keys in (False, True):
            steps.append(("LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=lease, keys=keys)))
    steps += [
        ("Put", pb.PutRequest()),
        ("Txn", txn()),
        ("LeaseRevoke", pb.LeaseRevokeRequest(ID=999)),
        ("LeaseLeases", pb.LeaseLeasesRequest()),
        ("MemberList", pb.MemberListRequest()),
        ("Status", pb.StatusRequest()),
        ("Alarm", pb.AlarmRequest()),
        ("Alarm", pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, alarm=pb.NOSPACE)),
        ("Compact", pb.CompactionRequest(revision=1 << 40)),
        ("Hash", pb.HashRequest()),
        ("HashKV", pb.HashKVRequest()),
        ("Defragment", pb.DefragmentRequest()),
        ("MoveLeader", pb.MoveLeaderRequest(targetID=1)),
        ("Downgrade", pb.DowngradeRequest(action=pb.DowngradeRequest.VALIDATE, version="x")),
        ("MemberAdd", pb.MemberAddRequest()),
        ("MemberRemove", pb.MemberRemoveRequest(ID=1)),
        ("MemberPromote", pb.MemberPromoteRequest(ID=1)),
        ("AuthStatus", pb.AuthStatusRequest()),
        request("AuthEnable"),
        request("UserList"),
        request("RoleList"),
        *(request("UserGet", name=name) for name in ("root", "owner", "missing")),
        *(request("RoleGet", role=role) for role in ("owner", "next", "missing")),
        request("UserAdd", name="", password="x"),
        request("UserAdd", name="root", password="x"),
        request("UserDelete", name="missing"),
        request("UserChangePassword", name="missing", password="x"),
        request("UserGrantRole", user="missing", role="owner"),
        request("UserRevokeRole", name="owner", role="next"),
        request("RoleAdd", name="owner"),
        request("RoleDelete", role="missing"),
        request("RoleGrantPermission", name="missing", perm=permission(READ, b"a")),
        request("RoleRevokePermission", role="owner", key=b"a"),
    ]
    return steps


def alarmed(alarm: int) -> list[Step]:
    """What an alarm refuses, whoever asks."""
    puts: list[Step] = [("Put", pb.PutRequest(key=key)) for key in (b"a2", b"zz")]
    puts.append(("Txn", txn(pb.PutRequest(key=b"zz"))))
    return puts if alarm == pb.NOSPACE else [*puts, *DELETES]


DELETES: list[Step] = [
    ("Txn", txn(pb.DeleteRangeRequest(key=b"zz"))),
    ("DeleteRange", pb.DeleteRangeRequest(key=b"zz")),
]


def may_read(who: str, key: bytes) -> bool:
    """By the table of roles above."""
    held = [one for role in USERS.get(who, ()) for one in ROLES.get(role, ())]
    return any(
        kind != WRITE and (key == start if not end else start <= key and (end == b"\0" or key < end))
        for kind, start, end in held
    )


def ask(client: Client, step: Step, metadata: Any = None) -> Answer:
    return client.call(step[0], step[1], metadata=metadata)
