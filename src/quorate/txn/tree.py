"""A txn as it is worked with: read from its bytes once, then asked often, by the checks, the quota and the store.

    TxnRequest    0a Compare | 12 success | 1a failure, any number of each
    RequestOp     0a RangeRequest | 12 PutRequest | 1a DeleteRangeRequest | 22 TxnRequest

A protobuf message makes new objects each time a field is asked for. Txns whose operations are plain are read by hand,
what has txns inside or anything unusual by way of the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError

from quorate.api.pb import rpc_pb2 as rpc
from quorate.api.plain_put import parse_put
from quorate.txn.ranges import parse_range

RANGE, PUT, DELETE_RANGE, TXN = "request_range", "request_put", "request_delete_range", "request_txn"

Op = tuple[str | None, Any]
"""Kind, in the words of RequestOp, and request: PlainGet, PlainPut or a message; Txn. No kind: it says nothing."""

_MOST_OF_TWO_BYTES = 0x3FFF


class Txn:
    """One TxnRequest of `size` bytes."""

    __slots__ = ("compare", "failure", "is_read_only", "size", "success")

    def __init__(self, compare: Sequence[rpc.Compare], success: list[Op], failure: list[Op], size: int) -> None:
        self.compare = compare
        self.success = success
        self.failure = failure
        self.size = size
        self.is_read_only = _all_ranges(success) and _all_ranges(failure)
        """Both branches hold nothing but ranges: it need not be agreed on."""

    @property
    def is_serializable(self) -> bool:
        """Whether every range may be answered from local state; True for an empty txn."""
        return not [kind for kind, asked in self.success + self.failure if kind == RANGE and not asked.serializable]


def parse_txn(body: bytes) -> Txn:
    """The request in `body`. Raises DecodeError."""
    try:
        found = _read(body)
    except (IndexError, DecodeError):
        found = None  # whatever is wrong, the message tells it in its own words
    return found or txn_of(rpc.TxnRequest.FromString(body))


def txn_of(message: rpc.TxnRequest) -> Txn:
    """The same from a message."""
    success, failure = [_read_op(op) for op in message.success], [_read_op(op) for op in message.failure]
    return Txn(message.compare, success, failure, message.ByteSize())


def _read_op(op: rpc.RequestOp) -> Op:
    kind = op.WhichOneof("request")
    if kind is None:
        return None, None
    request = getattr(op, kind)
    return kind, txn_of(request) if kind == TXN else request


def _all_ranges(ops: list[Op]) -> bool:
    return not [kind for kind, _ in ops if kind != RANGE]


def _read(body: bytes) -> Txn | None:
    compare: list[rpc.Compare] = []
    success: list[Op] = []
    failure: list[Op] = []
    pos, size = 0, len(body)
    while pos < size:
        tag, length, start = body[pos], body[pos + 1], pos + 2
        if length > 0x7F:
            length, start = length & 0x7F | body[start] << 7, start + 1
        pos = start + length
        if pos > size or length > _MOST_OF_TWO_BYTES:
            return None
        if tag == 0x0A:
            compare.append(rpc.Compare.FromString(body[start:pos]))
            continue
        op = _parse_op(body[start:pos])
        if op is None or tag not in (0x12, 0x1A):
            return None
        (success if tag == 0x12 else failure).append(op)
    return Txn(compare, success, failure, size)


def _parse_op(data: bytes) -> Op | None:
    """An operation that is one field and nothing else."""
    tag, length, start = data[0], data[1], 2
    if length > 0x7F:
        length, start = length & 0x7F | data[2] << 7, 3
    if start + length != len(data):
        return None
    if tag == 0x12:
        return PUT, parse_put(data[start:])
    if tag == 0x0A:
        return RANGE, parse_range(data[start:])
    return (DELETE_RANGE, rpc.DeleteRangeRequest.FromString(data[start:])) if tag == 0x1A else None
