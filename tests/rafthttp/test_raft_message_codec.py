"""raftpb.Message and its entries: our bytes beside protobuf's, and beside what real members wrote."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from quorate.api.pb import raft_pb2 as pb
from quorate.api.raftpb import (
    ConfState,
    Entry,
    Message,
    MessageType,
    Snapshot,
    decode_message,
    encode_entries,
    encode_entry,
    encode_message,
)

SELF, OTHER = 0x6008DA917EEE3DE9, 0x2536EE14DB5BC0C2

numbers = st.one_of(st.integers(0, 300), st.integers(0, 2**21), st.integers(0, 2**63 - 1))
ids = st.integers(0, 2**64 - 1)
placed = st.builds(Entry, numbers, numbers.filter(bool), st.binary(max_size=300), st.integers(0, 2))
entries = st.one_of(placed, st.builds(lambda data, kind: Entry(0, 0, data, kind), st.binary(), st.integers(0, 2)))
id_tuples = st.lists(ids, max_size=4).map(tuple)
snapshots = st.builds(
    Snapshot,
    numbers.filter(bool),
    numbers,
    st.builds(ConfState, id_tuples, id_tuples, id_tuples, id_tuples, st.booleans()),
    st.binary(),
)
messages = st.builds(
    Message,
    st.sampled_from(list(MessageType)),
    ids, ids, numbers, numbers, numbers,
    st.lists(entries, max_size=5),
    numbers,
    st.none() | snapshots,
    st.booleans(),
    numbers,
    st.binary(max_size=40),
)  # fmt: skip


@given(st.lists(placed, max_size=20))
def test_entries_of_a_log_are_encoded_as_one_by_one(batch: list[Entry]) -> None:
    assert encode_entries(batch) == [encode_entry(entry) for entry in batch]


@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 16_383, 16_384, 300_000])
@pytest.mark.parametrize("first", [1, 120, 16_380, 2_097_150, 2**40])
def test_entries_at_the_borders_of_varints(size: int, first: int) -> None:
    batch = [Entry(7, first + n, bytes(size), n % 3) for n in range(10)]
    assert encode_entries(batch) == [encode_entry(entry) for entry in batch]


@given(messages)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    got = decode_message(encode_message(message))
    if message.type == MessageType.SNAP and message.snapshot is None:
        message.snapshot = Snapshot()
    assert got == message


@given(messages)
def test_protobuf_reads_what_is_written(message: Message) -> None:
    found = pb.Message.FromString(encode_message(message))
    assert found.snapshot.data == (message.snapshot.data if message.snapshot is not None else b"")
    assert (found.type, found.to, getattr(found, "from"), found.commit) == (
        message.type,
        message.to,
        message.from_,
        message.commit,
    )
    assert [(e.Term, e.Index, e.Data, e.Type) for e in found.entries] == message.entries


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def test_bytes_are_those_of_3_8() -> None:
    to, sender = b"\x10" + varint(OTHER), b"\x18" + varint(SELF)
    context = bytes(range(8))
    read = Message(MessageType.READ_INDEX, OTHER, SELF, entries=[Entry(0, 0, context)])
    assert encode_message(read) == b"\x08\x0f" + to + sender + b"\x3a\x0a\x22\x08" + context
    proposal = Message(MessageType.PROP, OTHER, SELF, entries=[Entry(0, 0, b"request")])
    assert encode_message(proposal) == b"\x08\x02" + to + sender + b"\x3a\x09\x22\x07request"
    vote = Message(MessageType.PRE_VOTE, OTHER, SELF, term=2, log_term=1, index=2)
    assert encode_message(vote) == b"\x08\x11" + to + sender + b"\x20\x02\x28\x01\x30\x02"
    assert encode_message(Message(MessageType.HEARTBEAT)) == b"\x08\x08"


def test_zeros_and_empty_snapshots_of_old_releases_mean_nothing() -> None:
    head = b"\x08\x11\x10" + varint(OTHER) + b"\x18" + varint(SELF) + b"\x20\x02\x28\x01\x30\x02"
    tail = bytes.fromhex("40004a0a12080a022800100018005000 5800".replace(" ", ""))
    wanted = Message(MessageType.PRE_VOTE, OTHER, SELF, term=2, log_term=1, index=2)
    assert decode_message(head) == decode_message(head + tail) == wanted


def test_what_is_no_message_is_said_to_be_none() -> None:
    for data in (b"\x08", b"\x3a\x05abc", b"\xff" * 20, b"\x10" + b"\x80" * 11):
        with pytest.raises(DecodeError):
            decode_message(data)


def test_a_type_nobody_knows_becomes_one_that_nobody_sends() -> None:
    assert decode_message(b"\x08\x63\x10\x01").type == MessageType.HUP
