"""What the proxy answers over HTTP: its own health and numbers under /proxy/, those of the members without.

GET /health          the cluster's: a linearizable read through the proxy
GET /metrics         those of a member
GET /proxy/health    the same read; the proxy without a cluster is of no use
GET /proxy/metrics   the proxy's own
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

from quorate.api import errors
from quorate.api.pb import rpc_pb2 as pb
from quorate.proxy.kv import RANGE
from quorate.proxy.upstream import Upstream
from quorate.transport.grpc import Status
from quorate.transport.http1_client import HttpClient, HttpError
from quorate.transport.tls import ClientTls
from quorate.transport.web import HttpRequest, HttpResponse, text_response

HEALTH_SECONDS = 5.0
METRICS_BYTES = 64 << 20
_TEXT = ("Content-Type", "text/plain; charset=utf-8")
_PROBE = pb.RangeRequest(key=b"a", keys_only=True).SerializeToString()


class Web:
    """An HttpHandler. `numbers` gives kind, name, help and value of each number of the proxy."""

    def __init__(
        self,
        upstream: Upstream,
        numbers: Callable[[], Iterator[tuple[str, str, str, float]]],
        tls: ClientTls | None,
    ) -> None:
        self._upstream = upstream
        self._numbers = numbers
        self._http = HttpClient(tls=tls, connect_timeout=HEALTH_SECONDS)

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        handlers = {
            "/health": self._health,
            "/proxy/health": self._health,
            "/metrics": self._member_metrics,
            "/proxy/metrics": self._own_metrics,
        }
        handle = handlers.get(request.path)
        if handle is None:
            return text_response(404, "404 page not found", [("X-Content-Type-Options", "nosniff")])
        if request.method not in ("GET", "HEAD"):
            return text_response(405, "Method Not Allowed", [("Allow", "GET")])
        return await handle()

    async def close(self) -> None:
        await self._http.close()

    async def _health(self) -> HttpResponse:
        """Refused for lack of permissions is as good as answered."""
        reason = ""
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                await self._upstream.unary(RANGE, _PROBE, (), reads=True)
        except TimeoutError:
            reason = "GET ERROR:context deadline exceeded"
        except Status as status:
            if status.message not in (errors.PermissionDenied.text, errors.UserEmpty.text):
                reason = f"GET ERROR:{status.message}"
        body = json.dumps({"health": "false" if reason else "true", "reason": reason}, separators=(",", ":"))
        return HttpResponse(503 if reason else 200, [_TEXT], body.encode())

    async def _member_metrics(self) -> HttpResponse:
        endpoints = [each for each in self._upstream.wire.endpoints if each.startswith("http")]
        for _ in endpoints:
            endpoint = str(self._upstream.wire.pick().endpoint)
            try:
                reply = await self._http.request(
                    "GET", f"{endpoint}/metrics", timeout=HEALTH_SECONDS, body_limit=METRICS_BYTES
                )
            except (OSError, HttpError, TimeoutError):
                continue
            kind = reply.header("content-type") or _TEXT[1]
            return HttpResponse(reply.status, [("Content-Type", kind)], reply.body)
        return text_response(500, "no member shows its metrics")

    async def _own_metrics(self) -> HttpResponse:
        # Here, for it brings the whole member with it, which doubles the time of a proxy's start.
        from quorate.etcdhttp.metrics.process import process_families
        from quorate.etcdhttp.metrics.text import CONTENT_TYPE, Family, render

        families = (Family(name, kind, text, (), [((), number)]) for kind, name, text, number in self._numbers())
        return HttpResponse(200, [("Content-Type", CONTENT_TYPE)], render((*families, *process_families())))


def caller_tls(ca: str, cert: str, key: str, insecure: bool) -> ClientTls:
    """How /metrics is asked for at https URLs. Raises TlsError."""
    from quorate.transport.tls import TlsSettings

    return ClientTls(TlsSettings(cert_file=cert, key_file=key, trusted_ca_file=ca, trust_all=insecure))
