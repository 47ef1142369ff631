"""Rows, events and row keys are byte for byte what protobuf and etcd's schema make of them."""

import random

import pytest

from quorate.api.pb import kv_pb2
from quorate.storage.mvcc import revision, rows

SIZES = [1, 2, 40, 127, 128, 300, 2047, 2048, 20_000]
NUMBERS = [1, 2, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, (1 << 28) - 1, 1 << 28, 1 << 35, 1 << 55]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mod", NUMBERS)
def test_a_row_equals_protobufs_bytes(size: int, mod: int) -> None:
    dice = random.Random(size * mod)
    for value_size in [0, *SIZES]:
        message = kv_pb2.KeyValue(
            key=dice.randbytes(size),
            create_revision=dice.choice([mod, dice.randint(1, mod)]),
            mod_revision=mod,
            version=dice.choice(NUMBERS),
            value=dice.randbytes(value_size),
            lease=dice.choice([0, 1, 1 << 62, -1, -(1 << 63)]),
        )
        row = rows.encode_key_value(
            message.key, message.create_revision, mod, message.version, message.value, message.lease
        )
        assert row == message.SerializeToString()
        assert rows.key_of(row) == message.key
        tombstone = kv_pb2.KeyValue(key=message.key)
        assert rows.encode_tombstone(message.key) == tombstone.SerializeToString()
        assert rows.key_of(rows.encode_tombstone(message.key)) == message.key
        event = kv_pb2.Event(kv=message)
        assert rows.encode_put_event(row) == event.SerializeToString()
        event.prev_kv.CopyFrom(tombstone)
        assert rows.encode_put_event(row, tombstone.SerializeToString()) == event.SerializeToString()
        delete = kv_pb2.Event(type=kv_pb2.Event.DELETE, kv=kv_pb2.KeyValue(key=message.key, mod_revision=mod))
        assert rows.encode_delete_event(message.key, mod) == delete.SerializeToString()
        delete.prev_kv.CopyFrom(message)
        assert rows.encode_delete_event(message.key, mod, row) == delete.SerializeToString()
        message.ClearField("value")
        message.ClearField("lease")
        without = rows.encode_without_value(message.key, message.create_revision, mod, message.version)
        assert without == message.SerializeToString()


def test_a_row_key_is_main_and_sub_big_endian_and_t_for_a_tombstone() -> None:
    assert revision.revision_bytes(1, 2) == b"\0\0\0\0\0\0\0\1_\0\0\0\0\0\0\0\2"
    assert revision.revision_bytes(1, 2, tombstone=True) == revision.revision_bytes(1, 2) + b"t"
    for parts in [(1, 0, False), (1 << 50, 1 << 30, True)]:
        assert revision.parse_revision(revision.revision_bytes(*parts)) == parts


def test_a_stamp_gives_back_what_was_put_in() -> None:
    dice = random.Random(1)
    for _ in range(1000):
        main = dice.randint(1, revision.MAX_MAIN)
        create, version, sub = dice.randint(1, main), dice.randint(1, 1 << 40), dice.randint(0, (1 << 32) - 1)
        stamp = revision.make_stamp(main, sub, create, version)
        assert revision.main_of(stamp) == main
        assert revision.sub_of(stamp) == sub
        assert revision.create_of(stamp) == create
        assert revision.version_of(stamp) == version
        assert revision.row_key(stamp) == revision.revision_bytes(main, sub)
        tombstone = revision.make_tombstone(main, sub)
        assert (revision.main_of(tombstone), revision.sub_of(tombstone)) == (main, sub)
        assert revision.version_of(tombstone) == 0
