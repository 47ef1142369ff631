"""Errors as the gateway tells them: an HTTP status and a JSON object.

The object has what readers of etcd 3.6 and newer look for, `code` and `message`, and what those of 3.5 look for as
well: `error`, and in streams `grpc_code` and `http_code`.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from quorate.api.errors import Code
from quorate.etcdhttp.gateway.encode import write_json
from quorate.transport.grpc import Status
from quorate.transport.grpc.status import status_of
from quorate.transport.web import Fields, HttpResponse

JSON: Fields = (("Content-Type", "application/json"),)

CLIENT_CLOSED_REQUEST = 499
"""Known to proxies, not to HTTP: the caller gave up."""

_HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELLED: CLIENT_CLOSED_REQUEST,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())


def http_status(code: Code) -> int:
    """The HTTP status of a gRPC code."""
    return _HTTP_STATUS[code]


def to_status(error: BaseException, path: str) -> Status:
    """The status of whatever a handler raised; of what nobody foresaw the log hears more than the caller."""
    known = status_of(error)
    if known is not None:
        return Status(*known)
    _log.error("handler of %s failed", path, exc_info=error)
    return Status(Code.INTERNAL, "internal error")


def refusal(status: Status) -> HttpResponse:
    """The answer to a unary call that failed."""
    body = {"error": status.message, "code": int(status.code), "message": status.message}
    return HttpResponse(http_status(status.code), JSON, write_json(body))


def stream_error(status: Status) -> dict[str, Any]:
    """The object that ends a stream that failed."""
    number = http_status(status.code)
    reason = HTTPStatus(number).phrase if number != CLIENT_CLOSED_REQUEST else "Client Closed Request"
    told = {
        "code": int(status.code),
        "message": status.message,
        "grpc_code": int(status.code),
        "http_code": number,
        "http_status": reason,
    }
    return {"error": told}
