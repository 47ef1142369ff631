"""IDs, contexts and the initial cluster are those of running etcd members."""

from __future__ import annotations

import pytest

from quorate.api import errors
from quorate.api.raftpb import ConfChangeType
from quorate.membership import (
    Cluster,
    Member,
    add_change,
    check_add,
    check_peer_urls,
    check_promote,
    check_remove,
    cluster_id,
    conf_change_context,
    member_id,
    new_cluster,
    new_member,
    parse_initial_cluster,
    promote_change,
    remove_change,
    update_change,
)


def test_ids_are_those_that_etcd_computes() -> None:
    first = member_id(["http://127.0.0.1:53780"], "tok")
    second = member_id(["http://127.0.0.1:53784"], "tok")
    assert (f"{first:x}", f"{second:x}") == ("6008da917eee3de9", "2536ee14db5bc0c2")
    assert f"{cluster_id([first, second]):x}" == f"{cluster_id([second, first]):x}" == "6595ab620b11ca3d"
    alone = member_id(["http://127.0.0.1:42380"], "etcd-cluster")
    assert (f"{alone:x}", f"{cluster_id([alone]):x}") == ("667880157b8812c8", "dc50b8daae93b3e0")


def test_urls_of_an_id_are_sorted_and_an_added_member_depends_on_the_second() -> None:
    assert member_id(["http://b:1", "http://a:1"], "t") == member_id(["http://a:1", "http://b:1"], "t")
    added = new_member(["http://b:1", "http://a:1"], 1_700_000_000)
    assert added == Member(member_id(["http://a:1", "http://b:1"], seconds=1_700_000_000), ("http://a:1", "http://b:1"))
    assert added.id != new_member(["http://b:1", "http://a:1"], 1_700_000_001).id
    assert new_member(["http://a:1"], 5, is_learner=True).is_learner


def test_a_new_cluster_is_computed_from_names_and_urls() -> None:
    members, number = new_cluster({"m1": ["http://127.0.0.1:53780"], "m2": ["http://127.0.0.1:53784"]}, "tok")
    assert [(f"{member.id:x}", member.name) for member in members] == [
        ("2536ee14db5bc0c2", "m2"),
        ("6008da917eee3de9", "m1"),
    ]
    assert f"{number:x}" == "6595ab620b11ca3d"
    with pytest.raises(ValueError, match="member exists with identical ID"):
        new_cluster({"m1": ["http://a:1"], "m2": ["http://a:1"]}, "tok")


def test_an_initial_cluster_is_names_and_urls() -> None:
    text = "m1=http://b:2380,m2=https://c:2380, m1=http://a:2380"
    assert parse_initial_cluster(text) == {"m1": ["http://a:2380", "http://b:2380"], "m2": ["https://c:2380"]}
    assert parse_initial_cluster("") == {}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("m1=http://a:1,m2=http://a:1", "has duplicate url"),
        ("m1=http://a:1,m1=http://a:1", "has duplicate url"),
        ("m1=ftp://a:1", "URL scheme must be http, https, unix, or unixs"),
        ("m1=http://a", 'does not have the form "host:port"'),
        ("m1=http://a:1/path", "must not contain a path"),
        ("m1", "no valid URLs given"),
    ],
)
def test_an_initial_cluster_that_makes_no_sense_is_refused(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        parse_initial_cluster(text)


def test_contexts_are_json_in_etcds_order() -> None:
    assert conf_change_context(Member(9886556129531877777, ("http://h:1",))) == (
        b'{"id":9886556129531877777,"peerURLs":["http://h:1"]}'
    )
    assert conf_change_context(Member(5, ("http://h:1",), name="m1")) == (
        b'{"id":5,"peerURLs":["http://h:1"],"name":"m1"}'
    )
    learner = add_change(Member(5, ("http://h:1",), is_learner=True))
    assert (learner.type, learner.node_id) == (ConfChangeType.ADD_LEARNER_NODE, 5)
    assert learner.context == b'{"id":5,"peerURLs":["http://h:1"],"isLearner":true}'
    promote = promote_change(5)
    assert (promote.type, promote.context) == (
        ConfChangeType.ADD_NODE,
        b'{"id":5,"peerURLs":null,"isPromote":true}',
    )
    update = update_change(5, ["http://h:2"])
    assert (update.type, update.context) == (ConfChangeType.UPDATE_NODE, b'{"id":5,"peerURLs":["http://h:2"]}')
    assert remove_change(5)[:3] == (ConfChangeType.REMOVE_NODE, 5, b"")


@pytest.mark.parametrize(
    "urls", [[], [""], ["a:1"], ["http://a"], ["http://a:1/x"], ["http://a:1,http://b:1"], ["\x7f"]]
)
def test_peer_urls_that_nobody_could_reach_are_refused(urls: list[str]) -> None:
    with pytest.raises(errors.BadMemberUrls):
        check_peer_urls(urls)


class Rows:
    """A store of nothing."""

    def put(self, *row: object) -> None: ...

    def delete(self, *row: object) -> None: ...

    def get(self, *row: object) -> None: ...

    def scan(self, *row: object):
        return iter(())


def voters(count: int, started: int, learners: int = 0) -> Cluster:
    """Voters 1..count of which `started` have a name, local member 1, and learners after them."""
    cluster = Cluster.restore(Rows(), 0xC, 1, max_learners=9)
    for number in range(1, count + learners + 1):
        name = "n" if number <= started else ""
        cluster.apply(add_change(Member(number, (f"http://h{number}:1",), number > count, name)))
    return cluster


@pytest.mark.parametrize(
    ("count", "down", "allowed"),
    [(1, 0, True), (3, 0, True), (4, 1, True), (5, 1, True), (3, 1, False), (5, 2, False)],
)
def test_a_member_is_added_while_a_quorum_of_the_grown_cluster_is_connected(
    count: int, down: int, allowed: bool
) -> None:
    connected = range(2, count - down + 1)
    for is_learner in (True, False):
        if allowed:
            check_add(voters(count, count), is_learner, connected)
        else:
            with pytest.raises(errors.Unhealthy):
                check_add(voters(count, count), is_learner, connected)


@pytest.mark.parametrize(
    ("count", "started", "allowed"),
    [
        (1, 1, True),
        (2, 2, True),
        (2, 1, False),
        (3, 3, True),
        (3, 2, False),
        (4, 3, True),
        (5, 3, False),
        (1, 0, False),
    ],
)
def test_a_voter_is_added_while_enough_members_have_started(count: int, started: int, allowed: bool) -> None:
    everybody = range(1, count + 1)
    if allowed:
        check_add(voters(count, started), False, everybody)
    else:
        with pytest.raises(errors.NotEnoughStarted):
            check_add(voters(count, started), False, everybody)
    check_add(voters(count, started), True, everybody)


def test_a_learner_counts_as_started_when_it_is_promoted() -> None:
    check_promote(voters(1, 1, learners=1))
    check_promote(voters(2, 1, learners=1))
    with pytest.raises(errors.NotEnoughStarted):
        check_promote(voters(3, 1, learners=1))


def test_a_removal_must_leave_a_started_and_connected_quorum() -> None:
    check_remove(voters(3, 3), 2, [2, 3], True)
    check_remove(voters(3, 3, learners=1), 4, [], False)  # learners go freely
    check_remove(voters(3, 3), 3, [2], False)  # it is down itself
    with pytest.raises(errors.NotEnoughStarted):
        check_remove(voters(3, 2), 2, [2, 3], True)
    check_remove(voters(3, 2), 3, [2], False)
    with pytest.raises(errors.NotEnoughStarted):
        check_remove(voters(1, 1), 1, [], False)
    for number in (1, 2):
        with pytest.raises(errors.Unhealthy):
            check_remove(voters(3, 3), number, [2], True)
    with pytest.raises(errors.Unhealthy):
        check_remove(voters(3, 3), 3, [2], True)  # it has just come back: no longer one that is down
