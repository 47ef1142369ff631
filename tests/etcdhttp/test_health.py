"""/health, /livez and /readyz: exact answers in each state."""

from __future__ import annotations

from typing import Any

import pytest
from gateway_support import Web

from quorate.api import errors
from quorate.api.pb import rpc_pb2
from quorate.etcdhttp.health import Health
from quorate.etcdhttp.metrics import Metrics
from quorate.transport.web import HttpRequest

ALL_WELL = "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\n"


class Asked:
    """The checks of a running member, without the way there."""

    def __init__(self, web: Web) -> None:
        assert web.member.server is not None
        self.server = web.member.server
        self.metrics = Metrics(self.server, {})
        self._health = Health(self.server, self.metrics)

    async def __call__(self, target: str, method: str = "GET") -> tuple[int, str]:
        request = HttpRequest(method, target, [])
        assert self._health.knows(request.path)
        answer = await self._health(request)
        assert isinstance(answer.body, bytes)
        assert dict(answer.headers)["Content-Type"] == "text/plain; charset=utf-8"
        return answer.status, answer.body.decode()


@pytest.fixture
def ask(web: Web) -> Asked:
    return Asked(web)


async def test_a_member_that_is_well_says_so(ask: Asked) -> None:
    assert await ask("/health") == (200, '{"health":"true","reason":""}')
    for path in ("/livez", "/readyz", "/livez/serializable_read", "/readyz/linearizable_read", "/readyz/non_learner"):
        assert await ask(path) == (200, "ok\n")
    assert await ask("/livez?verbose") == (200, "[+]serializable_read ok\nok\n")
    assert await ask("/readyz?verbose=1") == (200, ALL_WELL + "ok\n")
    assert await ask("/readyz/data_corruption?verbose") == (200, "[+]data_corruption ok\nok\n")


async def test_checks_can_be_left_out_and_unknown_ones_do_not_matter(ask: Asked) -> None:
    left = "/readyz?verbose&exclude=linearizable_read&exclude=non_learner&exclude=nonsense"
    assert await ask(left) == (200, "[+]data_corruption ok\n[+]serializable_read ok\nok\n")
    assert await ask("/livez?verbose&exclude=serializable_read") == (200, "ok\n")


async def test_only_get_is_answered_and_only_known_checks_are_there(ask: Asked) -> None:
    for path in ("/health", "/livez", "/readyz/non_learner"):
        assert await ask(path, "POST") == (405, "Method Not Allowed\n")
    for path in ("/livez/linearizable_read", "/readyz/", "/readyz/nothing", "/livez/serializable_read/more"):
        assert await ask(path) == (404, "404 page not found\n")


async def test_an_alarm_makes_a_member_unhealthy_and_corruption_not_ready(ask: Asked) -> None:
    ask.server.alarms.on.add((1, rpc_pb2.NOSPACE))
    assert await ask("/health") == (503, '{"health":"false","reason":"ALARM NOSPACE"}\n')
    assert await ask("/health?exclude=NOSPACE") == (200, '{"health":"true","reason":""}')
    assert await ask("/readyz") == (200, "ok\n")
    ask.server.alarms.on.add((1, rpc_pb2.CORRUPT))
    assert await ask("/health?exclude=NOSPACE") == (503, '{"health":"false","reason":"ALARM CORRUPT"}\n')
    failed = ALL_WELL.replace("[+]data_corruption ok", "[-]data_corruption failed: alarm activated: CORRUPT")
    for path in ("/readyz", "/readyz?verbose"):
        assert await ask(path) == (503, failed + "\n")
    assert await ask("/livez") == (200, "ok\n")


async def test_without_a_leader_a_member_lives_and_is_not_ready(ask: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    async def in_vain() -> None:
        raise errors.Timeout()

    monkeypatch.setattr(ask.server, "fresh", in_vain)
    assert await ask("/health") == (503, '{"health":"false","reason":"RANGE ERROR:etcdserver: request timed out"}\n')
    monkeypatch.setattr(ask.server.leadership, "leader_id", 0)
    assert await ask("/health") == (503, '{"health":"false","reason":"RAFT NO LEADER"}\n')
    assert await ask("/health?serializable=true") == (200, '{"health":"true","reason":""}')
    assert await ask("/livez") == (200, "ok\n")
    failed = ALL_WELL.replace("[+]linearizable_read ok", "[-]linearizable_read failed: etcdserver: request timed out")
    assert await ask("/readyz") == (503, failed + "\n")
    assert await ask("/readyz?exclude=linearizable_read") == (200, "ok\n")


async def test_a_learner_lives_and_is_not_ready(ask: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    own = ask.server.cluster.member(ask.server.member_id)
    assert own is not None
    monkeypatch.setitem(ask.server.cluster._members, own.id, own._replace(is_learner=True))
    assert (await ask("/livez"))[0] == 200
    status, body = await ask("/readyz/non_learner")
    assert (status, body) == (503, "[-]non_learner failed: not supported for learner\n\n")


async def test_answers_and_checks_are_counted(ask: Asked) -> None:
    await ask("/health")
    await ask("/livez")
    ask.server.alarms.on.add((1, rpc_pb2.CORRUPT))
    await ask("/health")
    await ask("/readyz?exclude=linearizable_read")
    lines = ask.metrics.page().decode().splitlines()
    for line in (
        "etcd_server_health_success 1",
        "etcd_server_health_failures 1",
        'etcd_server_healthcheck{name="serializable_read",type="livez"} 1',
        'etcd_server_healthcheck{name="data_corruption",type="readyz"} 0',
        'etcd_server_healthchecks_total{name="data_corruption",status="error",type="readyz"} 1',
        'etcd_server_healthchecks_total{name="serializable_read",status="success",type="readyz"} 1',
    ):
        assert line in lines
    assert not any("linearizable_read" in line for line in lines)


async def test_the_paths_are_answered_over_http(web: Web) -> None:
    answers: dict[str, Any] = {}
    for path in ("/readyz?verbose", "/livez", "/health"):
        asked = await web.send(path, b"", method="GET")
        await asked.read_head()
        answers[path] = asked.status, (await asked.whole()).decode()
    assert answers["/readyz?verbose"] == (200, ALL_WELL + "ok\n")
    assert answers["/livez"] == (200, "ok\n")
    assert answers["/health"] == (200, '{"health":"true","reason":""}')
