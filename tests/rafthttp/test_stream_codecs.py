"""What is on the streams, byte for byte, in whatever pieces it comes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.api.raftpb import Entry, Message, MessageType, encode_entry, encode_message
from quorate.rafthttp import RemoteProtocolError
from quorate.rafthttp.messages import MessageDecoder, MessageEncoder
from quorate.rafthttp.msgapp import MsgAppDecoder, MsgAppEncoder

SENDER, RECEIVER = 5, 9


def be(number: int) -> bytes:
    return struct.pack(">Q", number)


def append(term: int, log_term: int, index: int, entries: list[Entry], commit: int) -> Message:
    return Message(
        MessageType.APP,
        to=RECEIVER,
        from_=SENDER,
        term=term,
        log_term=log_term,
        index=index,
        entries=entries,
        commit=commit,
    )


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Appends as a leader sends them: mostly each behind the last one, now and then from elsewhere or in a new term."""
    term, log_term, index = 1, 0, 0
    messages = []
    for _ in range(draw(st.integers(0, 12))):
        match draw(st.integers(0, 9)):
            case 0:
                term, index = term + 1, index
            case 1:
                index = draw(st.integers(0, 300))
                log_term = draw(st.integers(0, term))
            case _:
                pass
        count = draw(st.integers(0, 4))
        entries = [
            Entry(term, index + 1 + n, draw(st.binary(max_size=200)), draw(st.integers(0, 1))) for n in range(count)
        ]
        messages.append(append(term, log_term, index, entries, draw(st.integers(0, index))))
        if count:
            log_term = term
        index += count
    return messages


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    marks = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in zip(marks, marks[1:], strict=False)]  # noqa: RUF007


@given(conversations(), st.lists(st.integers(0, 10_000), max_size=30))
def test_appends_arrive_as_they_were_sent_in_any_pieces(messages: list[Message], cuts: list[int]) -> None:
    encoder, decoder = MsgAppEncoder(), MsgAppDecoder(RECEIVER, SENDER)
    data = b"".join([encoder.heartbeat + encoder.encode(message, {}) for message in messages])
    got = [message for piece in pieces_of(data, cuts) if piece for message in decoder.feed(piece)]
    assert got == messages


@given(conversations(), st.lists(st.integers(0, 10_000), max_size=30))
def test_messages_arrive_as_they_were_sent_in_any_pieces(messages: list[Message], cuts: list[int]) -> None:
    encoder, decoder = MessageEncoder(), MessageDecoder()
    data = b"".join([encoder.heartbeat + encoder.encode(message, {}) for message in messages])
    got = [message for piece in pieces_of(data, cuts) if piece for message in decoder.feed(piece)]
    assert got == messages


def test_one_byte_at_a_time() -> None:
    encoder, decoder = MsgAppEncoder(), MsgAppDecoder(RECEIVER, SENDER)
    messages = [append(2, 2, n * 3, [Entry(2, n * 3 + 1 + i, b"x" * 200) for i in range(3)], n) for n in range(5)]
    data = b"".join([encoder.encode(message, {}) for message in messages])
    assert [m for at in range(len(data)) for m in decoder.feed(data[at : at + 1])] == messages


def test_an_append_that_goes_on_leaves_out_what_both_ends_know() -> None:
    encoder = MsgAppEncoder()
    first = append(2, 1, 3, [Entry(2, 4, b"a")], 3)
    whole = encode_message(first)
    assert encoder.encode(first, {}) == b"\x02" + be(len(whole)) + whole
    two = [Entry(2, 5, b"b"), Entry(2, 6, b"c")]
    rows = b"".join([be(len(encode_entry(entry))) + encode_entry(entry) for entry in two])
    assert encoder.encode(append(2, 2, 4, two, 4), {}) == b"\x01" + be(2) + rows + be(4)
    assert encoder.encode(append(2, 2, 6, [], 5), {}) == bytes.fromhex(
        "010000000000000000 0000000000000005".replace(" ", "")
    )
    # The same entries again, as after a loss; then a new term.
    assert encoder.encode(append(2, 2, 4, two, 5), {})[0] == 2
    assert encoder.encode(append(3, 2, 6, [], 6), {})[0] == 2
    assert encoder.encode(append(3, 2, 6, [Entry(3, 7, b"")], 6), {})[0] == 2
    assert encoder.encode(append(3, 3, 7, [Entry(3, 8, b"")], 6), {})[0] == 1


def test_signs_of_life_are_one_byte_and_an_empty_heartbeat() -> None:
    assert MsgAppEncoder().heartbeat == b"\x00"
    assert MessageEncoder().heartbeat == be(2) + b"\x08\x08"
    old = bytes.fromhex("08081000180020002800300040004a0a12080a0228001000180050005800")
    decoder = MessageDecoder()
    assert decoder.feed(be(len(old)) + old + MessageEncoder().heartbeat) == []
    real = Message(MessageType.HEARTBEAT, to=RECEIVER, from_=SENDER, term=2)
    assert decoder.feed(MessageEncoder().encode(real, {})) == [real]


def test_entries_encoded_for_one_member_are_not_encoded_for_the_next() -> None:
    batch = [Entry(2, n, b"x") for n in range(5, 8)]
    blocks: dict[tuple[int, int, int], bytes] = {}
    streams = []
    for _ in range(3):
        encoder = MsgAppEncoder()
        encoder.encode(append(2, 1, 4, [], 0), blocks)
        encoder.encode(append(2, 2, 4, [], 0), blocks)
        streams.append(encoder)
    assert not blocks
    written = {encoder.encode(append(2, 2, 4, batch, 4), blocks) for encoder in streams}
    assert len(written) == len(blocks) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"\x03",
        b"\x01" + be(2**60),
        b"\x02" + be(2**60),
        b"\x01" + be(1) + be(2**60),
        b"\x01" + be(1) + be(3) + b"\x22\x09x",
        b"\x02" + be(3) + b"\x3a\x09x",
    ],
)
def test_nonsense_on_a_msgapp_stream_is_the_senders_fault(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        MsgAppDecoder(RECEIVER, SENDER).feed(data)


def test_nonsense_on_a_message_stream_is_the_senders_fault() -> None:
    for data in (be(2**60), be(3) + b"\x3a\x09x"):
        with pytest.raises(RemoteProtocolError):
            MessageDecoder().feed(data)


def test_limits_hold_to_the_byte() -> None:
    entry = encode_entry(Entry(1, 1, b"x" * 100))
    limit = 2 * (8 + len(entry))
    data = b"\x01" + be(2) + 2 * (be(len(entry)) + entry) + be(0)
    assert len(MsgAppDecoder(RECEIVER, SENDER, limit).feed(data)) == 1
    with pytest.raises(RemoteProtocolError):
        MsgAppDecoder(RECEIVER, SENDER, limit - 1).feed(data)
    message = encode_message(append(1, 1, 1, [Entry(1, 2, b"x" * 100)], 0))
    assert len(MessageDecoder(len(message)).feed(be(len(message)) + message)) == 1
    with pytest.raises(RemoteProtocolError):
        MessageDecoder(len(message) - 1).feed(be(len(message)))
    with pytest.raises(RemoteProtocolError):
        MsgAppDecoder(RECEIVER, SENDER, len(message) - 1).feed(b"\x02" + be(len(message)))


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=20))
def test_any_bytes_give_messages_or_blame(pieces: list[bytes]) -> None:
    for decoder in (MsgAppDecoder(RECEIVER, SENDER), MessageDecoder()):
        try:
            for piece in pieces:
                decoder.feed(piece)
        except RemoteProtocolError:
            continue
