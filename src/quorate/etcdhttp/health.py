"""Is this member well? /health as of old, /livez and /readyz as Kubernetes asks.

    /health    alarms, then the leader, then a read; the first that is wrong is the reason
    /livez     would a restart help: a local read
    /readyz    may callers be sent here: no corruption, a local read, a read that all agree on, no learner

The checks of the two latter run each for itself; `/readyz/<check>` runs that one alone.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence

from quorate.api import errors
from quorate.api.pb import rpc_pb2
from quorate.apply import alarm_name
from quorate.etcdhttp.answers import NOSNIFF, TEXT, not_allowed, not_found, respond
from quorate.etcdhttp.metrics import Metrics
from quorate.pkg.jsonlog import get_log
from quorate.server import Server
from quorate.transport.web import HttpRequest, HttpResponse, text_response

log = get_log(__name__)

Check = Callable[[], Awaitable[str]]
"""Why something is wrong; empty when it is not."""


class Health:
    """Answers for one member; `metrics` counts the answers."""

    def __init__(self, server: Server, metrics: Metrics) -> None:
        self._server = server
        self._metrics = metrics
        reads: dict[str, Check] = {"serializable_read": self._read_here}
        self._checks: dict[str, dict[str, Check]] = {
            "livez": reads,
            "readyz": {
                "data_corruption": self._is_corrupt,
                **reads,
                "linearizable_read": self._read_agreed,
                "non_learner": self._is_learner,
            },
        }

    def knows(self, path: str) -> bool:
        """Whether `path` is one of these."""
        return path == "/health" or path[1:].partition("/")[0] in self._checks

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        kind, slash, name = request.path[1:].partition("/")
        if kind != "health" and slash and name not in self._checks[kind]:
            return not_found()
        if request.method != "GET":
            return not_allowed()
        if kind == "health":
            return await self._health(request)
        if slash:
            return await self._probe(kind, [name], request)
        excluded = request.query.get("exclude", [])
        if unknown := sorted(set(excluded) - self._checks[kind].keys()):
            log.warn("some health checks cannot be excluded", missing_health_checks=unknown)
        return await self._probe(kind, [name for name in self._checks[kind] if name not in excluded], request)

    # /health

    async def _health(self, request: HttpRequest) -> HttpResponse:
        """Alarms first, then the leader, then a read: as etcd looks."""
        excluded = set(request.query.get("exclude", ()))
        serializable = "true" in request.query.get("serializable", ())
        reason = self._alarm(excluded)
        if not reason and not serializable and not self._server.leader_id:
            reason = "RAFT NO LEADER"
        if not reason and (wrong := await (self._read_here() if serializable else self._read_agreed())):
            reason = f"RANGE ERROR:{wrong}"
        body = json.dumps({"health": "false" if reason else "true", "reason": reason}, separators=(",", ":"))
        if reason:
            self._metrics.unhealthy += 1
            log.warn("serving /health false", reason=reason)
            return text_response(503, body, [NOSNIFF])
        self._metrics.healthy += 1
        return respond(200, body)

    def _alarm(self, excluded: Iterable[str]) -> str:
        for _, kind in self._server.alarms.active():
            known = kind in rpc_pb2.AlarmType.values()
            if alarm_name(kind) not in excluded:
                return f"ALARM {alarm_name(kind) if known else 'UNKNOWN'}"
        return ""

    # /livez and /readyz

    async def _probe(self, kind: str, names: Sequence[str], request: HttpRequest) -> HttpResponse:
        lines = ""
        well = True
        for name in names:
            wrong = await self._checks[kind][name]()
            lines += f"[-]{name} failed: {wrong}\n" if wrong else f"[+]{name} ok\n"
            well = well and not wrong
            self._metrics.checks[kind, name, "error" if wrong else "success"] += 1
            self._metrics.last_checks[kind, name] = not wrong
        plain = ("Content-Type", TEXT), NOSNIFF
        if well:
            return HttpResponse(200, plain, ((lines if "verbose" in request.query else "") + "ok\n").encode())
        log.warn("health check error", path=request.path, reason=lines, status_code=503)
        return HttpResponse(503, plain, lines.encode() + b"\n")

    # What is looked at.

    async def _read_here(self) -> str:
        self._server.store.range(b"\0", limit=1)
        return ""

    async def _read_agreed(self) -> str:
        try:
            await self._server.fresh()
        except errors.EtcdError as err:
            return str(err)
        return await self._read_here()

    async def _is_corrupt(self) -> str:
        return "alarm activated: CORRUPT" if self._server.alarms.has(rpc_pb2.CORRUPT) else ""

    async def _is_learner(self) -> str:
        own = self._server.cluster.member(self._server.member_id)
        return "not supported for learner" if own is not None and own.is_learner else ""
