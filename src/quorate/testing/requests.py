"""What clients ask for: a request drawn from dice, over a few keys that all of them share."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.story import FROM_KEY, Event

PREFIX = b"key/"
PREFIX_END = b"key0"
PAST = 30
"""Revisions that a read goes back, at most; it may also go a few ahead."""
AHEAD = 3
OPTIONS = 0.2
"""Share of requests with an option that says how much is shown."""


class Requests:
    """Draws one after the other; `known` makes compares hold now and then, and keeps old reads near."""

    def __init__(self, dice: random.Random, keys: Sequence[bytes], value: Callable[[], bytes], known: Known) -> None:
        self._dice = dice
        self._keys = keys
        self._value = value
        self._known = known
        self._kinds = {
            self._put: 8,
            self._delete: 2,
            self._delete_range: 1,
            self._both: 2,
            self._swap: 4,
            self._nested: 3,
            self._get: 8,
            self._range: 4,
            self._get_several: 1,
        }

    def draw(self) -> Any:
        return self._dice.choices(list(self._kinds), list(self._kinds.values()))[0]()

    def draw_read(self) -> Any:
        """One of those that change nothing."""
        return self._dice.choices((self._get, self._range, self._get_several), (8, 4, 1))[0]()

    # Writes.

    def _put(self) -> pb.PutRequest:
        return self._put_to(self._key())

    def _delete(self) -> pb.DeleteRangeRequest:
        return pb.DeleteRangeRequest(key=self._key(), prev_kv=self._now_and_then())

    def _delete_range(self) -> pb.DeleteRangeRequest:
        key = self._key()
        return pb.DeleteRangeRequest(key=key, range_end=few_behind(key), prev_kv=self._now_and_then())

    def _both(self) -> pb.TxnRequest:
        one, other = self._two_keys()
        return pb.TxnRequest(success=[_op(self._put_to(one)), _op(self._put_to(other))])

    def _swap(self) -> pb.TxnRequest:
        key = self._key()
        compare = pb.Compare(key=key, target=pb.Compare.MOD, mod_revision=self._known.changed(key))
        read = pb.RangeRequest(key=key)
        return pb.TxnRequest(compare=[compare], success=[_op(self._put_to(key))], failure=[_op(read)])

    def _nested(self) -> pb.TxnRequest:
        """Compares at two levels over two keys; what is read behind a write is read as the write left it."""
        one, other = self._two_keys()
        everything = pb.RangeRequest(key=PREFIX, range_end=PREFIX_END)
        inner = pb.TxnRequest(
            compare=[self._compare(other)],
            success=[_op(self._put_to(other)), _op(everything)],
            failure=[_op(pb.DeleteRangeRequest(key=other)), _op(pb.RangeRequest(key=one))],
        )
        return pb.TxnRequest(
            compare=[self._compare(self._key()) for _ in range(self._dice.randrange(3))],
            success=[_op(self._put_to(one)), _op(inner)],
            failure=[_op(everything), _op(pb.TxnRequest(success=[_op(self._put_to(other))]))],
        )

    # Reads.

    def _get(self) -> pb.RangeRequest:
        return pb.RangeRequest(key=self._key(), serializable=self._dice.random() < 0.25, revision=self._some_revision())

    def _range(self) -> pb.RangeRequest:
        key = self._key()
        request = pb.RangeRequest(serializable=self._dice.random() < 0.25, revision=self._some_revision())
        request.key, request.range_end = self._dice.choice(
            ((PREFIX, PREFIX_END), (key, few_behind(key)), (key, FROM_KEY))
        )
        if self._now_and_then():
            request.limit = self._dice.randrange(1, 4)
        elif self._now_and_then():
            request.count_only = True
        elif self._now_and_then():
            request.keys_only = True
        return request

    def _get_several(self) -> pb.TxnRequest:
        return pb.TxnRequest(success=[_op(pb.RangeRequest(key=key)) for key in self._two_keys()])

    # Parts.

    def _key(self) -> bytes:
        return self._dice.choice(self._keys)

    def _two_keys(self) -> list[bytes]:
        return self._dice.sample(self._keys, 2)

    def _put_to(self, key: bytes) -> pb.PutRequest:
        return pb.PutRequest(key=key, value=self._value(), prev_kv=self._now_and_then())

    def _compare(self, key: bytes) -> pb.Compare:
        """One that may well hold."""
        compare = pb.Compare(key=key, result=self._dice.randrange(4))  # type: ignore[arg-type]
        match self._dice.randrange(4):
            case 0:
                compare.target, compare.version = pb.Compare.VERSION, self._dice.randrange(4)
            case 1:
                compare.target, compare.create_revision = pb.Compare.CREATE, self._known.changed(key)
            case 2:
                compare.target, compare.mod_revision = pb.Compare.MOD, self._known.changed(key)
            case 3:
                compare.target, compare.value = pb.Compare.VALUE, self._known.value(key)
        if self._now_and_then():
            compare.range_end = few_behind(key)
        return compare

    def _some_revision(self) -> int:
        """That of a read: the newest mostly."""
        if not self._now_and_then():
            return 0
        return max(0, self._known.revision + self._dice.randint(-PAST, AHEAD))

    def _now_and_then(self) -> bool:
        return self._dice.random() < OPTIONS


class Known:
    """The newest that any watch has told."""

    def __init__(self) -> None:
        self.revision = 1
        self._newest: dict[bytes, Event] = {}

    def learn(self, event: Event) -> None:
        revision, key, _ = event
        self.revision = max(self.revision, revision)
        if key.startswith(PREFIX) and (key not in self._newest or self._newest[key][0] < revision):
            self._newest[key] = event

    def changed(self, key: bytes) -> int:
        """The revision of the last put; 0 for a key that is not there."""
        revision, _, value = self._newest.get(key, (0, key, None))
        return revision if value is not None else 0

    def value(self, key: bytes) -> bytes:
        return self._newest.get(key, (0, key, None))[2] or b""


def make_keys(count: int) -> list[bytes]:
    return [PREFIX + b"%02d" % number for number in range(count)]


def few_behind(key: bytes) -> bytes:
    """The end of a range of three keys, or as many as there are."""
    return PREFIX + b"%02d" % (int(key.removeprefix(PREFIX)) + 3)


def _op(request: Any) -> pb.RequestOp:
    match request:
        case pb.RangeRequest():
            return pb.RequestOp(request_range=request)
        case pb.PutRequest():
            return pb.RequestOp(request_put=request)
        case pb.DeleteRangeRequest():
            return pb.RequestOp(request_delete_range=request)
    return pb.RequestOp(request_txn=request)
