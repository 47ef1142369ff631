"""Members that trust each other by certificates: streams, snapshots, calls, joining; with real etcd among them, too.

Certificates of members name 127.0.0.1, from where they call, and are asked for at both ends.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.certificates import Authority, Issued
from quorate.testing.cluster import Cluster, wait_for
from quorate.testing.process import Command
from quorate.transport.grpc import Status

FAST = ("--log-level=info", "--heartbeat-interval=100", "--election-timeout=500")
FEW = "--snapshot-count=50"
BEHIND = 300

Make = Callable[..., Cluster]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def own(authority: Authority) -> Issued:
    return authority.issue("member", hosts=["127.0.0.1"])


def among_peers(authority: Authority, own: Issued, *more: str) -> tuple[str, ...]:
    files = (f"--peer-cert-file={own.cert}", f"--peer-key-file={own.key}", f"--peer-trusted-ca-file={authority.ca}")
    return (*FAST, *files, "--peer-client-cert-auth", *more)


def for_clients(authority: Authority, own: Issued) -> tuple[str, ...]:
    return (f"--cert-file={own.cert}", f"--key-file={own.key}", f"--trusted-ca-file={authority.ca}")


def asking(authority: Authority, shown: Issued) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.ca)
    context.load_cert_chain(shown.cert, shown.key)
    return context


def put(cluster: Cluster, count: int, number: int | None = None) -> None:
    for n in range(count):
        request = pb.PutRequest(key=b"k%d" % n, value=b"v%d" % n)
        cluster.ask_any(request) if number is None else cluster.ask(number, request)


def agree(cluster: Cluster) -> None:
    revision = cluster.wait_level()
    assert len(set(cluster.hashes(revision).values())) == 1


def test_a_cluster_encrypts_everything_and_lives_through_its_days(
    start_cluster: Make, subject: Command, authority: Authority, own: Issued
) -> None:
    """Kill and restart, a snapshot to one that lags behind, another member, promotion, leases by way of followers."""
    flags = (*among_peers(authority, own, "--peer-cert-allowed-cn=member"), *for_clients(authority, own))
    context = asking(authority, own)
    commands = [(*subject, FEW, "--snapshot-catchup-entries=20")] * 3
    cluster = start_cluster(commands, flags=flags, ssl=context, peer_scheme="https")
    put(cluster, 10)
    leader = cluster.leader()
    cluster.kill(leader)
    wait_for(lambda: cluster.find_leader() is not None, 15.0, "no new leader")
    put(cluster, BEHIND)
    cluster.restart(leader)
    cluster.wait_healthy()
    assert any("received database snapshot" in member.log() for member in cluster.members)
    agree(cluster)
    follower = cluster.followers()[0]
    lease = cluster.ask(follower, pb.LeaseGrantRequest(TTL=60)).ID
    assert cluster.ask(follower, pb.LeaseTimeToLiveRequest(ID=lease)).grantedTTL == 60
    new = cluster.add(commands[0], learner=True)
    identity = cluster.member_id(new)

    def promoted() -> bool:
        try:
            cluster.ask(cluster.followers()[0], pb.MemberPromoteRequest(ID=identity))
        except Status as status:
            assert "in sync" in status.message, status
            return False
        return True

    wait_for(promoted, 20.0, "the new member is never in sync")
    put(cluster, 5)
    agree(cluster)
    cluster.move_leader(new)
    put(cluster, 5)
    agree(cluster)
    assert not rejections(cluster, range(4))
    assert not any("http://127.0.0.1" in member.log() for member in cluster.members), "nothing goes in the clear"


@pytest.mark.real
def test_real_members_and_ours_trust_each_other(
    start_cluster: Make, real: Command, subject: Command, authority: Authority, own: Issued
) -> None:
    kept = (*subject, FEW, "--snapshot-catchup-entries=20")
    commands = [(*real, FEW), (*real, FEW), kept]
    flags = among_peers(authority, own, "--peer-cert-allowed-cn=member")
    cluster = start_cluster(commands, flags=flags, peer_scheme="https")
    for number in range(3):
        cluster.move_leader(number)
        for via in range(3):
            put(cluster, 3, via)
        lease = cluster.ask(2 - number, pb.LeaseGrantRequest(TTL=60)).ID
        assert cluster.ask(2 - number, pb.LeaseTimeToLiveRequest(ID=lease)).grantedTTL == 60
    agree(cluster)
    for number in (0, 2):
        cluster.kill(number)
        wait_for(lambda: cluster.find_leader() is not None, 15.0, "no new leader")
        put(cluster, 20)
        cluster.restart(number)
        cluster.wait_healthy()
        agree(cluster)
    assert not rejections(cluster, range(3))


@pytest.mark.real
def test_real_members_and_ours_encrypt_with_certificates_that_sign_themselves(
    start_cluster: Make, real: Command, subject: Command
) -> None:
    cluster = start_cluster([real, subject, subject], flags=(*FAST, "--peer-auto-tls"), peer_scheme="https")
    for number in range(3):
        cluster.move_leader(number)
        put(cluster, 3)
    agree(cluster)


def test_a_member_without_the_right_certificate_stays_outside(
    start_cluster: Make, subject: Command, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    own = authority.issue("member", hosts=["127.0.0.1"])
    thief = authority.issue("thief", cn="member", hosts=["127.0.0.1"])
    authority.revoke(thief)
    more = ("--peer-cert-allowed-cn=member", f"--peer-crl-file={authority.crl}")
    cluster = start_cluster([subject] * 2, flags=among_peers(authority, own, *more), peer_scheme="https")
    new = cluster.add(subject, start=False, learner=True)
    member = cluster.members[new]
    flags = member.flags
    wrong = {
        "client certificate authentication failed": authority.issue("somebody", hosts=["127.0.0.1"]),
        "certificate is valid for 127.9.9.9": authority.issue("away", cn="member", hosts=["127.9.9.9"]),
        f"certificate serial {thief.told_serial} revoked": thief,
    }
    for text, shown in wrong.items():
        member.flags = [*flags, f"--peer-cert-file={shown.cert}", f"--peer-key-file={shown.key}"]
        cluster.spawn(new)
        wait_for(lambda text=text: any(text in line for line in rejections(cluster, (0, 1))), 15.0, f"not said: {text}")
        member.wait_exit()
        assert "cannot fetch cluster info from peer urls" in member.log()
    put(cluster, 3, 0)
    member.flags = flags
    cluster.restart(new)
    cluster.wait_level()


def rejections(cluster: Cluster, numbers: Sequence[int]) -> list[str]:
    lines = [line for number in numbers for line in cluster.members[number].log().splitlines()]
    return [line for line in lines if '"rejected connection"' in line]


def test_an_address_counts_only_as_long_as_it_is_asked_for(
    start_cluster: Make, subject: Command, authority: Authority
) -> None:
    elsewhere = authority.issue("elsewhere", hosts=["127.9.9.9"])
    own = authority.issue("here", hosts=["127.0.0.1"])
    calling = (f"--peer-client-cert-file={elsewhere.cert}", f"--peer-client-key-file={elsewhere.key}")
    flags = among_peers(authority, own, *calling, "--experimental-peer-skip-client-san-verification")
    cluster = start_cluster([subject] * 2, flags=flags, peer_scheme="https")
    put(cluster, 3)
    agree(cluster)


def test_members_get_new_certificates_one_after_the_other_without_a_restart(
    start_cluster: Make, subject: Command, tmp_path: Path
) -> None:
    """First all trust both authorities, then certificates change, then the old authority goes."""
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(Path(old.ca).read_bytes())
    own = old.issue("member", hosts=["127.0.0.1"])
    flags = (*among_peers(old, own), f"--peer-trusted-ca-file={trusted}")
    cluster = start_cluster([subject] * 3, flags=flags, peer_scheme="https")
    put(cluster, 3)
    trusted.write_bytes(Path(old.ca).read_bytes() + Path(new.ca).read_bytes())
    fresh = new.issue("member", hosts=["127.0.0.1"])
    os.replace(fresh.key, own.key)
    os.replace(fresh.cert, own.cert)
    trusted.write_bytes(Path(new.ca).read_bytes())
    cluster.kill(0)  # everybody makes new connections to it
    put(cluster, 3)
    cluster.restart(0)
    cluster.wait_healthy()
    put(cluster, 3, 0)
    agree(cluster)
