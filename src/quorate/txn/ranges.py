"""A RangeRequest on a view of the store: what to fetch, filter, sort and cut.

Order of work (etcd's): fetch in key order, filter by revisions, sort, cut to the limit. The limit reaches the fetch
only when nothing after it can change which keys are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from quorate.api import encode
from quorate.api.pb import kv_pb2
from quorate.api.pb import rpc_pb2 as rpc
from quorate.storage.mvcc import Mode, RangeResult


class View(Protocol):
    """A store, or a write transaction that sees its own changes."""

    def range(
        self,
        key: bytes,
        range_end: bytes = ...,
        *,
        revision: int = ...,
        limit: int = ...,
        mode: Mode = ...,
        counted: bool = ...,
    ) -> RangeResult: ...


class Ranged(NamedTuple):
    """What a range found: serialized KeyValues, whether the limit cut some, how many keys there are in all."""

    kvs: Sequence[bytes]
    more: bool
    count: int  # type: ignore[assignment]
    revision: int

    def body(self) -> bytes:
        return encode.range_body(self.kvs, self.more, self.count)


class PlainGet(NamedTuple):
    """A request for the newest state of one key and nothing else; the key is not empty."""

    key: bytes
    serializable: bool
    range_end: bytes = b""


_KEY = rpc.RangeRequest.KEY
_VALUE = rpc.RangeRequest.VALUE
_NONE = rpc.RangeRequest.NONE
_DESCEND = rpc.RangeRequest.DESCEND


def run_range(view: View, request: rpc.RangeRequest | PlainGet, *, counted: bool = True) -> Ranged:
    """Answer `request` from `view`; with `counted` off the count may stop at the limit.

    Raises Compacted, FutureRevision.
    """
    if isinstance(request, PlainGet):
        found = view.range(request.key)
        return Ranged(found.kvs, False, found.count, found.revision)
    limit = max(request.limit, 0)
    if request.count_only:
        found = view.range(request.key, request.range_end, revision=request.revision, mode=Mode.COUNT)
        return Ranged((), False, found.count, found.revision)
    rearranged = _is_rearranged(request)
    by_value = rearranged and request.sort_target == _VALUE
    found = view.range(
        request.key,
        request.range_end,
        revision=request.revision,
        limit=0 if not limit or (rearranged and not _keeps_first(request)) else limit + 1,
        mode=Mode.KEYS if request.keys_only and not by_value else Mode.FULL,
        counted=counted,
    )
    kvs = _rearrange(found.kvs, request) if rearranged else found.kvs
    more = 0 < limit < len(kvs)
    if more:
        kvs = kvs[:limit]
    if request.keys_only and by_value:
        kvs = [_without_value(kv) for kv in kvs]
    return Ranged(kvs, more, found.count, found.revision)


def parse_range(body: bytes) -> rpc.RangeRequest | PlainGet:
    """The request in `body`; read by hand where it is a plain get, which is by far the commonest of all. Raises
    DecodeError."""
    get = _plain_get(body)
    return rpc.RangeRequest.FromString(body) if get is None else PlainGet(*get)


def _plain_get(body: bytes) -> tuple[bytes, bool] | None:
    """Key and `serializable` of a plain get, else None.

    Field 1 is the key, field 7 `serializable`; a key of up to 127 bytes has a length of one byte (proto3, in which what
    has its default is left out).
    """
    size = len(body)
    if size > 2 and body[0] == 0x0A and 0 < (length := body[1]) < 128:
        if length == size - 2:
            return body[2:], False
        if length == size - 4 and body.endswith(b"\x38\x01"):
            return body[2:-2], True
    return None


def parse_gets(bodies: Sequence[bytes]) -> tuple[list[bytes], bool] | None:
    """The keys of plain gets, and whether all of them are serializable; None when not all are plain gets."""
    keys = []
    serializable = 0
    for body in bodies:
        get = _plain_get(body)
        if get is None:
            return None
        keys.append(get[0])
        serializable += get[1]
    return keys, serializable == len(keys)


def _filters(request: rpc.RangeRequest) -> bool:
    return bool(
        request.max_mod_revision
        or request.min_mod_revision
        or request.max_create_revision
        or request.min_create_revision
    )


def _is_rearranged(request: rpc.RangeRequest) -> bool:
    """True unless the answer is simply the keys in order."""
    return request.sort_target != _KEY or request.sort_order == _DESCEND or _filters(request)


def _keeps_first(request: rpc.RangeRequest) -> bool:
    """True when just the first keys can be in the answer: an unsorted target sorts only what the limit left."""
    return request.sort_order == _NONE and not _filters(request)


_SORT_KEYS: dict[int, Callable[[kv_pb2.KeyValue], bytes | int]] = {
    rpc.RangeRequest.KEY: lambda kv: kv.key,
    rpc.RangeRequest.VERSION: lambda kv: kv.version,
    rpc.RangeRequest.CREATE: lambda kv: kv.create_revision,
    rpc.RangeRequest.MOD: lambda kv: kv.mod_revision,
    rpc.RangeRequest.VALUE: lambda kv: kv.value,
}


def _rearrange(rows: Sequence[bytes], request: rpc.RangeRequest) -> list[bytes]:
    """Filter and sort rows by their decoded fields."""
    pairs = [(kv_pb2.KeyValue.FromString(row), row) for row in rows]
    if _filters(request):
        pairs = [pair for pair in pairs if _passes(pair[0], request)]
    if request.sort_target != _KEY or request.sort_order != _NONE:
        sort_key = _SORT_KEYS[request.sort_target]
        pairs.sort(key=lambda pair: sort_key(pair[0]), reverse=request.sort_order == _DESCEND)
    return [row for _, row in pairs]


def _passes(kv: kv_pb2.KeyValue, request: rpc.RangeRequest) -> bool:
    """Inclusive bounds; a bound of 0 is none."""
    return (
        (not request.max_mod_revision or kv.mod_revision <= request.max_mod_revision)
        and (not request.min_mod_revision or kv.mod_revision >= request.min_mod_revision)
        and (not request.max_create_revision or kv.create_revision <= request.max_create_revision)
        and (not request.min_create_revision or kv.create_revision >= request.min_create_revision)
    )


def _without_value(row: bytes) -> bytes:
    kv = kv_pb2.KeyValue.FromString(row)
    kv.ClearField("value")
    return kv.SerializeToString()
