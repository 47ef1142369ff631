"""The body of an answer, taken apart by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.transport.chunked import SIZE_LINE_LIMIT, TRAILER_LIMIT, ChunkDecoder, PlainDecoder
from quorate.transport.web import HttpError


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@given(st.lists(st.binary(min_size=1, max_size=50)), st.integers(1, 40), st.sampled_from([b"", b"A: b\r\nC: d\r\n"]))
def test_a_body_is_the_same_however_it_comes(chunks: list[bytes], step: int, trailer: bytes) -> None:
    wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + trailer + b"\r\n"
    decoder = ChunkDecoder()
    pieces = []
    for part in cut(wire, step):
        assert not decoder.at_end()
        pieces.append(decoder.feed(part))
    assert b"".join(pieces) == b"".join(chunks)
    assert decoder.done and decoder.at_end()


def test_what_has_come_is_given_before_the_chunk_is_whole() -> None:
    decoder = ChunkDecoder()
    assert [decoder.feed(part) for part in (b"a\r\nhel", b"lo", b"world\r\n1\r", b"\n!\r")] == [
        b"hel",
        b"lo",
        b"world",
        b"!",
    ]


def test_the_chunks_of_one_read_are_one_piece() -> None:
    assert ChunkDecoder().feed(b"1\r\na\r\n2\r\nbc\r\n3\r\nd") == b"abcd"


@pytest.mark.parametrize("line", [b"5", b"05", b"0000000000000005", b"5;name=value", b'5 \t;a="b"', b"5  "])
def test_a_size_may_be_dressed_up(line: bytes) -> None:
    assert ChunkDecoder().feed(line + b"\r\nhello\r\n") == b"hello"


@pytest.mark.parametrize(
    "wire",
    [
        b"\r\n",
        b"-1\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"1_0\r\n",
        b" 5\r\nhello\r\n",
        b"5\nhello\n",
        b"zz\r\n",
        b";a=b\r\n",
        b"11111111111111111\r\n",
        b"5\r\nhelloworld\r\n",
        b"5\r\nhello\r5",
        b"5\r\nhello\n\r",
        b"5;" + b"x" * SIZE_LINE_LIMIT,
        b"0\r\n" + b"x" * (TRAILER_LIMIT + 1),
        b"0\r\n" + b"a: b\r\n" * TRAILER_LIMIT,
        "٥\r\n".encode(),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1_000_000])
def test_what_is_no_chunk_is_refused(wire: bytes, step: int) -> None:
    decoder = ChunkDecoder()
    with pytest.raises(HttpError):
        for part in cut(wire, step):
            decoder.feed(part)
    assert not decoder.at_end()


def test_a_huge_size_is_a_number_and_no_memory() -> None:
    decoder = ChunkDecoder()
    assert decoder.feed(b"ffffffffffffffff\r\nabc") == b"abc"
    assert not decoder.at_end()


def test_what_follows_the_end_is_ignored() -> None:
    decoder = ChunkDecoder()
    assert decoder.feed(b"1\r\na\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n") == b"a"
    assert decoder.feed(b"zz\r\n") == b""
    assert decoder.done


def test_a_plain_body_ends_at_its_length_or_with_its_connection() -> None:
    sized, endless, empty = PlainDecoder(4), PlainDecoder(None), PlainDecoder(0)
    assert (sized.feed(b"abc"), sized.at_end(), sized.feed(b"defg"), sized.done) == (b"abc", False, b"d", True)
    assert (endless.feed(b"abc"), endless.done, endless.at_end()) == (b"abc", False, True)
    assert empty.done
