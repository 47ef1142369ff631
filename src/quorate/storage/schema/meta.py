"""Bucket `meta`: how far the database is, and by whose rules."""

from __future__ import annotations

import json
from typing import NamedTuple

from quorate.api.raftpb import ConfState
from quorate.storage.schema.buckets import META, Store

_CONSISTENT_INDEX = b"consistent_index"
_TERM = b"term"
_CONF_STATE = b"confState"
_STORAGE_VERSION = b"storageVersion"
_SCHEDULED_COMPACT = b"scheduledCompactRev"
_FINISHED_COMPACT = b"finishedCompactRev"

UNHASHED = frozenset((_CONSISTENT_INDEX, _TERM, _STORAGE_VERSION))
"""Keys whose values members do not have alike at every moment."""

_UNVERSIONED = "3.5.0"
"""Storage version of a database that has all of 3.5's fields but no version: 3.5 wrote none."""


class Applied(NamedTuple):
    """The last entry whose effects the database holds; zeros when there is none."""

    index: int  # type: ignore[assignment]
    term: int


def put_applied(store: Store, index: int, term: int) -> None:
    """Say that the effects of the entry at (`index`, `term`) are in this batch. A zero is not written."""
    if index:
        store.put(META, _CONSISTENT_INDEX, index.to_bytes(8, "big"))
    if term:
        store.put(META, _TERM, term.to_bytes(8, "big"))


def get_applied(store: Store) -> Applied:
    index, term = store.get(META, _CONSISTENT_INDEX), store.get(META, _TERM)
    return Applied(int.from_bytes(index or b"", "big"), int.from_bytes(term or b"", "big"))


def put_conf_state(store: Store, state: ConfState) -> None:
    """Store who votes. Empty sets are left out, auto_leave never is."""
    fields: dict[str, list[int] | bool] = {}
    for name in ("voters", "learners", "voters_outgoing", "learners_next"):
        if members := getattr(state, name):
            fields[name] = list(members)
    fields["auto_leave"] = state.auto_leave
    store.put(META, _CONF_STATE, json.dumps(fields, separators=(",", ":")).encode())


def get_conf_state(store: Store) -> ConfState | None:
    """Who votes, or None when that was never stored (databases older than 3.5)."""
    data = store.get(META, _CONF_STATE)
    if data is None:
        return None
    fields = json.loads(data)
    return ConfState(
        voters=tuple(fields.get("voters") or ()),
        learners=tuple(fields.get("learners") or ()),
        voters_outgoing=tuple(fields.get("voters_outgoing") or ()),
        learners_next=tuple(fields.get("learners_next") or ()),
        auto_leave=bool(fields.get("auto_leave")),
    )


def put_storage_version(store: Store, version: str) -> None:
    """Set the version whose rules the database follows, as X.Y.0."""
    store.put(META, _STORAGE_VERSION, version.encode())


def delete_storage_version(store: Store) -> None:
    """Make the database one of 3.5 again."""
    store.delete(META, _STORAGE_VERSION)


def get_storage_version(store: Store) -> str | None:
    """The version whose rules the database follows, or None when that cannot be told."""
    version = store.get(META, _STORAGE_VERSION)
    if version is not None:
        return version.decode()
    if store.get(META, _CONF_STATE) is not None and store.get(META, _TERM) is not None:
        return _UNVERSIONED
    return None


def put_scheduled_compact_revision(store: Store, revision: int) -> None:
    """Say that everything below `revision` that it replaced is to go."""
    store.put(META, _SCHEDULED_COMPACT, _encode_revision(revision))


def get_scheduled_compact_revision(store: Store) -> int | None:
    return _decode_revision(store.get(META, _SCHEDULED_COMPACT))


def put_finished_compact_revision(store: Store, revision: int) -> None:
    """Say that it has gone."""
    store.put(META, _FINISHED_COMPACT, _encode_revision(revision))


def get_finished_compact_revision(store: Store) -> int | None:
    return _decode_revision(store.get(META, _FINISHED_COMPACT))


def _encode_revision(main: int) -> bytes:
    return main.to_bytes(8, "big") + b"_" + bytes(8)


def _decode_revision(data: bytes | None) -> int | None:
    return None if data is None else int.from_bytes(data[:8], "big")
