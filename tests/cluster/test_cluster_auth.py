"""Auth over several members: every one judges alike, whatever it went through to get where it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from quorate.api.pb import auth_pb2
from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.cluster import CALL_SECONDS, METHODS, Cluster, wait_for
from quorate.testing.process import Command
from quorate.transport.grpc import Status

FAST = ("--heartbeat-interval=100", "--election-timeout=500", "--bcrypt-cost=4")
OFTEN = ("--snapshot-count=5", "--snapshot-catchup-entries=5")

DENIED, UNAUTHENTICATED = 7, 16
READ, BOTH = 0, 2

CALLS: dict[type[Any], tuple[str, Any]] = {
    **METHODS,
    pb.HashRequest: ("/etcdserverpb.Maintenance/Hash", pb.HashResponse.FromString),
    **{
        getattr(pb, f"{long}Request"): (f"/etcdserverpb.Auth/{name}", getattr(pb, f"{long}Response").FromString)
        for name, long in (
            ("AuthEnable", "AuthEnable"),
            ("AuthStatus", "AuthStatus"),
            ("Authenticate", "Authenticate"),
            ("UserAdd", "AuthUserAdd"),
            ("UserChangePassword", "AuthUserChangePassword"),
            ("UserGrantRole", "AuthUserGrantRole"),
            ("RoleAdd", "AuthRoleAdd"),
            ("RoleGrantPermission", "AuthRoleGrantPermission"),
            ("RoleRevokePermission", "AuthRoleRevokePermission"),
        )
    },
}


class AuthCluster(Cluster):
    """Asks as root, or as another user, once auth is on; a token that a member does not know is asked for anew."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._tokens: dict[tuple[int, str], str] = {}
        self.is_on = False

    def prepare(self) -> None:
        """Users root and u, who may read and write foo; auth is on then."""
        self.ask_any(pb.AuthRoleAddRequest(name="r"))
        permission = auth_pb2.Permission(permType=BOTH, key=b"foo")
        self.ask_any(pb.AuthRoleGrantPermissionRequest(name="r", perm=permission))
        for user, role in (("root", "root"), ("u", "r")):
            self.ask_any(pb.AuthUserAddRequest(name=user, password=user))
            self.ask_any(pb.AuthUserGrantRoleRequest(user=user, role=role))
        self.ask_any(pb.AuthEnableRequest())
        self.is_on = True

    def ask(self, number: int, request: Any, timeout: float = CALL_SECONDS, user: str = "root") -> Any:
        if not self.is_on:
            return self._call(number, request, timeout, "")
        known = (number, user)
        if known not in self._tokens:
            self._tokens[known] = self.login(number, user)
        try:
            return self._call(number, request, timeout, self._tokens[known])
        except Status as status:
            if status.code != UNAUTHENTICATED:
                raise
            self._tokens[known] = self.login(number, user)
            return self._call(number, request, timeout, self._tokens[known])

    def login(self, number: int, user: str) -> str:
        return str(self._call(number, pb.AuthenticateRequest(name=user, password=user), CALL_SECONDS, "").token)

    def _call(self, number: int, request: Any, timeout: float, token: str) -> Any:
        path, decode = CALLS[type(request)]
        metadata = (("token", token),) if token else ()
        body = request.SerializeToString()
        work = self.members[number].channel.unary(path, body, timeout=timeout, metadata=metadata)
        return decode(self.background.run(work, timeout + 5.0))

    def put(self, number: int, user: str = "root", key: bytes = b"foo", **more: Any) -> bool:
        """Put through a member; False when it is denied."""
        try:
            self.ask(number, pb.PutRequest(key=key, value=b"v", **more), user=user)
        except Status as status:
            assert status.code == DENIED, status
            return False
        return True

    def check_equal(self) -> None:
        """All members hold the same, keys and users."""
        self.wait_level()
        assert len(set(self.hashes().values())) == 1
        revisions = {self.ask(number, pb.AuthStatusRequest()).authRevision for number in self.running()}
        assert len(revisions) == 1
        ours = [number for number in self.running() if not self.members[number].command[0].endswith("/etcd")]
        assert len({self.ask(number, pb.HashRequest()).hash for number in ours}) == 1


@pytest.fixture
def start(tmp_path: Path, subject: Command) -> Iterator[Any]:
    made: list[AuthCluster] = []

    def run(commands: Sequence[Command] = (), *flags: str, **more: Any) -> AuthCluster:
        cluster = AuthCluster(tmp_path, commands or [subject] * 3, flags=(*FAST, *flags), **more)
        made.append(cluster)
        cluster.start()
        cluster.prepare()
        return cluster

    yield run
    for cluster in made:
        cluster.close()
        print(cluster.log())


def test_14571_a_member_that_joins_by_a_snapshot_knows_who_may_what(start: Any, subject: Command) -> None:
    """And 20792: it is promoted by whomever root asks for it. And 13205: when it leads, it ends leases."""
    cluster = start((), *OFTEN)
    for _ in range(7):
        assert cluster.put(0, key=b"other")
    new = cluster.add(subject, learner=True)
    _promote(cluster, new)
    assert cluster.put(new, "u")
    assert not cluster.put(new, "u", b"other")
    assert not cluster.put(0, "u", b"other")
    cluster.check_equal()
    cluster.move_leader(new)
    cluster.ask(new, pb.LeaseGrantRequest(ID=7, TTL=1))
    assert cluster.put(new, "u", lease=7)
    wait_for(lambda: not cluster.ask(0, pb.RangeRequest(key=b"foo")).kvs, 15.0, "the lease does not end")
    cluster.check_equal()


def _promote(cluster: AuthCluster, number: int) -> None:
    """By way of a member that must ask the leader."""
    asked = next(follower for follower in cluster.followers() if follower != number)
    request = pb.MemberPromoteRequest(ID=cluster.member_id(number))

    def promoted() -> bool:
        try:
            cluster.ask(asked, request)
        except Status as status:
            assert "in sync with leader" in status.message, status
            return False
        return True

    def knows() -> bool:
        status = cluster.status(number)
        return status is not None and not status.isLearner

    wait_for(promoted, 15.0, "the learner is not promoted")
    wait_for(knows, 15.0, "the member does not know that it is promoted")


def test_14355_11651_13937_a_member_that_starts_again_knows_as_much_as_before(start: Any) -> None:
    """Nothing is applied twice: not changes of users, of which nothing else tells (11651), nor what was denied
    (13937)."""
    cluster = start((), *OFTEN)
    for number in range(6):
        cluster.ask(0, pb.AuthRoleAddRequest(name=f"role{number}"))
    restarted = cluster.followers()[0]
    cluster.kill(restarted)
    cluster.restart(restarted)
    assert cluster.put(restarted, "u")
    for _ in range(8):
        assert not cluster.put(restarted, "u", b"other")
    for number in cluster.running():
        cluster.kill(number)
    for number in range(3):
        cluster.spawn(number)
    for number in range(3):
        cluster.members[number].wait_ready()
    for number in range(3):
        assert cluster.put(number, "u")
        assert not cluster.put(number, "u", b"other")
    cluster.check_equal()


def test_13883_a_member_that_missed_a_change_refuses_as_soon_as_it_is_back(start: Any) -> None:
    cluster = start((), *OFTEN)
    away = cluster.followers()[0]
    assert cluster.put(away, "u")
    here = next(number for number in cluster.running() if number != away)
    cluster.kill(away)
    cluster.ask(here, pb.AuthRoleRevokePermissionRequest(role="r", key=b"foo"))
    for _ in range(30):
        assert cluster.put(here)
    cluster.restart(away)
    wait_for(lambda: "installed snapshot" in cluster.members[away].log(), 15.0, "no snapshot came")
    read = pb.RangeRequest(key=b"foo", serializable=True)
    with pytest.raises(Status) as caught:
        cluster.ask(away, read, user="u")
    assert caught.value.code == DENIED
    assert not cluster.put(away, "u")
    cluster.check_equal()


def test_a_token_of_one_member_is_good_at_every_other_at_once(start: Any) -> None:
    cluster = start()
    for number in range(12):
        token = cluster.login(number % 3, "u")
        for other in range(3):
            cluster._call(other, pb.PutRequest(key=b"foo"), CALL_SECONDS, token)


@pytest.mark.real
def test_quorate_and_real_etcd_judge_alike_in_one_cluster(start: Any, real: Command, subject: Command) -> None:
    """Users of one are known to the other, and whoever leads ends leases that hold keys."""
    cluster = start([real, subject, subject])
    token = cluster.login(0, "u")
    for number in range(3):
        cluster._call(number, pb.PutRequest(key=b"foo"), CALL_SECONDS, token)
        assert cluster.put(number, "u")
        assert not cluster.put(number, "u", b"other")
    for leader in (0, 1):
        cluster.move_leader(leader)
        cluster.ask(leader, pb.LeaseGrantRequest(ID=7, TTL=1))
        assert cluster.put(2, lease=7, key=b"leased")
        gone = pb.RangeRequest(key=b"leased")
        wait_for(lambda gone=gone: not cluster.ask(2, gone).kvs, 15.0, "the lease does not end")
        cluster.ask(leader, pb.AuthUserAddRequest(name=f"by{leader}", password=f"by{leader}"))
    for number in range(3):
        for user in ("by0", "by1"):
            assert not cluster.put(number, user)
    cluster.check_equal()
