"""The tree that 3.5 and 3.6 members expect as the data of a raft snapshot: 3.5 takes the membership from it.

    /0/members/<hex id>/raftAttributes   {"peerURLs":[…],"isLearner":true}
    /0/members/<hex id>/attributes       {"name":…,"clientURLs":[…]}     (not for members that never started)
    /0/removed_members/<hex id>          empty
    /0/version                           3.5.0                           (once decided)
    /1                                   an empty directory: keys of API v2, of which there are none

The way back is for a data directory of etcd that becomes one of this program.

Every node carries its path, two indexes that nobody reads any more, a time that means never, and either a value or
children. Source: etcd 3.5, from snapshots of running members.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from quorate.membership.cluster import Cluster
from quorate.storage.schema import MemberRecord, encode_json

_NEVER = "0001-01-01T00:00:00Z"
_STORE_VERSION = 2


def encode_v2_store(cluster: Cluster) -> bytes:
    """JSON of the tree for `cluster` as it is now."""
    system: dict[str, Any] = {
        "members": {f"{member.id:x}": _member(member) for member in cluster.members()},
        "removed_members": {f"{number:x}": "" for number in cluster.removed()},
    }
    if cluster.version is not None:
        system["version"] = cluster.version
    tree = {"Root": _node("/", {"0": system, "1": {}}), "CurrentIndex": 0, "CurrentVersion": _STORE_VERSION}
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode()


class V2Store(NamedTuple):
    """What the tree says of the cluster; `version` is X.Y.0, None when none was decided. `has_keys` is true when it
    holds keys of API v2."""

    members: list[MemberRecord]
    removed: list[int]
    version: str | None
    has_keys: bool


def decode_v2_store(data: bytes) -> V2Store:
    """The cluster in the JSON of a tree. Raises ValueError for what is none."""
    try:
        top = json.loads(data)["Root"]["Children"]
        system = _children(top["0"])
        members = [_read_member(int(name, 16), node) for name, node in _children(system.get("members")).items()]
        removed = [int(name, 16) for name in _children(system.get("removed_members"))]
        version = system["version"]["Value"] if "version" in system else None
        return V2Store(sorted(members), sorted(removed), version, bool(_children(top.get("1"))))
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as err:
        raise ValueError(f"the members in a snapshot make no sense: {err!r}") from err


def _children(node: dict[str, Any] | None) -> dict[str, Any]:
    return (node or {}).get("Children") or {}


def _read_member(number: int, node: dict[str, Any]) -> MemberRecord:
    fields: dict[str, Any] = {}
    for leaf in _children(node).values():
        fields.update(json.loads(leaf["Value"]))
    return MemberRecord.of_fields(fields | {"id": number})


def _member(member: MemberRecord) -> dict[str, str]:
    fields = member.fields()
    del fields["id"]
    own: dict[str, Any] = {key: fields.pop(key) for key in ("name", "clientURLs") if key in fields}
    leaves = {"raftAttributes": encode_json(fields).decode()}
    if own:
        leaves["attributes"] = encode_json(own).decode()
    return leaves


def _node(path: str, content: str | dict[str, Any]) -> dict[str, Any]:
    """A node: text makes a leaf, a dict a directory."""
    node: dict[str, Any] = {"Path": path, "CreatedIndex": 0, "ModifiedIndex": 0, "ExpireTime": _NEVER}
    if isinstance(content, str):
        return node | {"Value": content, "Children": None}
    below = path.rstrip("/")
    return node | {"Value": "", "Children": {name: _node(f"{below}/{name}", it) for name, it in content.items()}}
