"""lease answers as stock etcdctl does."""

from __future__ import annotations

import pytest

from quorate.testing.process import MemberProcess

from ctl_pair import OURS, Pair, Side  # isort: skip

pytestmark = pytest.mark.real

BAD = (
    "lease grant",
    "lease grant abc",
    "lease grant 99999999999",
    "lease revoke",
    "lease revoke zz",
    "lease timetolive",
    "lease timetolive zz",
    "lease keep-alive",
    "lease keep-alive zz",
    "lease",
    "lease bogus",
)


@pytest.mark.parametrize("form", ["simple", "json", "fields", "protobuf", "table"])
def test_a_lease_looks_alike_from_grant_to_end(pair: Pair, form: str) -> None:
    pair.same("lease", "list", "-w", form)
    pair.same("lease", "grant", "1000")
    pair.same("put", "lk", "v", "--lease={lease}")
    pair.same("lease", "list", "-w", form)
    pair.same("lease", "keep-alive", "--once", "{lease}", "-w", form)
    pair.same("lease", "timetolive", "{lease}", "-w", form)
    pair.same("lease", "timetolive", "{lease}", "--keys", "-w", form)
    pair.same("lease", "revoke", "{lease}", "-w", form)
    pair.same("lease", "timetolive", "{lease}", "-w", form)
    pair.same("lease", "revoke", "{lease}", "-w", form)
    pair.same("lease", "keep-alive", "{lease}", "-w", form)
    pair.same("lease", "keep-alive", "--once", "{lease}", "-w", form)
    pair.same("lease", "grant", "0", *(["-w", form] if form == "simple" else []))


def test_what_cannot_be_done_is_refused_alike(pair: Pair) -> None:
    for words in BAD:
        pair.same(*words.split())


def test_a_lease_is_kept_alive_until_it_is_revoked(pair: Pair) -> None:
    for side in (pair.stock, pair.ours):
        side.shown(side.run(["lease", "grant", "6"]))
        started = side.start(["lease", "keep-alive", "{lease}"])
        started.wait_for(lambda out: out.count(b"keepalived") >= 2)
        side.run(["lease", "revoke", "{lease}"])
        started.wait_for(lambda out: b"expired or revoked" in out)
        answer = started.end(None)
        assert answer.code == 0
        assert set(side.shown(answer).out.splitlines()) == {
            b"lease <lease> keepalived with TTL(6)",
            b"lease <lease> expired or revoked.",
        }


def test_a_lease_is_renewed_again_when_the_server_was_away(member: MemberProcess) -> None:
    side = Side(OURS, member.endpoint)
    side.shown(side.run(["lease", "grant", "60"]))
    started = side.start(["--command-timeout", "60s", "lease", "keep-alive", "{lease}", "-w", "fields"])
    started.wait_for(lambda out: b'"TTL" : 60' in out)
    started.end()
    member.stop()
    started = side.start(["--command-timeout", "60s", "lease", "keep-alive", "{lease}"])
    member.start()
    started.wait_for(lambda out: b"keepalived with TTL(60)" in out)
    assert started.end().err == b""
