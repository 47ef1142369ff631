"""The tables of RFC 7541 are those of the library that was written from the same pages."""

from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable
from hypothesis import given
from hypothesis import strategies as st

from quorate.transport.http2.errors import ErrorCode, RemoteProtocolError
from quorate.transport.http2.tables import STATIC, huffman_decode


def decoded(text: bytes) -> bytes | None:
    try:
        return huffman_decode(text)
    except RemoteProtocolError as error:
        assert error.code == ErrorCode.COMPRESSION_ERROR
        return None


def library_decoded(text: bytes) -> bytes | None:
    try:
        return bytes(decode_huffman(text))
    except Exception:
        return None


def test_the_static_table_is_the_library_s() -> None:
    assert tuple(HeaderTable.STATIC_TABLE) == STATIC


@given(st.binary())
def test_what_was_encoded_is_decoded(text: bytes) -> None:
    assert huffman_decode(HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text)) == text


def test_every_octet_is_decoded() -> None:
    encoder = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
    text = bytes(range(256))
    assert huffman_decode(encoder.encode(text)) == text


@given(st.binary(max_size=12))
def test_bytes_that_are_no_code_are_refused_where_the_library_refuses_them(text: bytes) -> None:
    assert decoded(text) == library_decoded(text)


def test_eos_is_refused() -> None:
    assert decoded(b"\xff\xff\xff\xff") is None
