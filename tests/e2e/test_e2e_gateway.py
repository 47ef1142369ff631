"""The JSON gateway beside real etcd 3.5.1: statuses, headers and JSON, request by request over all of its routes."""

from __future__ import annotations

import base64
import hashlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from e2e_web import DIFFERENCES, Asked, Pair, Web, b64

from quorate.etcdhttp.gateway.routes import ROUTES
from quorate.testing.process import MemberProcess, free_port

pytestmark = pytest.mark.real

KEY, FOO, FOP = b64("key"), b64("foo"), b64("fop")
ALL = {"key": b64(b"\0"), "range_end": b64(b"\0")}
ELECTION = {"name": b64("e"), "key": b64("e/7"), "rev": "REV", "lease": "7"}


@pytest.fixture
def pair(real: MemberProcess, subject: MemberProcess) -> Iterator[Pair]:
    """The two members; the one under test must not have logged that anything failed."""
    yield Pair(real, subject)
    assert "Traceback" not in subject.log()


KV: list[tuple[str, Any]] = [
    ("put", {"key": FOO, "value": b64("bar")}),
    ("put", {"key": FOO, "value": b64("bar2"), "prev_kv": True}),
    ("put", {"key": FOO, "ignoreValue": True, "prevKv": True}),
    ("put", {"key": FOO, "value": "", "lease": "12345"}),
    ("put", {"key": FOO, "value": "YQ==", "ignore_value": True}),
    ("put", {}),
    ("put", None),
    ("put", "null"),
    ("range", {"key": FOO}),
    ("range", {"key": FOO, "range_end": FOP, "limit": 1, "count_only": True}),
    ("range", {"key": b64("no")}),
    ("range", {"key": FOO, "revision": "1000"}),
    ("range", {"key": FOO, "nobody": {"knows": [1, 2, {"this": None}]}}),
    ("range", '{"key":"Zm9v"}{"key":"bm8="}'),
    ("range", '{"key":"Zm9v"}garbage'),
    ("range", '{"key":"Zm9v","limit":7,"serializable":true,"revision":null}'),
    ("put", {"key": b64("fooa"), "value": b64("x")}),
    ("range", {"key": FOO, "rangeEnd": FOP, "keysOnly": True}),
    ("range", {"key": FOO, "rangeEnd": FOP, "limit": "1"}),
    ("range", {"key": FOO, "range_end": FOP, "sort_order": "DESCEND", "sort_target": "KEY"}),
    ("range", {"key": FOO, "range_end": FOP, "sort_order": 2, "sort_target": 0}),
    ("range", {"key": FOO, "sort_order": 99}),
    ("range", {"key": FOO, "sort_order": "NO_SUCH"}),
    ("range", {"key": "Zm9-"}),
    ("range", {"key": "Zm8"}),
    ("range", '{"key":"Zm9v","limit":1e2}'),
    ("range", '{"key":"Zm9v","key":"Zm9v"}'),
    (
        "txn",
        {
            "compare": [{"target": "VALUE", "key": FOO, "value": b64("no")}],
            "success": [{"requestPut": {"key": FOO, "value": "YQ=="}}],
            "failure": [{"request_put": {"key": FOO, "value": "Yg=="}}, {"requestRange": {"key": FOO}}],
        },
    ),
    ("txn", {"compare": [{"result": "NOT_EQUAL", "target": "VERSION", "key": FOO, "version": "9"}]}),
    ("txn", {"compare": [{"result": 1, "target": "CREATE", "key": FOO, "createRevision": 1}]}),
    ("txn", {"compare": [{"result": "LESS", "target": "MOD", "key": FOO, "mod_revision": "1"}]}),
    ("txn", {"compare": [{"target": "LEASE", "key": FOO, "lease": "0"}]}),
    ("txn", {"success": [{"request_txn": {"success": [{"request_put": {"key": FOO, "value": "Yw=="}}]}}]}),
    ("txn", {"success": [{"request_delete_range": {"key": FOO, "prev_kv": True}}]}),
    ("txn", {"success": [{"request_put": {"key": FOO}}, {"request_put": {"key": FOO}}]}),
    ("txn", {"success": [{}]}),
    ("txn", {}),
    ("deleterange", {"key": b64("fooa"), "prev_kv": True}),
    ("deleterange", {"key": b64("fooa")}),
    ("compaction", {"revision": "3"}),
    ("compaction", {"revision": "3", "physical": True}),
    ("compaction", {"revision": "1000"}),
    ("range", {"key": FOO, "revision": 2}),
]

LEASE: list[tuple[str, Any]] = [
    ("lease/grant", {"TTL": "100", "ID": "7"}),
    ("lease/grant", {"TTL": 100, "ID": 7}),
    ("lease/grant", {"TTL": "9000000001"}),
    ("lease/grant", {"TTL": "60"}),
    ("lease/keepalive", {"ID": "7"}),
    ("lease/keepalive", '{"ID":"7"}\n{"ID":"999"} {"ID":7}'),
    ("lease/keepalive", None),
    ("kv/put", {"key": b64("leased"), "lease": "7"}),
    ("kv/range", {"key": b64("leased")}),
    ("lease/timetolive", {"ID": "999"}),
    ("kv/lease/timetolive", {"ID": "999"}),
    ("lease/leases", {}),
    ("kv/lease/leases", {}),
    ("lease/revoke", {"ID": "999"}),
    ("kv/lease/revoke", {"ID": "999"}),
    ("lock/lock", {"name": b64("l"), "lease": "7"}),
    ("lock/unlock", {"key": b64("l/7")}),
    ("lock/unlock", {"key": b64("l/7")}),
    ("lock/lock", {"name": b64("l"), "lease": "999"}),
    ("election/leader", {"name": b64("e")}),
    ("election/campaign", {"name": b64("e"), "value": "djE=", "lease": "7"}),
    ("election/leader", {"name": b64("e")}),
    ("election/proclaim", {"leader": {**ELECTION}, "value": "djI="}),
    ("election/proclaim", {"leader": {**ELECTION, "rev": "1"}, "value": "djI="}),
    ("election/proclaim", {}),
    ("election/resign", {"leader": {**ELECTION}}),
    ("election/resign", {}),
    ("lease/revoke", {"ID": "7"}),
    ("kv/range", {"key": b64("leased")}),
]

MEMBERS: list[tuple[str, Any]] = [
    ("cluster/member/list", {}),
    ("cluster/member/add", {}),
    ("cluster/member/add", {"peerURLs": ["no-url"]}),
    ("cluster/member/remove", {"ID": "5"}),
    ("cluster/member/update", {"ID": "5", "peerURLs": ["http://127.0.0.1:9"]}),
    ("cluster/member/promote", {"ID": "5"}),
    ("cluster/member/promote", {"ID": "MEMBER"}),
    ("maintenance/status", {}),
    ("maintenance/hash", {}),
    ("maintenance/hashkv", {"revision": "0"}),
    ("maintenance/alarm", {}),
    ("maintenance/alarm", {"action": "GET"}),
    ("maintenance/alarm", {"action": "ACTIVATE", "memberID": "MEMBER", "alarm": "CORRUPT"}),
    ("maintenance/alarm", {"action": 0}),
    ("kv/put", {"key": FOO, "value": "YQ=="}),
    ("maintenance/status", {}),
    ("maintenance/alarm", {"action": "DEACTIVATE", "memberID": "MEMBER", "alarm": "CORRUPT"}),
    ("maintenance/transfer-leadership", {"targetID": "1"}),
    ("maintenance/defragment", {}),
    ("maintenance/downgrade", {"action": "VALIDATE", "version": "nonsense"}),
    ("maintenance/downgrade", {"action": "VALIDATE", "version": "1.0.0"}),
    ("cluster/member/add", {"peerURLs": ["http://127.0.0.1:23799"], "isLearner": True}),
    ("cluster/member/list", {}),
]

MALFORMED = [
    "{bad json",
    '{"key":',
    '{"key" 1}',
    '{"key":tru}',
    '{"key":"\\uZZ"}',
    '{"key":"\\q"}',
    '{"a":[1 2]}',
    '{"a":1 2}',
    '{"a":1.}',
    '{"a":-}',
    "[]",
    '"a"',
    "5",
    '{"key":"not base64!"}',
    '{"key":123}',
    '{"key":[1]}',
    '{"key":"Zm9v","revision":"abc"}',
    '{"key":"Zm9v","keysOnly":"true"}',
]

ELSEWHERE = [
    Asked("/v3/kv/nosuch", {}),
    Asked("/v3/kv/range/", {}),
    Asked("/v3/", {}),
    Asked("/v3alpha/kv/range", {}),
    Asked("/v4/kv/range", {}),
    Asked("/v3beta/kv/range", {"key": FOO}),
    Asked("/v3beta/kv/nosuch", {}),
    Asked("/v3/kv/range", method="GET"),
    Asked("/v3/kv/range", method="PUT"),
    Asked("/v3/watch", method="GET"),
    Asked("/v3/kv/range", method="OPTIONS"),
    Asked("/nowhere", method="OPTIONS"),
    Asked("/health", method="GET"),
    Asked("/v3/kv/range", {"key": FOO}, {"Content-Type": "text/plain"}),
    Asked("/v3/kv/range", {"key": FOO}, {"Grpc-Timeout": "zzz"}),
    Asked("/v3/kv/range", {"key": FOO}, {"Grpc-Timeout": "S"}),
    Asked("/v3/kv/range", {"key": FOO}, {"Grpc-Timeout": "1n"}),
    Asked("/v3/kv/range", {"key": FOO}, {"Grpc-Timeout": "0S"}),
    Asked("/v3/kv/range", {"key": FOO}, {"Grpc-Timeout": "5000000000n"}),
    Asked("/v3/kv/range", {"key": FOO}, {"Grpc-Metadata-hasleader": "true"}),
    Asked("/v3/kv/put", {"key": FOO, "value": b64(b"x" * 1_600_000)}),
    Asked("/v3/kv/put", {"key": FOO, "value": b64(b"x" * 2_200_000)}),
]


def test_every_route_answers_as_that_of_real_etcd(pair: Pair) -> None:
    asked: list[Asked] = [Asked("/v3/kv/" + path, body) for path, body in KV]
    asked += [Asked("/v3/" + path, body) for path, body in LEASE]
    pair.learn("MEMBER", _own_id)
    asked += [Asked("/v3/" + path, body) for path, body in MEMBERS]
    asked += [Asked("/v3/kv/range", text) for text in MALFORMED]
    asked += [Asked("/v3/watch", text) for text in ("{bad json", '{"create_')]
    asked += ELSEWHERE
    for one in asked:
        told = pair.ask(one)
        if one.path == "/v3/election/campaign":
            pair.learn("REV", lambda side, told=told: told.body["leader"]["rev"])
    assert set(pair.used) == {one.name for one in DIFFERENCES}
    untested = {path for path in ROUTES if "/auth/" not in path} - {one.path for one in asked}
    assert untested == {"/v3/election/observe", "/v3/maintenance/snapshot"}


def _own_id(side: Web) -> str:
    return str(side.ask(Asked("/v3/cluster/member/list")).body["members"][0]["ID"])


ROOT, GIVEN = {"name": "root", "password": "pw"}, {"name": "al", "password": "pw2"}
READ = {"permType": "READ", "key": FOO, "range_end": FOP}
AS_ROOT, AS_AL = {"Authorization": "ROOT_TOKEN"}, {"Grpc-Metadata-Token": "AL_TOKEN"}

AUTH: list[tuple[str, Any, dict[str, str]]] = [
    ("auth/status", {}, {}),
    ("auth/authenticate", ROOT, {}),
    ("auth/enable", {}, {}),
    ("auth/user/add", ROOT, {}),
    ("auth/user/add", ROOT, {}),
    ("auth/user/add", {"name": ""}, {}),
    ("auth/user/add", GIVEN, {}),
    ("auth/user/add", {"name": "nopass", "options": {"no_password": True}}, {}),
    ("auth/role/add", {"name": "root"}, {}),
    ("auth/role/add", {"name": "reader"}, {}),
    ("auth/role/add", {"name": "gone"}, {}),
    ("auth/role/delete", {"role": "gone"}, {}),
    ("auth/role/delete", {"role": "gone"}, {}),
    ("auth/role/grant", {"name": "reader", "perm": READ}, {}),
    ("auth/role/grant", {"name": "reader"}, {}),
    ("auth/role/get", {"role": "reader"}, {}),
    ("auth/role/list", {}, {}),
    ("auth/user/grant", {"user": "root", "role": "root"}, {}),
    ("auth/user/grant", {"user": "al", "role": "reader"}, {}),
    ("auth/user/grant", {"user": "al", "role": "nobody"}, {}),
    ("auth/user/get", {"name": "al"}, {}),
    ("auth/user/list", {}, {}),
    ("auth/user/changepw", {"name": "al", "password": "pw2"}, {}),
    ("auth/enable", {}, {}),
    ("auth/authenticate", {"name": "root", "password": "wrong"}, {}),
    ("auth/authenticate", {"name": "nopass", "password": "x"}, {}),
    ("auth/authenticate", {"name": "nobody", "password": "x"}, {}),
    ("kv/range", {"key": FOO}, {}),
    ("kv/range", {"key": FOO}, {"Authorization": "nonsense.1"}),
    ("kv/range", {"key": FOO}, {"Authorization": "bearer ROOT_TOKEN"}),
    ("kv/put", {"key": FOO, "value": FOO}, AS_ROOT),
    ("kv/range", {"key": FOO}, AS_AL),
    ("kv/range", {"key": FOO}, {"Grpc-Metadata-Authorization": "AL_TOKEN"}),
    ("kv/range", {"key": KEY}, AS_AL),
    ("kv/put", {"key": FOO}, AS_AL),
    ("auth/status", {}, AS_ROOT),
    ("auth/user/list", {}, AS_AL),
    ("auth/user/get", {"name": "al"}, AS_AL),
    ("auth/role/revoke", {"role": "reader", "key": FOO, "range_end": FOP}, AS_ROOT),
    ("auth/role/get", {"role": "reader"}, AS_ROOT),
    ("auth/user/revoke", {"name": "al", "role": "reader"}, AS_ROOT),
    ("auth/user/revoke", {"name": "al", "role": "reader"}, AS_ROOT),
    ("auth/user/delete", {"name": "al"}, AS_ROOT),
    ("auth/user/delete", {"name": "root"}, AS_ROOT),
    ("auth/disable", {}, {}),
    ("auth/disable", {}, AS_ROOT),
    ("kv/range", {"key": FOO}, {}),
]


def test_users_are_known_by_their_tokens_as_to_real_etcd(pair: Pair) -> None:
    assert {path for path in ROUTES if "/auth/" in path} == {"/v3/" + path for path, _, _ in AUTH if "auth/" in path}
    for path, body, headers in AUTH:
        if path == "kv/range" and "ROOT_TOKEN" not in pair.sides[0].ids:
            for name, who in (("ROOT_TOKEN", ROOT), ("AL_TOKEN", GIVEN)):
                pair.learn(name, lambda side, who=who: side.ask(Asked("/v3/auth/authenticate", who)).body["token"])
            bearer = Asked("/v3/kv/range", {"key": FOO}, {"Authorization": "Bearer ROOT_TOKEN"})
            assert pair.sides[1].ask(bearer).status == 200
        pair.ask(Asked("/v3/" + path, body, headers))


WATCHES: list[list[Any]] = [
    [{"create_request": ALL}],
    [{"create_request": {**ALL, "start_revision": "2", "prev_kv": True}}],
    [{"create_request": {**ALL, "startRevision": 2, "filters": ["NODELETE"], "watch_id": "7"}}],
    [{"create_request": {**ALL, "watch_id": "7"}}, {"create_request": {**ALL, "watch_id": "7"}}],
    [{"create_request": {**ALL, "watch_id": 7}}, {"cancel_request": {"watch_id": "7"}}, {"create_request": ALL}],
    [{"create_request": {**ALL, "start_revision": "1"}}],
    [{"create_request": ALL}, {"progress_request": {}}],
]


def test_watches_tell_what_those_of_real_etcd_tell(pair: Pair) -> None:
    """Each watch until the last event, whose key says so."""
    for number in (1, 2):
        pair.ask(Asked("/v3/kv/put", {"key": KEY, "value": b64(str(number))}))
    pair.ask(Asked("/v3/kv/deleterange", {"key": KEY}))
    pair.ask(Asked("/v3/kv/compaction", {"revision": "2"}))
    for number, requests in enumerate(WATCHES):
        end = b64(f"end{number}")
        body = "\n".join(Asked("", one).text() for one in requests)
        created = sum("create_request" in one for one in requests)
        seen = []
        for side in pair.sides:
            with side.stream(Asked("/v3/watch", body)) as line:
                lines = [line() for _ in range(created)]
                if "start_revision" in body and '"1"' in body:
                    lines.append(line())
                else:
                    side.ask(Asked("/v3/kv/put", {"key": end, "value": KEY}))
                    while end not in str(lines[-1]):
                        lines.append(line())
                seen.append(side.plain(_events_together(lines)))
        assert seen[0] == seen[1], body


def _events_together(lines: list[Any]) -> list[Any]:
    """Without header revisions and the way in which events were divided, which are a matter of when."""
    told: list[Any] = []
    for line in lines:
        result = line["result"]
        header = {name: value for name, value in result.pop("header").items() if name != "revision"}
        events = result.pop("events", [])
        told += [{"header": header, **result}] if not events else [{**result, "event": one} for one in events]
    # A second watcher of the same keys hears of an event after or before the first one.
    return sorted(told, key=lambda one: "event" in one)


def test_an_observer_hears_each_leader(pair: Pair) -> None:
    seen = []
    for side in pair.sides:
        side.ask(Asked("/v3/lease/grant", {"ID": "7", "TTL": "100"}))
        side.ask(Asked("/v3/election/campaign", {"name": b64("e"), "value": "djE=", "lease": "7"}))
        with side.stream(Asked("/v3/election/observe", {"name": b64("e")})) as line:
            seen.append(side.plain(line()))
    assert seen[0] == seen[1]
    assert seen[0]["result"]["kv"]["value"] == "djE="


def test_a_snapshot_is_whole_and_ends_with_its_digest(subject: MemberProcess) -> None:
    told = Web(subject).ask(Asked("/v3/maintenance/snapshot", {}))
    *blobs, digest = (base64.b64decode(one["result"]["blob"]) for one in told.body)
    assert hashlib.sha256(b"".join(blobs)).digest() == digest
    assert max(map(len, blobs)) <= 32768
    left = [int(one["result"].get("remaining_bytes", 0)) for one in told.body]
    assert left == sorted(left, reverse=True) and left[-2:] == [0, 0]


def test_a_conversation_over_websocket_is_that_of_real_etcd(pair: Pair) -> None:
    seen = []
    for side in pair.sides:
        with side.websocket("/v3/watch") as say:
            told = [say({"create_request": {**ALL, "watch_id": "7"}})]
            side.ask(Asked("/v3/kv/put", {"key": FOO, "value": KEY}))
            told += [say(None), say({"cancel_request": {"watch_id": "7"}})]
        with side.websocket("/v3/lease/keepalive") as say:
            told += [say({"ID": "5"}), say({"ID": 6})]
        seen.append(side.plain(told))
    assert seen[0] == seen[1]


def test_a_leader_is_kept_as_patroni_keeps_it(pair: Pair) -> None:
    """Its calls, in its order and its spelling, over a connection that stays."""
    prefix = {"key": b64("/service/batman/"), "range_end": b64("/service/batman0")}
    leader, status = b64("/service/batman/leader"), b64("/service/batman/status")
    pair.ask(Asked("/version", method="GET"), lambda told: {"etcdcluster": told["etcdcluster"].count(".")})
    pair.ask(Asked("/v3/cluster/member/list", {}))
    pair.ask(Asked("/v3/maintenance/status", {}))
    pair.ask(Asked("/v3/kv/range", {**prefix, "serializable": True}))
    pair.learn("LEASE", lambda side: side.ask(Asked("/v3/lease/grant", {"TTL": 30})).body["ID"])
    put = {"key": leader, "value": b64("pg0"), "lease": "LEASE"}
    acquire = {
        "compare": [{"target": "CREATE", "create_revision": "0", "key": leader}],
        "success": [{"request_put": put}],
    }
    assert pair.ask(Asked("/v3/kv/txn", acquire)).body["succeeded"]
    assert "succeeded" not in pair.ask(Asked("/v3/kv/txn", acquire)).body
    watch = Asked("/v3/watch", {"create_request": {**prefix, "start_revision": "2", "filters": []}})
    watched = []
    for side in pair.sides:
        with side.stream(watch) as line:
            told = [line(), line()]
            side.ask(Asked("/v3/kv/put", {"key": status, "value": b64('{"optime":1}')}))
            told.append(line())
            side.ask(Asked("/v3/lease/revoke", {"ID": side.ids["LEASE"]}))
            told.append(line())
            watched.append(side.plain(told))
    assert watched[0] == watched[1]
    assert [event["type"] for event in watched[0][-1]["result"]["events"]] == ["DELETE"]
    release = {
        "compare": [{"target": "VALUE", "key": leader, "value": b64("pg0")}],
        "success": [{"request_delete_range": {"key": leader}}],
        "failure": [{"request_range": {"key": leader}}],
    }
    pair.ask(Asked("/v3/kv/txn", release))
    pair.ask(Asked("/v3/lease/keepalive", {"ID": "LEASE"}))
    assert pair.ask(Asked("/v3/kv/put", put)).message == "etcdserver: requested lease not found"
    pair.ask(Asked("/v3/kv/deleterange", prefix))


CORS_FLAGS = ("--cors=http://a.com:80,http://b.com:8080", "--host-whitelist=a.com,127.0.0.1")
CORS_ASKED = [
    Asked(path, {"key": FOO}, headers, method)
    for path, method in (("/v3/kv/range", "POST"), ("/health", "GET"), ("/v3/kv/range", "OPTIONS"))
    for headers in (
        {},
        {"Origin": "http://b.com:8080"},
        {"Origin": "http://c.com:80"},
        {"Host": "a.com"},
        {"Host": "a.com:99"},
        {"Host": "evil.com:2379", "Origin": "http://a.com:80"},
        {"Host": "localhost:2379"},
    )
]


def test_origins_and_hosts_are_checked_as_by_real_etcd(start_member: Any, real_command: Any) -> None:
    pair = Pair(start_member(real_command, flags=CORS_FLAGS), start_member(flags=CORS_FLAGS))
    for asked in CORS_ASKED:
        real, ours = (side.ask(asked) for side in pair.sides)
        assert (real.status, real.headers) == (ours.status, ours.headers), asked
        if real.status == 421:
            assert (
                "CVE-2018-5702" in ours.body
                and f"--host-whitelist={asked.headers['Host'].partition(':')[0]}" in ours.body
            )


def test_without_the_gateway_its_paths_are_unknown(start_member: Any, real_command: Any) -> None:
    flags = ("--enable-grpc-gateway=false",)
    pair = Pair(start_member(real_command, flags=flags), start_member(flags=flags))
    for path in ("/v3/kv/range", "/v3beta/kv/range", "/v3/nosuch"):
        pair.ask(Asked(path, {"key": FOO}))
    assert not pair.used


def test_http_urls_of_their_own_take_http_and_leave_grpc_to_the_others(start_member: Any) -> None:
    port = free_port()
    member = start_member(flags=(f"--listen-client-http-urls=http://127.0.0.1:{port}",))
    with socket.create_connection(("127.0.0.1", member.client_port), 10) as grpc:
        grpc.sendall(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n")
        assert grpc.recv(100) == b""
    with socket.create_connection(("127.0.0.1", port), 10) as web:
        web.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        assert web.recv(100) == b""
    member.client_port = port
    assert Web(member).ask(Asked("/v3/kv/range", {"key": FOO})).status == 200
