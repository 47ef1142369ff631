"""Buckets `members`, `members_removed` and `cluster`, and the JSON of a member, which also travels in conf changes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from quorate.storage.schema.buckets import CLUSTER, MEMBERS, MEMBERS_REMOVED, Store

_VERSION = b"clusterVersion"
_DOWNGRADE = b"downgrade"
_REMOVED = b"removed"

_ESCAPED = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


class MemberRecord(NamedTuple):
    """A member: who it is, and what it says of itself. Unstarted members have no name and no client URLs."""

    id: int
    peer_urls: tuple[str, ...] = ()
    is_learner: bool = False
    name: str = ""
    client_urls: tuple[str, ...] = ()

    def fields(self) -> dict[str, Any]:
        """As in its JSON: empty and false ones left out, `peerURLs` always there, null when there are none."""
        fields: dict[str, Any] = {"id": self.id, "peerURLs": list(self.peer_urls) or None}
        if self.is_learner:
            fields["isLearner"] = True
        if self.name:
            fields["name"] = self.name
        if self.client_urls:
            fields["clientURLs"] = list(self.client_urls)
        return fields

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> MemberRecord:
        """The member of a JSON object; unknown fields are passed over, missing and null ones are empty."""
        return cls(
            id=int(fields.get("id") or 0),
            peer_urls=tuple(fields.get("peerURLs") or ()),
            is_learner=bool(fields.get("isLearner")),
            name=fields.get("name") or "",
            client_urls=tuple(fields.get("clientURLs") or ()),
        )


class Downgrade(NamedTuple):
    """A downgrade job. `target` is X.Y.0, empty when no job is on."""

    target: str = ""
    enabled: bool = False


def put_member(store: Store, member: MemberRecord) -> None:
    store.put(MEMBERS, b"%x" % member.id, encode_json(member.fields()))


def delete_member(store: Store, member_id: int) -> None:
    store.delete(MEMBERS, b"%x" % member_id)


def members(store: Store) -> Iterator[MemberRecord]:
    """All members. Of an ID that the key and the JSON tell differently the key's counts."""
    for key, value in store.scan(MEMBERS):
        yield MemberRecord.of_fields(json.loads(value))._replace(id=int(key, 16))


def put_removed(store: Store, member_id: int) -> None:
    """Keep the ID from ever coming back."""
    store.put(MEMBERS_REMOVED, b"%x" % member_id, _REMOVED)


def removed_members(store: Store) -> Iterator[int]:
    for key, _ in store.scan(MEMBERS_REMOVED):
        yield int(key, 16)


def put_cluster_version(store: Store, version: str) -> None:
    """`version` is X.Y.0."""
    store.put(CLUSTER, _VERSION, version.encode())


def get_cluster_version(store: Store) -> str | None:
    """X.Y.0, or None while none is decided."""
    version = store.get(CLUSTER, _VERSION)
    return None if version is None else version.decode()


def put_downgrade(store: Store, downgrade: Downgrade) -> None:
    fields = {"target-version": downgrade.target, "enabled": downgrade.enabled}
    store.put(CLUSTER, _DOWNGRADE, encode_json(fields))


def get_downgrade(store: Store) -> Downgrade:
    data = store.get(CLUSTER, _DOWNGRADE)
    if data is None:
        return Downgrade()
    fields = json.loads(data)
    return Downgrade(fields.get("target-version") or "", bool(fields.get("enabled")))


def encode_json(fields: Mapping[str, Any]) -> bytes:
    """JSON bytes as Go writes them: no spaces, raw UTF-8, and `<`, `>`, `&`, U+2028 and U+2029 escaped."""
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    return text.translate(_ESCAPED).encode()
