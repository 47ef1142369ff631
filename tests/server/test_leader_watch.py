"""Calls that require a leader end after three looks without one, and what timed-out requests are told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from quorate.api import errors
from quorate.server.leader_watch import MAX_MISSES, LeaderWatch
from quorate.server.timeouts import timeout_error
from quorate.storage.schema import MemberRecord

ELECTION = 1.0


async def make_watch(leader_id: int) -> tuple[LeaderWatch, Any]:
    server = SimpleNamespace(leader_id=leader_id, config=SimpleNamespace(election_timeout=ELECTION))
    watch = LeaderWatch(server)  # type: ignore[arg-type]
    return watch, server


async def test_three_looks_in_a_row_without_a_leader_end_what_is_guarded() -> None:
    watch, server = await make_watch(1)
    ended: list[str] = []
    now = watch._look_at
    with watch.guard(lambda: ended.append("a")), watch.guard(lambda: ended.append("b")):
        watch.tick(now)
        server.leader_id = 0
        for look in range(1, MAX_MISSES):
            watch.tick(now + look * ELECTION)
            watch.tick(now + look * ELECTION + 0.5)  # no look of its own
        server.leader_id = 2
        watch.tick(now + MAX_MISSES * ELECTION)
        assert ended == []
        server.leader_id = 0
        for look in range(1, MAX_MISSES + 3):
            watch.tick(now + (MAX_MISSES + look) * ELECTION)
        assert ended == ["a", "b"]
    assert len(watch) == 0


async def test_a_call_that_is_over_is_not_ended_once_more() -> None:
    watch, _ = await make_watch(0)
    ended: list[str] = []
    with pytest.raises(RuntimeError), watch.guard(lambda: ended.append("a")):
        assert len(watch) == 1
        raise RuntimeError
    assert len(watch) == 0
    for look in range(MAX_MISSES + 1):
        watch.tick(watch._look_at + look)
    assert ended == []


class Links:
    """Since when there are links."""

    def __init__(self, **since: float) -> None:
        self._since = {int(name[1:]): at for name, at in since.items()}

    def active_since(self, member_id: int) -> float | None:
        return self._since.get(member_id)


def asked(leader_id: int, links: Links, elected_at: float = 0.0, voters: int = 3) -> Any:
    """Member 1 of a cluster of `voters`."""
    members = [MemberRecord(number) for number in range(1, voters + 1)]
    return SimpleNamespace(
        leader_id=leader_id,
        member_id=1,
        is_leader=leader_id == 1,
        leadership=SimpleNamespace(elected_at=elected_at),
        config=SimpleNamespace(election_timeout=ELECTION),
        cluster=SimpleNamespace(voters=lambda: members),
        transport=links,
    )


@pytest.mark.parametrize(
    ("server", "started_at", "expected"),
    [
        (asked(2, Links(m2=5.0)), 10.0, errors.Timeout),
        (asked(2, Links(m2=11.0)), 10.0, errors.TimeoutConnectionLost),
        (asked(2, Links(m3=5.0)), 10.0, errors.TimeoutConnectionLost),
        (asked(0, Links()), 10.0, errors.Timeout),
        (asked(1, Links(m3=5.0)), 10.0, errors.Timeout),
        (asked(1, Links(m3=11.0)), 10.0, errors.TimeoutConnectionLost),
        (asked(1, Links(m3=5.0), voters=5), 10.0, errors.TimeoutConnectionLost),
        (asked(1, Links(m3=5.0, m5=6.0), voters=5), 10.0, errors.Timeout),
        (asked(1, Links(), voters=1), 10.0, errors.Timeout),
        (asked(2, Links(m2=5.0), elected_at=11.0), 10.0, errors.TimeoutLeaderFail),
        (asked(2, Links(m2=5.0), elected_at=12.5), 10.0, errors.Timeout),
        (asked(2, Links(m2=5.0), elected_at=9.9), 10.0, errors.Timeout),
    ],
)
def test_a_timeout_says_what_was_likely_the_reason(
    server: Any, started_at: float, expected: type[errors.EtcdError]
) -> None:
    assert type(timeout_error(server, started_at)) is expected
