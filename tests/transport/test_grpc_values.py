"""Status, metadata, time-outs and framing as bytes."""

from __future__ import annotations

import gzip
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.transport.grpc.framing import MessageReader, frame, frame_gzip, gunzip
from quorate.transport.grpc.metadata import Metadata, decode_binary, decode_timeout, encode_metadata, encode_timeout
from quorate.transport.grpc.status import Status, percent_decode, percent_encode, status_of_trailers, trailers_of


@given(st.text())
def test_a_message_survives_percent_encoding(text: str) -> None:
    encoded = percent_encode(text)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert percent_decode(encoded) == text.encode("utf-8", "replace").decode()


def test_percent_encoding_is_written_as_the_protocol_says() -> None:
    assert percent_encode("etcdserver: no leader") == b"etcdserver: no leader"
    assert percent_encode("100 %\nä") == b"100 %25%0A%C3%A4"


@pytest.mark.parametrize(("wire", "text"), [(b"50% of", "50% of"), (b"%zz%4", "%zz%4"), (b"%C3", "\ufffd"), (b"", "")])
def test_broken_escapes_do_not_hide_the_message(wire: bytes, text: str) -> None:
    assert percent_decode(wire) == text


def test_trailers_carry_code_and_text_both_ways() -> None:
    assert trailers_of(0, "") == ((b"grpc-status", b"0"),)
    assert status_of_trailers(trailers_of(14, "etcdserver: no leader")) == (14, "etcdserver: no leader")
    assert status_of_trailers(((b"grpc-status", b"x"),)) == (2, "")
    assert status_of_trailers(((b":status", b"200"),)) is None


def test_the_same_status_is_the_same_block() -> None:
    assert trailers_of(3, "etcdserver: key is not provided") is trailers_of(3, "etcdserver: key is not provided")


def test_an_unknown_code_number_is_unknown() -> None:
    assert Status(99, "?").code == 2


@given(st.binary())
def test_binary_metadata_comes_back_with_and_without_padding(value: bytes) -> None:
    (pair,) = encode_metadata([("blob-bin", value)])
    assert pair[0] == b"blob-bin"
    assert not pair[1].endswith(b"=")
    assert decode_binary(pair[1]) == value
    assert decode_binary(pair[1] + b"=" * (-len(pair[1]) % 4)) == value


@pytest.mark.parametrize("value", [b"a", b"####", b"a b="])
def test_binary_metadata_that_is_not_base64_is_an_error(value: bytes) -> None:
    with pytest.raises(ValueError, match="malformed binary metadata"):
        decode_binary(value)


def test_metadata_is_what_is_neither_http_nor_grpc() -> None:
    metadata = Metadata.of_headers(
        (
            (b":path", b"/x"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"grpc-timeout", b"1S"),
            (b"token", b"abc"),
            (b"many", b"1"),
            (b"many", b"2"),
            (b"blob-bin", b"AAE,Ag=="),
        )
    )
    assert metadata.get("token") == "abc"
    assert metadata.get("absent") is None
    assert metadata.get_all("many") == ["1", "2"]
    assert metadata.get_all("blob-bin") == [b"\0\1", b"\2"]
    assert metadata.get_bytes("blob-bin") == b"\0\1"
    assert [key for key, _ in metadata] == ["token", "many", "many", "blob-bin", "blob-bin"]
    assert "abc" not in repr(metadata)


def test_metadata_that_is_not_utf8_is_kept_for_those_who_check() -> None:
    value = Metadata.of_headers(((b"client-api-version", b"\xff3"),)).get("client-api-version")
    assert value is not None
    with pytest.raises(UnicodeEncodeError):
        value.encode()


@pytest.mark.parametrize("pair", [("", "x"), ("a b", "x"), ("grpc-x", "x"), ("ä", "x"), ("key", "line\nbreak")])
def test_metadata_that_headers_cannot_carry_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="invalid metadata"):
        encode_metadata([pair])


@pytest.mark.parametrize(
    ("wire", "seconds"),
    [(b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"40m", 0.04), (b"5u", 5e-6), (b"99999999n", 0.099999999), (b"0n", 0)],
)
def test_timeouts_are_read_in_every_unit(wire: bytes, seconds: float) -> None:
    assert math.isclose(decode_timeout(wire), seconds)


@pytest.mark.parametrize("wire", [b"", b"S", b"1", b"1x", b"-1S", b"123456789S", b"1.5S"])
def test_malformed_timeouts_are_errors(wire: bytes) -> None:
    with pytest.raises(ValueError, match="malformed grpc-timeout"):
        decode_timeout(wire)


@given(st.floats(min_value=1e-9, max_value=3.5e11))
def test_a_timeout_is_never_shortened_on_the_wire(seconds: float) -> None:
    wire = encode_timeout(seconds)
    assert len(wire) <= 9
    assert decode_timeout(wire) >= seconds * (1 - 1e-12)
    assert decode_timeout(wire) <= max(seconds * 1.0001, seconds + 1e-9)


def test_a_timeout_that_is_over_is_zero() -> None:
    assert encode_timeout(-1.0) == b"0n"


@given(st.lists(st.binary(max_size=50)), st.integers(min_value=1, max_value=7))
def test_messages_come_out_however_the_bytes_are_cut(messages: list[bytes], size: int) -> None:
    stream = b"".join(frame(message) for message in messages)
    reader = MessageReader(50)
    out: list[bytes] = []
    for start in range(0, len(stream), size):
        out += reader.feed(stream[start : start + size])
    reader.finish()
    assert out == messages


def test_compressed_messages_come_out_plain() -> None:
    reader = MessageReader(5000, "gzip")
    assert reader.feed(frame_gzip(b"a" * 5000) + frame_gzip(b"") + frame(b"plain")) == [b"a" * 5000, b"", b"plain"]


def refusal(reader: MessageReader, data: bytes) -> str:
    with pytest.raises(Status) as caught:
        reader.feed(data)
    return str(caught.value)


def test_a_message_above_the_limit_is_refused_by_its_prefix() -> None:
    text = refusal(MessageReader(2_097_152), b"\0" + (2_097_153).to_bytes(4, "big"))
    assert text == "RESOURCE_EXHAUSTED: grpc: received message larger than max (2097153 vs. 2097152)"


def test_a_small_message_that_unpacks_to_a_large_one_is_refused() -> None:
    bomb = gzip.compress(bytes(10_000_000))
    text = refusal(MessageReader(100_000, "gzip"), b"\1" + len(bomb).to_bytes(4, "big") + bomb)
    assert text == "RESOURCE_EXHAUSTED: grpc: received message after decompression larger than max 100000"


def test_a_gzip_file_of_several_members_is_one_message() -> None:
    assert gunzip(gzip.compress(b"ab") + gzip.compress(b"cd"), 4) == b"abcd"


@pytest.mark.parametrize("packed", [b"nonsense", gzip.compress(b"hello")[:-3]], ids=["no gzip", "cut off"])
def test_broken_gzip_is_an_internal_error(packed: bytes) -> None:
    data = b"\1" + len(packed).to_bytes(4, "big") + packed
    text = refusal(MessageReader(1000, "gzip"), data)
    assert text.startswith("INTERNAL: grpc: failed to decompress the received message: ")


def test_the_compressed_flag_needs_an_encoding() -> None:
    text = "INTERNAL: grpc: compressed flag set with identity or empty encoding"
    assert refusal(MessageReader(10), b"\1\0\0\0\1x") == text
    assert refusal(MessageReader(10, "identity"), b"\1\0\0\0\1x") == text


def test_an_unknown_flag_is_an_error() -> None:
    assert refusal(MessageReader(10), b"\2\0\0\0\1x") == "INTERNAL: grpc: received unexpected payload format 2"


def test_bytes_that_end_inside_a_message_are_an_error() -> None:
    reader = MessageReader(10)
    assert reader.feed(frame(b"whole") + b"\0\0\0") == [b"whole"]
    with pytest.raises(Status, match="INTERNAL: unexpected EOF"):
        reader.finish()
