"""`/members/hashkv` on the peer listeners: the hash of this member's store, for the leader's corruption checks."""

from __future__ import annotations

import json
from typing import Any

from quorate.api import errors
from quorate.server import Server
from quorate.server.peer_calls import CLUSTER_ID_HEADER, CLUSTER_ID_MISMATCH, JSON
from quorate.transport.web import HttpRequest, HttpResponse, text_response

INT64 = range(-(1 << 63), 1 << 63)


async def handle_hash(server: Server, request: HttpRequest) -> HttpResponse:
    """Answer a GET whose body is `{"revision":7}`; 0 is the revision of now."""
    if request.method != "GET":
        return text_response(405, "Method Not Allowed", [("Allow", "GET")])
    cluster_id = f"{server.cluster_id:x}"
    if request.header(CLUSTER_ID_HEADER.lower()) not in (None, "", cluster_id):
        return text_response(412, CLUSTER_ID_MISMATCH)
    try:
        revision = _revision(json.loads(request.body))
    except (ValueError, RecursionError):
        return text_response(400, "error unmarshalling request")
    try:
        found = await server.hash_kv(revision)
    except (errors.Compacted, errors.FutureRevision) as err:
        return text_response(400, err.text.removeprefix("etcdserver: "))
    answer = {
        "header": {"revision": server.store.revision},
        "hash": found.hash,
        "compact_revision": found.compact_revision,
        "hash_revision": found.revision,
    }
    body = json.dumps({name: value for name, value in answer.items() if value}, separators=(",", ":"))
    return HttpResponse(200, [(CLUSTER_ID_HEADER, cluster_id), ("Content-Type", JSON)], body.encode())


def _revision(asked: Any) -> int:
    """Member names are matched whatever their case, `null` is as good as nothing. Raises ValueError."""
    if asked is None:
        return 0
    if not isinstance(asked, dict):
        raise ValueError("no object")
    revision = 0
    for name, value in asked.items():
        if name.lower() == "revision" and value is not None:
            if type(value) is not int or value not in INT64:
                raise ValueError("no revision")
            revision = value
    return revision
