"""The plain answers that the paths of all listeners share."""

from __future__ import annotations

import json

from quorate.server import Server
from quorate.transport.web import HttpResponse
from quorate.version import QUORATE_VERSION

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
NOSNIFF = ("X-Content-Type-Options", "nosniff")
"""Goes with what is no answer to the question, as Go's http.Error sends it."""


def version(server: Server) -> HttpResponse:
    """Versions of the member, its cluster and its storage, as etcd names them; then this package's own."""
    versions = {
        "etcdserver": server.config.release,
        "etcdcluster": server.cluster.version or "not_decided",
        "storage": server.storage_version or "unknown",
        "quorate": QUORATE_VERSION,
    }
    return respond(200, json.dumps(versions, separators=(",", ":")), JSON)


def respond(status: int, text: str, content_type: str = TEXT) -> HttpResponse:
    return HttpResponse(status, [("Content-Type", content_type)], text.encode())


def not_allowed(allow: str = "GET") -> HttpResponse:
    return HttpResponse(405, [("Content-Type", TEXT), ("Allow", allow), NOSNIFF], b"Method Not Allowed\n")


def not_found() -> HttpResponse:
    return HttpResponse(404, [("Content-Type", TEXT), NOSNIFF], b"404 page not found\n")
