"""Random changes of users and roles, and random calls by them in between: real etcd decides the same every time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from e2e_auth import Step, ask, exists, permission, request, txn
from e2e_rpc import Answer, Client

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.process import Command, MemberProcess

pytestmark = pytest.mark.real

STEPS = 600
USERS = ("root", "u0", "u1", "u2")
ROLES = ("root", "r0", "r1", "r2")
KEYS = (b"a", b"b", b"bb", b"c", b"d")
UNAUTHENTICATED = 16
OFF_STEPS = 40
ON_AGAIN = [
    request("UserAdd", name="root", password="root"),
    request("UserChangePassword", name="root", password="root"),
    request("UserGrantRole", user="root", role="root"),
    request("AuthEnable"),
]


class Walk:
    """Draws one step after the other. Whether auth is on it learns from the answers."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.is_on = False
        self._off = 0

    def draw(self) -> tuple[str, Step]:
        """Who asks, and for what. Off for a while, auth is turned on again."""
        dice = self._dice
        self._off = 0 if self.is_on else self._off + 1
        if self._off > OFF_STEPS:
            return "root", ON_AGAIN[(self._off - OFF_STEPS - 1) % len(ON_AGAIN)]
        if dice.random() < 0.5:
            return dice.choice(USERS), self._use_keys()
        user, role = dice.choice(USERS), dice.choice(ROLES)
        kind = dice.randrange(14)
        changes: list[Callable[[], Step]] = [
            lambda: request("UserAdd", name=user, password=user),
            lambda: request("UserDelete", name=user),
            lambda: request("UserGrantRole", user=user, role=role),
            lambda: request("UserGrantRole", user=user, role=role),
            lambda: request("UserRevokeRole", name=user, role=role),
            lambda: request("UserChangePassword", name=user, password=user),
            lambda: request("RoleAdd", name=role),
            lambda: request("RoleDelete", role=role),
            lambda: request("RoleGrantPermission", name=role, perm=permission(dice.randrange(3), *self._range())),
            lambda: request("RoleGrantPermission", name=role, perm=permission(dice.randrange(3), *self._range())),
            self._revoke_permission,
            lambda: request("AuthEnable"),
            lambda: request("AuthDisable") if dice.random() < 0.2 else request("AuthEnable"),
            lambda: dice.choice(
                [
                    request("UserGet", name=user),
                    request("RoleGet", role=role if role != "root" else "r0"),
                    request("UserList"),
                    request("RoleList"),
                ]
            ),
        ]
        return ("root" if dice.random() < 0.8 else user), changes[kind]()

    def _revoke_permission(self) -> Step:
        key, end = self._range()
        return request("RoleRevokePermission", role=self._dice.choice(ROLES), key=key, range_end=end)

    def _range(self) -> tuple[bytes, bytes]:
        key = self._dice.choice(KEYS)
        later = [other for other in KEYS if other > key]
        return key, self._dice.choice([b"", b"\0", *later])

    def _use_keys(self) -> Step:
        key, end = self._range()
        dice = self._dice
        prev = dice.random() < 0.3
        match dice.randrange(5):
            case 0:
                return "Range", pb.RangeRequest(key=key, range_end=end, serializable=dice.random() < 0.3)
            case 1:
                return "Put", pb.PutRequest(key=key, value=b"%d" % dice.randrange(9), prev_kv=prev)
            case 2:
                return "DeleteRange", pb.DeleteRangeRequest(key=key, range_end=end, prev_kv=prev)
            case 3:
                return "Txn", txn(pb.RangeRequest(key=key, range_end=end))
        other, until = self._range()
        return "Txn", txn(
            pb.PutRequest(key=key),
            failure=(pb.DeleteRangeRequest(key=other, range_end=until, prev_kv=prev),),
            compare=(exists(*self._range()),),
        )


class Side:
    """One member, and the tokens that it gave."""

    def __init__(self, endpoint: str) -> None:
        self.client = Client(endpoint)
        self._tokens: dict[str, str] = {}

    def ask(self, who: str, step: Step, is_on: bool) -> Answer:
        """As a user; with a new token when the old one is good no more, without one when there is none."""
        if not is_on:
            return ask(self.client, step)
        answer = self._ask(who, step)
        if answer.code == UNAUTHENTICATED:
            del self._tokens[who]
            answer = self._ask(who, step)
        return answer

    def _ask(self, who: str, step: Step) -> Answer:
        if who not in self._tokens:
            login = ask(self.client, request("Authenticate", name=who, password=who))
            if not login.ok:
                return login
            self._tokens[who] = login.message.token
        return ask(self.client, step, [("token", self._tokens[who])])


@pytest.fixture
def sides(start_member: Callable[..., MemberProcess], real_command: Command) -> Iterator[list[Side]]:
    flags = ("--bcrypt-cost=4",)
    members = [start_member(real_command, flags=flags, run=False), start_member(flags=flags, run=False)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda member: member.start(), members))
    made = [Side(member.endpoint) for member in members]
    yield made
    for side in made:
        side.client.close()


def test_real_etcd_decides_the_same_whatever_has_happened_before(sides: list[Side], seed: int) -> None:
    walk = Walk(random.Random(seed))
    outcomes: dict[bool, set[tuple[str, int]]] = {False: set(), True: set()}
    for number in range(STEPS):
        who, step = walk.draw()
        real, subject = (side.ask(who, step, walk.is_on) for side in sides)
        assert _plain(subject) == _plain(real), f"step {number}, {who}: {step}"
        outcomes[walk.is_on].add((step[0], real.code))
        if real.ok and step[0] in ("AuthEnable", "AuthDisable"):
            walk.is_on = step[0] == "AuthEnable"
    revisions = [side.ask("root", request("AuthStatus"), walk.is_on).message for side in sides]
    assert _plain(Answer(revisions[0])) == _plain(Answer(revisions[1]))
    assert len(outcomes[True]) > 20, "auth was hardly ever on"


def _plain(answer: Answer) -> Any:
    if not answer.ok:
        return answer.code, answer.text
    plain = type(answer.message)()
    plain.CopyFrom(answer.message)
    for name in ("cluster_id", "member_id", "raft_term"):
        setattr(plain.header, name, 0)
    return plain
