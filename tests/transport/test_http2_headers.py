"""Header compression and the rules for header lists (RFC 7541, RFC 9113 §8)."""

from __future__ import annotations

import pytest
from hpack import Decoder as LibraryDecoder
from hpack import Encoder as LibraryEncoder
from http2_wire import END_HEADERS, END_STREAM, HEADERS, REQUEST, RESPONSE, TRAILERS, block, frame, refused_with, server
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.transport.http2 import ErrorCode, Headers, HeadersReceived
from quorate.transport.http2.decoder import Decoder
from quorate.transport.http2.encoder import Encoder
from quorate.transport.http2.fields import BAD, INTERIM, MALFORMED, verdict
from quorate.transport.http2.fields import REQUEST as REQUEST_KIND
from quorate.transport.http2.fields import RESPONSE as RESPONSE_KIND
from quorate.transport.http2.fields import TRAILERS as TRAILERS_KIND
from quorate.transport.http2.limits import ENCODER_TABLE_SIZE, INDEXED_PATHS, INDEXED_VALUES


def decode(decoder: Decoder, raw: bytes) -> Headers:
    found = decoder.decode(raw)
    assert found is not None
    return found.headers


def table(decoder: Decoder) -> list[tuple[bytes, bytes]]:
    """The dynamic table, newest first."""
    return [entry[0] for entry in reversed(decoder._table)]


# -- the examples of RFC 7541 Appendix C -----------------------------------------------------------------------------

GET = (b":method", b"GET")
HTTP = (b":scheme", b"http")
HTTPS = (b":scheme", b"https")
ROOT = (b":path", b"/")
EXAMPLE = (b":authority", b"www.example.com")

SINGLE_FIELDS = [
    ("C.2.1", "400a637573746f6d2d6b65790d637573746f6d2d686561646572", (b"custom-key", b"custom-header"), 1),
    ("C.2.2", "040c2f73616d706c652f70617468", (b":path", b"/sample/path"), 0),
    ("C.2.3", "100870617373776f726406736563726574", (b"password", b"secret"), 0),
    ("C.2.4", "82", GET, 0),
]

#: C.3 without and C.4 with Huffman coding: three requests on one connection, and the table after each.
REQUESTS = [
    (
        "828684410f7777772e6578616d706c652e636f6d",
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        (GET, HTTP, ROOT, EXAMPLE),
        [EXAMPLE],
        57,
    ),
    (
        "828684be58086e6f2d6361636865",
        "828684be5886a8eb10649cbf",
        (GET, HTTP, ROOT, EXAMPLE, (b"cache-control", b"no-cache")),
        [(b"cache-control", b"no-cache"), EXAMPLE],
        110,
    ),
    (
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        (GET, HTTPS, (b":path", b"/index.html"), EXAMPLE, (b"custom-key", b"custom-value")),
        [(b"custom-key", b"custom-value"), (b"cache-control", b"no-cache"), EXAMPLE],
        164,
    ),
]

DATE_21 = (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT")
DATE_22 = (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT")
LOCATION = (b"location", b"https://www.example.com")
PRIVATE = (b"cache-control", b"private")
COOKIE = (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1")

#: C.5 and C.6: three responses through a table of 256 bytes, which evicts.
RESPONSES = [
    (
        "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e17"
        "68747470733a2f2f7777772e6578616d706c652e636f6d",
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        ((b":status", b"302"), PRIVATE, DATE_21, LOCATION),
        [LOCATION, DATE_21, PRIVATE, (b":status", b"302")],
    ),
    (
        "4803333037c1c0bf",
        "4883640effc1c0bf",
        ((b":status", b"307"), PRIVATE, DATE_21, LOCATION),
        [(b":status", b"307"), LOCATION, DATE_21, PRIVATE],
    ),
    (
        "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d41"
        "53444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af"
        "27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ((b":status", b"200"), PRIVATE, DATE_22, LOCATION, (b"content-encoding", b"gzip"), COOKIE),
        [COOKIE, (b"content-encoding", b"gzip"), DATE_22],
    ),
]


@pytest.mark.parametrize(("section", "raw", "field", "kept"), SINGLE_FIELDS)
def test_single_fields_of_the_rfc_are_decoded(section: str, raw: str, field: tuple[bytes, bytes], kept: int) -> None:
    decoder = Decoder(65_536)
    assert decode(decoder, bytes.fromhex(raw)) == (field,)
    assert table(decoder) == [field] * kept


@pytest.mark.parametrize("huffman", [False, True])
def test_the_requests_of_the_rfc_are_decoded(huffman: bool) -> None:
    decoder = Decoder(65_536)
    for plain, coded, headers, entries, size in REQUESTS:
        assert decode(decoder, bytes.fromhex(coded if huffman else plain)) == headers
        assert (table(decoder), decoder._table_size) == (entries, size)


@pytest.mark.parametrize("huffman", [False, True])
def test_the_responses_of_the_rfc_are_decoded_through_a_table_that_evicts(huffman: bool) -> None:
    decoder = Decoder(65_536)
    decoder.decode(b"\x3f\xe1\x01")  # size update to 256
    for plain, coded, headers, entries in RESPONSES:
        assert decode(decoder, bytes.fromhex(coded if huffman else plain)) == headers
        assert table(decoder) == entries


# -- the decoder -----------------------------------------------------------------------------------------------------


def test_an_indexed_block_is_the_same_tuple_until_the_table_changes() -> None:
    decoder = Decoder(65_536)
    library = LibraryEncoder()
    decode(decoder, library.encode(REQUEST))
    raw = library.encode(REQUEST)
    first = decode(decoder, raw)
    assert decode(decoder, raw) is first
    decode(decoder, library.encode(((b"new", b"entry"),)))
    assert decode(decoder, library.encode(REQUEST)) == first
    assert decode(decoder, raw) != first


def test_a_block_with_a_literal_is_the_same_tuple_when_it_comes_twice_in_a_row() -> None:
    decoder = Decoder(65_536)
    timed, other = b"\x00\x0cgrpc-timeout\x025S", b"\x00\x0cgrpc-timeout\x024S"
    first = decode(decoder, timed)
    assert decode(decoder, other) == ((b"grpc-timeout", b"4S"),)
    assert decode(decoder, timed) is not first
    second = decode(decoder, timed)
    assert decode(decoder, other) != second
    assert decode(decoder, timed) is second
    decode(decoder, LibraryEncoder().encode(((b"new", b"entry"),)))
    assert decode(decoder, timed) == second and decode(decoder, timed) is not second


def test_a_block_with_a_secret_is_not_kept() -> None:
    decoder = Decoder(65_536)
    secret = b"\x10\x05token\x01x"
    assert len({id(headers) for headers in [decode(decoder, secret) for _ in range(3)]}) == 3
    assert not decoder.blocks and not decoder._last


def test_an_entry_larger_than_the_table_empties_it() -> None:
    decoder = Decoder(65_536)
    decoder.decode(LibraryEncoder().encode(REQUEST))
    assert decode(decoder, b"\x40\x01a\x7f\xe1\x1f" + b"v" * 4192) == ((b"a", b"v" * 4192),)
    assert table(decoder) == [] and decoder._table_size == 0


def test_the_table_follows_size_updates_both_ways() -> None:
    decoder, library = Decoder(65_536), LibraryEncoder()
    for size in (4096, 100, 0, 300, 4096):
        library.header_table_size = size
        for n in range(5):
            headers = (*REQUEST, (b"n", b"%d" % n))
            assert decode(decoder, library.encode(headers)) == headers
            assert decoder._table_size <= size


NAMES = st.sampled_from([b":path", b"grpc-timeout", b"token", b"content-type", b"x", b"te"])
VALUES = st.sampled_from([b"", b"trailers", b"application/grpc"])
FIELDS = st.tuples(NAMES | st.binary(min_size=1, max_size=20), VALUES | st.binary(max_size=200))
BLOCKS = st.lists(
    st.tuples(st.lists(FIELDS, max_size=8), st.booleans(), st.sampled_from([None, None, 0, 90, 500])), max_size=12
)


@settings(max_examples=150, deadline=None, print_blob=True)
@given(BLOCKS)
def test_the_decoder_agrees_with_the_library(blocks: list[tuple[list[tuple[bytes, bytes]], bool, int | None]]) -> None:
    decoder, library = Decoder(1 << 20), LibraryEncoder()
    for headers, huffman, size in blocks:
        if size is not None:
            library.header_table_size = size
        assert decode(decoder, library.encode(headers, huffman=huffman)) == tuple(headers)
        assert table(decoder) == list(library.header_table.dynamic_entries)


@settings(max_examples=150, deadline=None, print_blob=True)
@given(BLOCKS)
def test_the_library_understands_the_encoder(blocks: list[tuple[list[tuple[bytes, bytes]], bool, int | None]]) -> None:
    encoder, library = Encoder(), LibraryDecoder(1 << 20)
    for headers, _, size in blocks:
        if size is not None:
            encoder.resize(size)
        kept = tuple(headers)
        for _ in range(3):
            assert tuple(library.decode(encoder.encode(kept), raw=True)) == kept


# -- the encoder -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [REQUEST, RESPONSE, TRAILERS])
def test_the_second_use_of_a_tuple_is_all_indexed_and_the_third_is_kept(headers: Headers) -> None:
    encoder = Encoder()
    assert len(encoder.encode(headers)) > len(headers)
    second = encoder.encode(headers)
    assert len(second) == len(headers) and all(octet & 0x80 for octet in second)
    assert encoder.encode(headers) is second


def test_an_equal_tuple_is_all_indexed_too() -> None:
    encoder = Encoder()
    encoder.encode(REQUEST)
    assert len(encoder.encode((*REQUEST,))) == len(REQUEST)


def test_kept_blocks_follow_the_table() -> None:
    encoder, library = Encoder(), LibraryDecoder()
    for headers in (RESPONSE, TRAILERS, RESPONSE, RESPONSE, ((b"grpc-status", b"5"),), RESPONSE, TRAILERS, TRAILERS):
        assert tuple(library.decode(encoder.encode(headers), raw=True)) == headers


def test_a_value_that_changes_with_every_call_leaves_the_rest_indexed() -> None:
    encoder, library = Encoder(), LibraryDecoder()
    for n in range(300):
        headers = (*REQUEST, (b"grpc-timeout", b"%du" % n), (b"token", b"secret.%d" % n))
        raw = encoder.encode(headers)
        decoded = list(library.decode(raw, raw=True))
        assert tuple(decoded) == headers
        assert decoded[-1].indexable is False, "a secret is never indexed on the way"
        if n:
            assert raw[: len(REQUEST)] == encoder.encode(REQUEST)
    assert len(library.header_table.dynamic_entries) == 4


def test_the_table_takes_a_bounded_number_of_values_and_never_evicts() -> None:
    encoder, library = Encoder(), LibraryDecoder()
    first = ((b"first", b"1"),)
    library.decode(encoder.encode(first))
    for n in range(500):
        library.decode(encoder.encode(((b":path", b"/%d" % n), (b"other", b"%d" % n), (b"name-%d" % n, b""))))
    names = [name for name, _ in library.header_table.dynamic_entries]
    assert names.count(b":path") <= INDEXED_PATHS and names.count(b"other") == INDEXED_VALUES
    assert encoder._size == library.header_table._current_size <= ENCODER_TABLE_SIZE
    again = encoder.encode(first)
    assert again[0] & 0x80 and tuple(library.decode(again, raw=True)) == first


def test_a_long_value_takes_no_place() -> None:
    encoder = Encoder()
    encoder.encode(((b"x", b"v" * 600),))
    assert encoder._size == 0


def test_the_peers_table_size_is_respected() -> None:
    encoder, library = Encoder(), LibraryDecoder()
    library.decode(encoder.encode(REQUEST))
    encoder.resize(100)
    library.max_allowed_table_size = 100
    for _ in range(3):
        assert tuple(library.decode(encoder.encode(REQUEST), raw=True)) == REQUEST
        assert library.header_table._current_size <= 100
    encoder.resize(0)
    library.max_allowed_table_size = 0
    assert tuple(library.decode(encoder.encode(REQUEST), raw=True)) == REQUEST
    assert not library.header_table.dynamic_entries
    encoder.resize(1 << 30)
    library.max_allowed_table_size = 1 << 30
    for _ in range(2):
        assert tuple(library.decode(encoder.encode(REQUEST), raw=True)) == REQUEST
    assert library.header_table.maxsize == ENCODER_TABLE_SIZE


def test_kept_tuples_are_bounded() -> None:
    encoder = Encoder()
    for _ in range(3000):
        encoder.encode((*REQUEST,))
    assert len(encoder.blocks) <= 256


# -- well-formed lists -----------------------------------------------------------------------------------------------


def kind(*fields: tuple[bytes, bytes]) -> int:
    found = Decoder(65_536).decode(block(fields))
    assert found is not None
    return found.kind


POST = (b":method", b"POST")
PATH = (b":path", b"/p")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((POST, HTTP, PATH), REQUEST_KIND),
        ((PATH, HTTP, EXAMPLE, POST, (b"a", b"b")), REQUEST_KIND),
        (((b":method", b"CONNECT"), EXAMPLE), REQUEST_KIND),
        (((b":status", b"200"),), RESPONSE_KIND),
        (((b":status", b"103"), (b"a", b"b")), INTERIM),
        (((b"a", b""), (b"b", b"c")), TRAILERS_KIND),
        ((), TRAILERS_KIND),
        (((b"content-length", b"3"), (b"content-length", b"3")), TRAILERS_KIND),
        # §8.3.1: something is missing, empty or double
        ((HTTP, PATH), MALFORMED),
        ((POST, PATH), MALFORMED),
        ((POST, HTTP), MALFORMED),
        ((POST, HTTP, (b":path", b"")), MALFORMED),
        (((b":method", b""), HTTP, PATH), MALFORMED),
        ((POST, POST, HTTP, PATH), MALFORMED),
        ((POST, HTTP, PATH, EXAMPLE, EXAMPLE), MALFORMED),
        (((b":method", b"CONNECT"), EXAMPLE, HTTP, PATH), MALFORMED),
        (((b":method", b"CONNECT"),), MALFORMED),
        # §8.3: order, unknown ones, both directions mixed
        ((POST, HTTP, (b"a", b"b"), PATH), MALFORMED),
        ((POST, HTTP, PATH, (b":proto", b"x")), MALFORMED),
        ((POST, HTTP, PATH, (b":status", b"200")), MALFORMED),
        (((b"a", b"b"), (b":status", b"200")), MALFORMED),
        # §8.1.1
        (((b"content-length", b"3"), (b"content-length", b"4")), MALFORMED),
        (((b"content-length", b"-3"),), MALFORMED),
        (((b"content-length", b""),), MALFORMED),
    ],
)
def test_a_block_is_what_its_fields_make_it(fields: Headers, expected: int) -> None:
    assert kind(*fields) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # §8.2.1: names
        (b"", b"x"),
        (b"Upper", b"x"),
        (b"sp ace", b"x"),
        (b"col:on", b"x"),
        (b"nul\0", b"x"),
        (b"del\x7f", b"x"),
        (b"h\xc3\xa9", b"x"),
        (b"new\n", b"x"),
        # §8.2.1: values
        (b"a", b"nul\0"),
        (b"a", b"c\rr"),
        (b"a", b"l\nf"),
        (b"a", b" x"),
        (b"a", b"x "),
        (b"a", b"\tx"),
        (b"a", b"x\t"),
        (b"a", b"x\n"),
        # §8.2.2
        (b"connection", b"close"),
        (b"proxy-connection", b"close"),
        (b"keep-alive", b"1"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"h2c"),
        (b"te", b"gzip"),
        (b"te", b"trailers, gzip"),
        (b":method", b"PO ST"),
        (b":", b"x"),
    ],
)
def test_a_bad_field_makes_its_request_malformed(name: bytes, value: bytes) -> None:
    assert verdict(name, value) == BAD
    machine = server()
    assert machine.receive(frame(HEADERS, END_HEADERS, 1, block((*REQUEST, (name, value))))) == []
    assert refused_with(machine, 1, ErrorCode.PROTOCOL_ERROR)


@pytest.mark.parametrize("value", [b"", b"a b", b"\xff\xfe", b"a\tb", b"~!@#"])
def test_values_are_otherwise_free(value: bytes) -> None:
    headers = (*REQUEST, (b"x-_.~!#$%&'*+^`|09", value))
    events = server().receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, block(headers)))
    assert events == [HeadersReceived(1, headers, True)]


def test_a_bad_field_from_the_table_is_bad_each_time() -> None:
    machine, library = server(), LibraryEncoder()
    for stream_id in (1, 3, 5):
        raw = library.encode((*REQUEST, (b"Bad", b"name")))
        assert machine.receive(frame(HEADERS, END_HEADERS, stream_id, raw)) == []
        assert refused_with(machine, stream_id, ErrorCode.PROTOCOL_ERROR)


def test_a_request_without_a_body_that_announces_one_is_malformed() -> None:
    machine = server()
    raw = block((*REQUEST, (b"content-length", b"3")))
    assert machine.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, raw)) == []
    assert refused_with(machine, 1, ErrorCode.PROTOCOL_ERROR)
