"""JSON to messages and back: names, numbers, bytes, enums, what is absent, and how what does not fit is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.api.pb import kv_pb2, rpc_pb2
from quorate.etcdhttp.gateway.decode import read_message
from quorate.etcdhttp.gateway.encode import write_message
from quorate.etcdhttp.gateway.routes import ROUTES
from quorate.etcdhttp.gateway.syntax import BodyError, ValueSplitter

Range = rpc_pb2.RangeRequest

READ: list[tuple[str, dict[str, Any]]] = [
    ("", {}),
    (" \n", {}),
    ("null", {}),
    ("{}garbage", {}),
    ('{"range_end":"Zm9w"}', {"range_end": b"fop"}),
    ('{"rangeEnd":"Zm9w"}', {"range_end": b"fop"}),
    ('{"key":"+/8="}', {"key": b"\xfb\xff"}),
    ('{"key":"-_8="}', {"key": b"\xfb\xff"}),
    ('{"key":"-_8"}', {"key": b"\xfb\xff"}),
    ('{"key":"YW\\nJj\\r"}', {"key": b"abc"}),
    ('{"key":null,"limit":null}', {}),
    ('{"limit":7}', {"limit": 7}),
    ('{"limit":"7"}', {"limit": 7}),
    ('{"limit":1e2}', {"limit": 100}),
    ('{"limit":"1.50e1"}', {"limit": 15}),
    ('{"limit":0e999999999}', {"limit": 0}),
    ('{"limit":-9223372036854775808}', {"limit": -(1 << 63)}),
    ('{"sort_order":"DESCEND"}', {"sort_order": 2}),
    ('{"sortOrder":2}', {"sort_order": 2}),
    ('{"sort_order":99}', {"sort_order": 99}),
    ('{"sort_order":"NO_SUCH"}', {}),
    ('{"keysOnly":true,"count_only":false}', {"keys_only": True}),
    ('{"nobody":{"knows":[1,{}]},"nobody":1,"limit":1}', {"limit": 1}),
]


@pytest.mark.parametrize(("text", "fields"), READ, ids=[text for text, _ in READ])
def test_a_request_is_read_by_the_rules_of_the_json_mapping(text: str, fields: dict[str, Any]) -> None:
    assert read_message(Range, text) == Range(**fields)


REFUSED = [
    ("{bad json", "invalid character 'b' looking for beginning of object key string"),
    ('{"key":', "unexpected EOF"),
    ('{"key" 1}', "invalid character '1' after object key"),
    ('{"a":1 2}', "invalid character '2' after object key:value pair"),
    ('{"a":[1 2]}', "invalid character '2' after array element"),
    ('{"key":tru}', "invalid character '}' in literal true (expecting 'e')"),
    ('{"key":"\\uZZ"}', "invalid character 'Z' in \\u hexadecimal character escape"),
    ('{"key":"\\x"}', "invalid character 'x' in string escape code"),
    ('{"key":"\n"}', "invalid character '\\n' in string literal"),
    ('{"limit":NaN}', "invalid character 'N' looking for beginning of value"),
    ('{"limit":01}', "invalid character '1' after object key:value pair"),
    ('{"limit":-}', "invalid character '}' in numeric literal"),
    ('{"limit":1.}', "invalid character '}' after decimal point in numeric literal"),
    ('{"limit":1e}', "invalid character '}' in exponent of numeric literal"),
    ("[" * 100_000, "exceeded max depth"),
    ("[]", "proto: syntax error (line 1:1): unexpected token ["),
    ('"a"', 'proto: syntax error (line 1:1): unexpected token "a"'),
    ('{"key":"not base64!"}', 'proto: (line 1:8): invalid value for bytes field key: "not base64!"'),
    ('{"key":"-/8="}', 'proto: (line 1:8): invalid value for bytes field key: "-/8="'),
    ('{"key":"YQ="}', 'proto: (line 1:8): invalid value for bytes field key: "YQ="'),
    ('{"key":"a"}', 'proto: (line 1:8): invalid value for bytes field key: "a"'),
    ('{"key":123}', "proto: (line 1:8): invalid value for bytes field key: 123"),
    ('{"key":[1]}', "proto: (line 1:8): invalid value for bytes field key: ["),
    ('{"key":"Zm9v","revision":"abc"}', 'proto: (line 1:26): invalid value for int64 field revision: "abc"'),
    ('{"limit":1.5}', "proto: (line 1:10): invalid value for int64 field limit: 1.5"),
    ('{"limit":1e999999999}', "proto: (line 1:10): invalid value for int64 field limit: 1e999999999"),
    ('{"limit":9223372036854775808}', "proto: (line 1:10): invalid value for int64 field limit: 9223372036854775808"),
    ('{"limit":" 1"}', 'proto: (line 1:10): invalid value for int64 field limit: " 1"'),
    ('{"key":"Zm9v","keysOnly":"true"}', 'proto: (line 1:26): invalid value for bool field keysOnly: "true"'),
    ('{"key":"YQ==","key":"YQ=="}', 'proto: (line 1:15): duplicate field "key"'),
    ('{"keys_only":true,\n  "keysOnly":true}', 'proto: (line 2:3): duplicate field "keysOnly"'),
]


@pytest.mark.parametrize(("text", "complaint"), REFUSED, ids=[text[:30] for text, _ in REFUSED])
def test_what_does_not_fit_is_told_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(BodyError) as caught:
        read_message(Range, text)
    assert str(caught.value) == complaint


NESTED = [
    (
        '{"compare":[{"target":"VALUE"}],\n "success":[{"requestPut":{}},{"request_put":{"key":5}}]}',
        "proto: (line 2:53): invalid value for bytes field key: 5",
    ),
    ('{"success":{}}', "proto: syntax error (line 1:12): unexpected token {"),
    ('{"success":[null]}', "proto: syntax error (line 1:13): unexpected token null"),
    (
        '{"success":[{"requestPut":{},"request_range":{}}]}',
        'proto: (line 1:30): error parsing "request_range", oneof etcdserverpb.RequestOp.request is already set',
    ),
    ('{"success":[{"requestTxn":' * 400 + "{}" + "}]}" * 400, "exceeded max depth"),
]


@pytest.mark.parametrize(("text", "complaint"), NESTED, ids=[text[:30] for text, _ in NESTED])
def test_the_place_inside_other_messages_is_told(text: str, complaint: str) -> None:
    with pytest.raises(BodyError) as caught:
        read_message(rpc_pb2.TxnRequest, text)
    assert str(caught.value) == complaint


def test_zero_values_are_left_out_and_present_messages_are_not() -> None:
    status = rpc_pb2.StatusResponse(
        header=rpc_pb2.ResponseHeader(revision=5), leader=1 << 63, isLearner=False, downgradeInfo={}, errors=["a<&>é"]
    )
    assert json.loads(write_message(status)) == {
        "header": {"revision": "5"},
        "leader": str(1 << 63),
        "errors": ["a<&>é"],
        "downgradeInfo": {},
    }
    assert b"a<&>\xc3\xa9" in write_message(status)


def test_enums_are_names_and_a_number_where_there_is_none() -> None:
    event = kv_pb2.Event(type=kv_pb2.Event.DELETE, kv=kv_pb2.KeyValue(key=b"\x00\xff"))
    assert write_message(event) == b'{"type":"DELETE","kv":{"key":"AP8="}}'
    assert write_message(Range(sort_order=9)) == b'{"sort_order":9}'  # type: ignore[arg-type]


bytes_, words = st.binary(max_size=20), st.integers(-(1 << 63), (1 << 63) - 1)
puts = st.builds(rpc_pb2.PutRequest, key=bytes_, value=bytes_, lease=words, prev_kv=st.booleans())
ranges = st.builds(
    Range, key=bytes_, range_end=bytes_, limit=words, sort_order=st.sampled_from([0, 1, 2]), keys_only=st.booleans()
)
ops = st.one_of(st.builds(rpc_pb2.RequestOp, request_put=puts), st.builds(rpc_pb2.RequestOp, request_range=ranges))
compares = st.builds(rpc_pb2.Compare, result=st.sampled_from([0, 1, 2, 3]), target=st.just(3), key=bytes_, value=bytes_)
txns = st.builds(
    rpc_pb2.TxnRequest, compare=st.lists(compares, max_size=3), success=st.lists(ops, max_size=3), failure=st.lists(ops)
)


@given(txns)
@settings(max_examples=100, deadline=None)
def test_messages_survive_the_way_there_and_back_and_protobufs_own_mapping_agrees(txn: rpc_pb2.TxnRequest) -> None:
    text = write_message(txn).decode()
    assert read_message(rpc_pb2.TxnRequest, text) == txn
    assert json_format.Parse(text, rpc_pb2.TxnRequest()) == txn
    assert json.loads(text) == json_format.MessageToDict(txn, preserving_proto_field_name=True)
    assert read_message(rpc_pb2.TxnRequest, json_format.MessageToJson(txn)) == txn


@given(st.lists(st.sampled_from(['{"a":"}{\\""}', "{}", '{"b":[{"c":"\\\\"}]}', " \n"])), st.integers(1, 7))
@settings(max_examples=100, deadline=None)
def test_the_objects_of_a_body_are_the_same_however_it_is_cut(parts: list[str], size: int) -> None:
    body = "".join(parts).encode()
    splitter = ValueSplitter(1000)
    found = []
    for start in range(0, len(body), size):
        splitter.feed(body[start : start + size])
        while (text := splitter.next()) is not None:
            found.append(text)
    splitter.end()
    assert found == [part for part in parts if part.strip()]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"[1", "proto: syntax error (line 1:1): unexpected token ["),
        (b"null", "proto: syntax error (line 1:1): unexpected token null"),
        (b"}", "invalid character '}' looking for beginning of value"),
        (b'{"a":', "unexpected EOF"),
        (b'{"a":"' + b"x" * 2000, "request of more than 1000 bytes"),
    ],
)
def test_what_is_no_object_among_the_objects_is_told(body: bytes, complaint: str) -> None:
    splitter = ValueSplitter(1000)
    with pytest.raises(BodyError) as caught:
        splitter.feed(body)
        assert splitter.next() is None
        splitter.end()
    assert str(caught.value) == complaint


@given(st.text(alphabet='{}[]",:\\u0127aetrn.-+ \n\ud800', max_size=30))
@settings(max_examples=500, deadline=None)
def test_any_text_is_a_message_or_a_complaint(text: str) -> None:
    for kind in (Range, rpc_pb2.TxnRequest):
        try:
            read_message(kind, text)
        except BodyError as error:
            assert str(error) != "invalid JSON"


def test_every_method_of_the_api_has_its_route_but_the_range_in_pieces() -> None:
    assert len(ROUTES) == 51
    assert "/etcdserverpb.KV/RangeStream" not in {route.method for route in ROUTES.values()}
