"""Who may ask on the client listeners over HTTP, as far as browsers and name tricks go: origins and host names.

A page of another origin may read answers only if `Access-Control-Allow-Origin` says so (WHATWG Fetch, "CORS protocol").
A page whose own name is made to point here (DNS rebinding, CVE-2018-5702) is of the same origin; only the Host header
gives it away.
"""

from __future__ import annotations

from collections.abc import Sequence

from quorate.pkg.urls import ANY
from quorate.transport.web import Fields, HttpHandler, HttpRequest, HttpResponse, text_response

_METHODS = "POST, GET, OPTIONS, PUT, DELETE"
_HEADERS = "accept, content-type, authorization"

_STRANGE_HOST = """\
This member does not answer to the host name {host!r}.

A web page can have its own name point to this address (CVE-2018-5702), so over plain HTTP only expected names are
answered. Use TLS, or start the member with --host-whitelist={host} among the names it lists.
"""


class AccessControl:
    """A handler around another one. `origins` and `hosts` are lists of what is allowed, or hold ANY."""

    def __init__(self, handler: HttpHandler, origins: Sequence[str], hosts: Sequence[str]) -> None:
        self._handler = handler
        self._origins = frozenset(origins)
        self._hosts = frozenset(hosts)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        if not self._knows_host(request):
            host = _host_of(request)
            return text_response(421, _STRANGE_HOST.format(host=host))
        allowed = self._cors(request)
        response = HttpResponse() if request.method == "OPTIONS" else await self._handler(request)
        response.headers = [*allowed, *response.headers]
        return response

    def _knows_host(self, request: HttpRequest) -> bool:
        if ANY in self._hosts or request.extra("sslcontext") is not None:
            return True
        return _host_of(request) in self._hosts

    def _cors(self, request: HttpRequest) -> Fields:
        if ANY in self._origins:
            origin = ANY
        else:
            origin = request.header("origin") or ""
            if origin not in self._origins:
                return ()
        return (
            ("Access-Control-Allow-Headers", _HEADERS),
            ("Access-Control-Allow-Methods", _METHODS),
            ("Access-Control-Allow-Origin", origin),
        )


def _host_of(request: HttpRequest) -> str:
    """The host a request names, without its port."""
    host = request.header("host") or ""
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit():
        host = name
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
    return host
