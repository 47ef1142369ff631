"""Members as other members read them: bytes taken from running etcds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quorate.membership import (
    Cluster,
    Member,
    add_change,
    decode_members,
    decode_v2_store,
    encode_members,
    encode_v2_store,
    remove_change,
)
from quorate.storage import schema
from quorate.storage.backend import Backend

STARTED = Member(9886556129531877777, ("http://127.0.0.1:52780",), name="m1", client_urls=("http://127.0.0.1:52779",))


def test_the_list_is_json_as_a_member_of_etcd_sends_it() -> None:
    want = (
        b'[{"id":9886556129531877777,"peerURLs":["http://127.0.0.1:52780"],'
        b'"name":"m1","clientURLs":["http://127.0.0.1:52779"]}]\n'
    )
    assert encode_members([STARTED]) == want
    assert decode_members(want) == [STARTED]
    assert encode_members([]) == b"[]\n"


def test_members_come_out_by_id_whatever_their_order() -> None:
    learner = Member(2, ("http://b:1",), is_learner=True)
    assert decode_members(encode_members([STARTED, learner])) == [learner, STARTED]


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{}", b"[1]", b"null", b"[" * 100_000),
        *(b'[{"id":%b}]' % wrong for wrong in (b"[]", b"1e400", b"1.5", b"true", b'"1"', b"-1", b"null")),
        *(b'[{"id":1,"peerURLs":%b}]' % wrong for wrong in (b"3", b'"http://a:1"', b"[1]", b"{}", b'["x",null]')),
        *(b'[{"id":1,"clientURLs":%b}]' % wrong for wrong in (b"false", b"[[]]")),
        *(b'[{"id":1,"name":%b}]' % wrong for wrong in (b"3", b"[]")),
    ],
)
def test_what_is_no_list_of_members_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        decode_members(body)


def test_the_tree_for_older_members_holds_the_whole_membership(tmp_path: Path) -> None:
    store = Backend.open(tmp_path / "db", schema.BUCKETS, unsafe_no_fsync=True)
    try:
        cluster = Cluster.restore(store, 0xC, 1)
        for member in (STARTED, Member(2, ("http://b:1",), is_learner=True), Member(3, ("http://c:1",))):
            cluster.apply(add_change(member))
        cluster.apply(remove_change(3))
        undecided = json.loads(encode_v2_store(cluster))
        assert "version" not in undecided["Root"]["Children"]["0"]["Children"]
        cluster.set_version("3.5.0")
        tree = json.loads(encode_v2_store(cluster))
        read = decode_v2_store(encode_v2_store(cluster))
        assert (read.members, read.removed, read.version, read.has_keys) == (cluster.members(), [3], "3.5.0", False)
    finally:
        store.close()
    found = {}

    def walk(node: dict) -> None:  # type: ignore[type-arg]
        found[node["Path"]] = None if node["Children"] is not None else node["Value"]
        for name, child in (node["Children"] or {}).items():
            assert child["Path"] == f"{node['Path'].rstrip('/')}/{name}"
            walk(child)

    walk(tree["Root"])
    own = f"/0/members/{STARTED.id:x}"
    assert found == {
        "/": None,
        "/0": None,
        "/0/members": None,
        "/0/members/2": None,
        "/0/members/2/raftAttributes": '{"peerURLs":["http://b:1"],"isLearner":true}',
        own: None,
        f"{own}/raftAttributes": '{"peerURLs":["http://127.0.0.1:52780"]}',
        f"{own}/attributes": '{"name":"m1","clientURLs":["http://127.0.0.1:52779"]}',
        "/0/removed_members": None,
        "/0/removed_members/3": "",
        "/0/version": "3.5.0",
        "/1": None,
    }
    assert tree["CurrentVersion"] == 2


def test_keys_of_api_v2_in_a_tree_are_seen() -> None:
    tree = {"Root": {"Children": {"0": {"Children": None}, "1": {"Children": {"mine": {"Value": "x"}}}}}}
    assert decode_v2_store(json.dumps(tree).encode()).has_keys


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b"[" * 100_000, b'{"Root":{"Children":{"0":3}}}', b'{"Root":{"Children":null}}']
    + [b'{"Root":{"Children":{"0":{"Children":{"members":{"Children":{"zz":{}}}}}}}}'],
)
def test_what_is_no_tree_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_v2_store(data)
