"""Records and their frames, byte for byte."""

from google_crc32c import extend
from hypothesis import given
from hypothesis import strategies as st

from quorate.api.pb import raft_pb2, wal_pb2
from quorate.api.raftpb import ConfState, Entry, HardState
from quorate.storage.wal import WalSnapshot
from quorate.storage.wal.record import Encoder, _framed, decode_snapshot, encode_snapshot, scan

U64 = st.integers(0, 2**64 - 1)
INDEX = st.integers(1, 2**64 - 1)
ENTRIES = st.lists(
    st.builds(Entry, U64, INDEX, st.binary(max_size=40) | st.integers(100, 20_000).map(bytes), st.integers(0, 2)),
    max_size=6,
)


def records(data: bytes) -> list[tuple[int, bytes]]:
    return [(kind, payload) for kind, payload, _, _ in scan("x.wal", data, 0, last=True)]


def test_a_new_log_starts_as_etcds_does() -> None:
    head = Encoder(b"\x08\x01\x10\x02").begin()
    crc_after_metadata = extend(0, b"\x08\x01\x10\x02")
    metadata = wal_pb2.Record(type=1, crc=crc_after_metadata, data=b"\x08\x01\x10\x02").SerializeToString()
    snapshot = wal_pb2.Record(
        type=5, crc=extend(crc_after_metadata, b"\x08\x00\x10\x00"), data=b"\x08\x00\x10\x00"
    ).SerializeToString()
    assert head[:16] == bytes.fromhex("0400000000000084 0804100000000000")
    assert len(metadata) == len(snapshot) == 14
    assert head[16:] == b"".join(bytes.fromhex("0e00000000000082") + r + b"\0\0" for r in (metadata, snapshot))


def test_the_length_field_tells_the_padding() -> None:
    for size, field in ((4, "0400000000000084"), (31, "1f00000000000081"), (16, "1000000000000000")):
        frame = _framed(b"r" * size)
        assert frame == bytes.fromhex(field) + b"r" * size + bytes(-size % 8)


def test_a_snapshot_record_of_one_voter_has_etcds_bytes() -> None:
    voter = 0x8E9E05C52164694D
    varint = bytes(voter >> shift & 0x7F | (0x80 if shift < 63 else 0) for shift in range(0, 70, 7))
    snapshot = WalSnapshot(11, 2, ConfState((voter,)))
    encoded = encode_snapshot(snapshot)
    assert encoded == bytes.fromhex("080b1002 1a0d 08") + varint + bytes.fromhex("2800")
    assert decode_snapshot(encoded) == snapshot
    assert encode_snapshot(WalSnapshot()) == bytes.fromhex("08001000")


def test_a_state_writes_all_three_fields() -> None:
    [(kind, payload)] = records(Encoder(b"").encode(HardState(1, 0, 0)).data)
    assert (kind, payload) == (3, bytes.fromhex("080110001800"))


def test_an_entry_without_data_has_no_data_field() -> None:
    [(kind, payload)] = records(Encoder(b"").encode(None, [Entry(2, 300)]).data)
    assert (kind, payload) == (2, bytes.fromhex("0800 1002 18ac02"))


@given(ENTRIES)
def test_entries_encoded_by_hand_equal_two_nested_messages(entries: list[Entry]) -> None:
    crc, expected = 0, []
    for entry in entries:
        message = raft_pb2.Entry(Type=entry.type, Term=entry.term, Index=entry.index)  # type: ignore[arg-type]
        if entry.data:
            message.Data = entry.data
        data = message.SerializeToString()
        crc = extend(crc, data)
        expected.append((2, data, wal_pb2.Record(type=2, crc=crc, data=data).SerializeToString()))
    encoder = Encoder(b"")
    data = encoder.encode(None, entries).data
    assert records(data) == [(kind, payload) for kind, payload, _ in expected]
    assert encoder.crc == crc
    offset = 0
    for _, _, record in expected:
        assert data[offset + 8 : offset + 8 + len(record)] == record
        offset += 8 + len(record) + -len(record) % 8
    assert offset == len(data) == encoder.offset


def test_snapshot_entries_and_state_come_in_this_order() -> None:
    batch = Encoder(b"").encode(HardState(1, 1, 1), [Entry(1, 1)], WalSnapshot(1, 1, ConfState((1,))))
    assert [kind for kind, _ in records(batch.data)] == [5, 2, 3]


def test_only_promises_ask_for_a_sync() -> None:
    encoder = Encoder(b"")
    assert encoder.encode(HardState(1, 0, 0)).sync
    assert encoder.encode(HardState(1, 7, 0)).sync
    assert not encoder.encode(HardState(1, 7, 5)).sync
    assert not encoder.encode(HardState(1, 7, 5)).sync
    assert encoder.encode(None, [Entry(1, 1)]).sync
    assert encoder.encode(None, (), WalSnapshot(1, 1, ConfState((7,)))).sync
    assert encoder.encode() == (b"", False, None)
    assert encoder.encode(HardState()).data == b""


def test_a_batch_that_fills_the_segment_brings_the_head_of_the_next() -> None:
    encoder = Encoder(b"me", segment_bytes=4096)
    encoder.begin()
    first = encoder.encode(HardState(1, 1, 0), [Entry(1, 1, bytes(5000))])
    assert first.cut is not None and first.sync
    assert str(first.cut.name) == "0000000000000001-0000000000000002.wal"
    assert [kind for kind, _ in records(first.cut.head)] == [4, 1, 3]
    assert encoder.offset == len(first.cut.head)
    assert encoder.encode(None, [Entry(1, 2)]).cut is None
