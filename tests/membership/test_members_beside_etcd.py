"""Members of 3.5 and this release understand what the other one writes about the members."""

from __future__ import annotations

import base64
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from quorate.api.internal import Request, decode_request, encode_request
from quorate.api.pb import etcdserver_pb2, membership_pb2
from quorate.api.raftpb import ConfChange, ConfChangeType, Entry, EntryType, HardState, encode_conf_change
from quorate.membership import (
    Cluster,
    Member,
    add_change,
    conf_change_context,
    decode_members,
    encode_v2_store,
    new_cluster,
    remove_change,
)
from quorate.storage import schema, snap, wal
from quorate.storage.backend import Backend
from quorate.storage.files import OsFiles
from quorate.testing.process import MemberProcess, StartFailed, real_binary

ETCD = real_binary("etcd")

pytestmark = [pytest.mark.real, pytest.mark.skipif(ETCD is None, reason="no real etcd here")]

TOKEN = "tok"
FILES = OsFiles()


def a_member(path: Path, *flags: str) -> MemberProcess:
    return MemberProcess(
        path / "m1", command=(str(ETCD),), name="m1", flags=[f"--initial-cluster-token={TOKEN}", *flags]
    )


def call(member: MemberProcess, path: str, **fields: Any) -> Any:
    request = urllib.request.Request(member.client_url + path, json.dumps(fields).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def members_of(member: MemberProcess) -> list[Member]:
    with urllib.request.urlopen(member.peer_url + "/members", timeout=10) as answer:
        return decode_members(answer.read())


def entries_of(member: MemberProcess) -> list[Entry]:
    path = str(member.data_dir / "member" / "wal")
    start = wal.newest_snapshot(FILES, path, 1 << 62)
    opened, contents = wal.WAL.open(FILES, path, start or wal.WalSnapshot())
    opened.close()
    return list(contents.entries)


def test_what_a_member_says_of_itself_in_its_log_is_understood(tmp_path: Path) -> None:
    member = a_member(tmp_path)
    with member:
        [own] = members_of(member)
    requests = [decode_request(entry.data) for entry in entries_of(member) if entry.type == 0 and entry.data]
    assert requests[0][:2] == (
        "cluster_member_attr_set",
        membership_pb2.ClusterMemberAttrSetRequest(
            member_ID=own.id,
            member_attributes=membership_pb2.Attributes(name="m1", client_urls=[member.client_url]),
        ),
    )
    assert requests[1][:2] == ("cluster_version_set", membership_pb2.ClusterVersionSetRequest(ver="3.5.0"))
    assert all(isinstance(request, Request) and request.request_id for request in requests)


def test_the_tree_in_a_snapshot_is_where_a_member_finds_the_membership(tmp_path: Path) -> None:
    """Its own snapshot file is replaced by one with a tree made here, which knows a little more."""
    member = a_member(tmp_path, "--snapshot-count=5")
    with member:
        [own] = members_of(member)
        for number in range(20):
            call(member, "/v3/kv/put", key=base64.b64encode(b"%d" % number).decode())
    directory = str(member.data_dir / "member" / "snap")
    newest = snap.load_newest(FILES, directory)
    assert newest is not None
    store = Backend.open(tmp_path / "db", schema.BUCKETS, unsafe_no_fsync=True)
    try:
        cluster = Cluster.restore(store, 1, own.id)
        for known in (own, Member(0xDEAD, ("http://gone:1",))):
            cluster.apply(add_change(known))
        cluster.apply(remove_change(0xDEAD))
        cluster.set_version("3.5.0")
        data = encode_v2_store(cluster)
    finally:
        store.close()
    theirs, ours = (json.loads(tree)["Root"]["Children"]["0"]["Children"] for tree in (newest.data, data))
    assert ours["members"]["Children"].keys() == theirs["members"]["Children"].keys()
    assert ours["version"]["Value"] == theirs["version"]["Value"]
    snap.save(FILES, directory, newest._replace(data=data))
    with member:
        log = member.log()
        [again] = members_of(member)
        assert again.peer_urls == own.peer_urls and again.name == "m1"
        assert "recovered v2 store from snapshot" in log
        recovered = [line for line in log.splitlines() if "recovered/added member from store" in line]
        assert recovered and f"{own.id:x}" in recovered[0]
        call(member, "/v3/kv/put", key="YQ==")


def forged_log(member: MemberProcess, requests: list[tuple[str, Any]]) -> None:
    """A log of a cluster of one in which `requests` were agreed on."""
    [own], cluster_id = new_cluster({"m1": [member.peer_url]}, TOKEN)
    (member.data_dir / "member" / "snap").mkdir(parents=True)
    metadata = etcdserver_pb2.Metadata(NodeID=own.id, ClusterID=cluster_id).SerializeToString()
    change = ConfChange(ConfChangeType.ADD_NODE, own.id, conf_change_context(own))
    entries = [Entry(1, 1, encode_conf_change(change), EntryType.CONF_CHANGE), Entry(2, 2, b"")]
    for index, (kind, request) in enumerate(requests, 3):
        if kind == "cluster_member_attr_set":
            request.member_ID = own.id
        entries.append(Entry(2, index, encode_request(kind, request.SerializeToString(), index)))
    opened = wal.WAL.create(FILES, str(member.data_dir / "member" / "wal"), metadata)
    opened.save(HardState(2, own.id, len(entries)), entries)
    opened.close()


def attributes() -> tuple[str, Any]:
    told = membership_pb2.Attributes(name="m1", client_urls=["http://elsewhere:1"])
    return "cluster_member_attr_set", membership_pb2.ClusterMemberAttrSetRequest(member_attributes=told)


def version(text: str) -> tuple[str, Any]:
    return "cluster_version_set", membership_pb2.ClusterVersionSetRequest(ver=text)


@pytest.mark.parametrize("versions", [(), ("3.5.0",), ("3.0.0",), ("3.0.0", "3.5.0")])
def test_a_member_takes_our_facts_whatever_version_is_decided(tmp_path: Path, versions: tuple[str, ...]) -> None:
    """So they are always written in the one form that every release since 3.5 takes."""
    member = a_member(tmp_path)
    downgrade = membership_pb2.DowngradeInfoSetRequest(enabled=False)
    forged_log(member, [attributes(), *map(version, versions), attributes(), ("downgrade_info_set", downgrade)])
    with member:
        [own] = members_of(member)
        assert (own.name, own.client_urls) == ("m1", (member.client_url,))


def test_a_version_above_its_own_is_fatal_to_a_member(tmp_path: Path) -> None:
    member = a_member(tmp_path)
    forged_log(member, [attributes(), version("3.7.0")])
    with pytest.raises(StartFailed, match="server version is lower than determined cluster version"):
        member.start()
