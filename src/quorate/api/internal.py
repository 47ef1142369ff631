"""What a normal log entry carries: an InternalRaftRequest, of which one field says what is to be done.

Encoding does not build that message: a client's request arrives as bytes and is put into the log as the same bytes.
Members of 3.5 put some facts of their own into the log in an older form (`v2_request`); those come out as the request
that means the same.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from quorate.api.encode import varint
from quorate.api.pb import raft_internal_pb2
from quorate.api.v2_request import MAY_BE_V2, as_v3, find_v2

_FIELDS = raft_internal_pb2.InternalRaftRequest.DESCRIPTOR.fields
_TAGS = {field.name: varint(field.number << 3 | 2) for field in _FIELDS if field.message_type is not None}
_HEADER_TAG = _TAGS.pop("header")
_ID_TAG = b"\x08"
_USERNAME_TAG = b"\x12"
_REVISION_TAG = b"\x18"
_SPLIT_TAGS = {_TAGS[kind]: kind for kind in ("put", "txn")}
_ANY_ID = rb"(?:[\x80-\xff]{0,8}[\x00-\x7f]|[\x80-\xff]{9}\x01)\Z"
_ONLY_AN_ID = re.compile(re.escape(_HEADER_TAG) + b"." + re.escape(_ID_TAG) + _ANY_ID, re.DOTALL)


class Caller(NamedTuple):
    """Who asks, and at which revision of the auth store that was found out. Both are checked where the entry is
    applied."""

    name: str
    revision: int


NOBODY = Caller("", 0)
"""Who has shown no credentials; or nobody had to, while auth is off."""


class Request(NamedTuple):
    """A decoded entry. `kind` is the name of the field that is set; `request_id` says who waits for the result."""

    kind: str
    request: Any
    request_id: int
    caller: Caller = NOBODY


def encode_request(kind: str, body: bytes, request_id: int, caller: Caller = NOBODY) -> bytes:
    """Entry data for the serialized request `body` of `kind`, such as `put`."""
    header = _ID_TAG + varint(request_id)
    if caller is not NOBODY:
        header += _encode_caller(caller)
    return b"%b%b%b%b%b%b" % (_TAGS[kind], varint(len(body)), body, _HEADER_TAG, varint(len(header)), header)


def decode_request(data: bytes) -> Request:
    """The request in entry data. Raises DecodeError; ValueError when it asks for nothing this release has heard of."""
    if data[:1] in MAY_BE_V2 and (old := find_v2(data)) is not None:
        return Request(*as_v3(old))
    message = raft_internal_pb2.InternalRaftRequest.FromString(data)
    for field, value in message.ListFields():
        if field.name in _TAGS:
            header = message.header
            caller = (
                Caller(header.username, header.auth_revision) if header.username or header.auth_revision else NOBODY
            )
            return Request(field.name, value, header.ID or message.ID, caller)
    raise ValueError("a log entry holds a request of an unknown kind")


def split_request(data: bytes) -> tuple[str, bytes] | None:
    """Kind and serialized request of entry data that holds a put or a txn and an ID, and nothing else: nobody in
    particular has asked for it. None for all other data; what such a request is, is not looked at.

        22 or 2a <length> request a2 06 <length> 08 <ID>
    """
    size = len(data)
    kind = _SPLIT_TAGS.get(data[:1])
    if kind is None or size < 7:
        return None
    length, start = data[1], 2
    if length > 0x7F:
        if data[2] > 0x7F:
            return None
        length, start = length & 0x7F | data[2] << 7, 3
    end = start + length
    if not _ONLY_AN_ID.match(data, end) or data[end + 2] != size - end - 3:
        return None
    return kind, data[start:end]


def _encode_caller(caller: Caller) -> bytes:
    name = caller.name.encode()
    return b"%b%b%b%b" % (
        _USERNAME_TAG + varint(len(name)) if name else b"",
        name,
        _REVISION_TAG if caller.revision else b"",
        varint(caller.revision) if caller.revision else b"",
    )
