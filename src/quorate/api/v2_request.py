"""Requests of API v2 that members of 3.5 put into the log: their own name and client URLs, and the cluster version.

    entry data   a Request as it is                          08 <id> 12 03 "PUT" 1a …
              or an InternalRaftRequest with it as field 2    [08 <id>] 12 <size> 08 <id> 12 03 "PUT" 1a …

    PUT /0/members/<hex id>/attributes   {"name":…,"clientURLs":[…]}   means cluster_member_attr_set
    PUT /0/version                       3.5.0                         means cluster_version_set

A Request's field 2 is its method, in capital letters; no message begins like that, which tells the two forms apart.
Anything else of v2 would be somebody's data in a store that this release does not have: it is refused, and stops the
member, as it stops an etcd since 3.6. Source: etcd 3.5, from logs of running members.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from google.protobuf.message import Message

from quorate.api.pb import etcdserver_pb2, membership_pb2

MAY_BE_V2 = frozenset((b"\x08", b"\x12"))
"""First bytes of entry data that may hold a v2 request. A client's request, since 3.5, begins with another one."""

_METHOD_TAG = 0x12
_ATTRIBUTES = re.compile(r"/0/members/([0-9a-f]{1,16})/attributes")
_VERSION = "/0/version"


class V3Request(NamedTuple):
    """Kind, request and request ID, as `internal.decode_request` gives them."""

    kind: str
    request: Message
    request_id: int


def find_v2(data: bytes) -> bytes | None:
    """The serialized v2 Request in entry data, None when there is none."""
    at = 0
    if data[0] == 0x08:
        at = _skip_varint(data, 1)
    if at >= len(data) or data[at] != _METHOD_TAG:
        return None
    start = _skip_varint(data, at + 1)
    size = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(data[at + 1 : start]))
    content = data[start : start + size]
    return data if content.isalpha() and content.isupper() else content


def as_v3(data: bytes) -> V3Request:
    """What a serialized v2 Request means. Raises DecodeError; ValueError for what has no meaning any more."""
    request = etcdserver_pb2.Request.FromString(data)
    if request.Method == "PUT":
        if found := _ATTRIBUTES.fullmatch(request.Path):
            return V3Request("cluster_member_attr_set", _attributes(int(found[1], 16), request.Val), request.ID)
        if request.Path == _VERSION:
            version = membership_pb2.ClusterVersionSetRequest(ver=request.Val)
            return V3Request("cluster_version_set", version, request.ID)
    raise ValueError(f"a log entry holds a request of API v2, which is gone: {request.Method} {request.Path}")


def _attributes(member_id: int, text: str) -> Message:
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise ValueError(f"attributes of member {member_id:x} are no JSON object")
    attributes = membership_pb2.Attributes(name=fields.get("name") or "", client_urls=fields.get("clientURLs") or ())
    return membership_pb2.ClusterMemberAttrSetRequest(member_ID=member_id, member_attributes=attributes)


def _skip_varint(data: bytes, at: int) -> int:
    """Behind the varint at `at`, or the end of data that breaks off in it."""
    while at < len(data) and data[at] >= 0x80:
        at += 1
    return min(at + 1, len(data))
