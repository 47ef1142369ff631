"""Calls through the gateway of a running member: what lasts, who leaves, who does not read, who is hostile."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from gateway_support import PATIENCE, Web, b64, until

KEY = b64(b"key")
WATCH_ALL = {"create_request": {"key": b64(b"\0"), "range_end": b64(b"\0")}}


def tasks() -> int:
    return len(asyncio.all_tasks())


async def put(web: Web, key: bytes, value: bytes = b"v") -> None:
    status, _ = await web.ask("/v3/kv/put", {"key": b64(key), "value": b64(value)})
    assert status == 200


async def test_a_watch_tells_each_event_as_a_line(web: Web) -> None:
    answer = await web.open("/v3/watch", WATCH_ALL)
    assert (answer.status, answer.headers["transfer-encoding"]) == (200, "chunked")
    assert await answer.line() == {"result": {"created": True}}
    await put(web, b"key")
    await web.ask("/v3/kv/deleterange", {"key": KEY})
    event = {"key": KEY, "create_revision": "2", "mod_revision": "2", "version": "1", "value": b64(b"v")}
    assert await answer.line() == {"result": {"events": [{"kv": event}]}}
    assert await answer.line() == {"result": {"events": [{"type": "DELETE", "kv": {"key": KEY, "mod_revision": "3"}}]}}


async def test_requests_of_a_stream_are_served_as_they_come(web: Web) -> None:
    answer = await web.send("/v3/watch", None)

    def say(request: Any) -> None:
        text = json.dumps(request).encode()
        for piece in (text[:9], text[9:]):
            answer.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))

    say(WATCH_ALL)
    await answer.read_head()
    assert await answer.line() == {"result": {"created": True}}
    say({"create_request": {"key": KEY, "watch_id": "7"}})
    assert await answer.line() == {"result": {"watch_id": "7", "created": True}}
    say({"cancel_request": {"watch_id": 7}})
    assert await answer.line() == {"result": {"watch_id": "7", "canceled": True}}


async def test_a_client_that_leaves_takes_its_watch_with_it(web: Web) -> None:
    before = tasks()
    answers = [await web.open("/v3/watch", WATCH_ALL) for _ in range(3)]
    silent = await web.send("/v3/watch", b"{}")
    await until(lambda: tasks() >= before + 7)
    answers[0].hang_up()
    answers[1].writer.close()
    answers[2].writer.write_eof()  # no end of a stream would ever be heard
    silent.writer.write_eof()
    await until(lambda: tasks() == before)
    await put(web, b"key")


async def test_a_client_that_leaves_while_it_waits_for_a_lock_does_not_get_it(web: Web) -> None:
    name = b64(b"lock")
    _, held = await web.ask("/v3/lock/lock", {"name": name})
    before = tasks()
    waiting = await web.send("/v3/lock/lock", json.dumps({"name": name}).encode())
    prefix = {"key": b64(b"lock/"), "range_end": b64(b"lock0"), "count_only": True}
    while (await web.ask("/v3/kv/range", prefix))[1]["count"] != "2":
        pass
    waiting.writer.close()
    while (await web.ask("/v3/kv/range", prefix))[1]["count"] != "1":
        pass
    await until(lambda: tasks() == before)
    assert (await web.ask("/v3/lock/unlock", {"key": held["key"]}))[0] == 200


async def test_a_waiting_call_ends_at_its_deadline(web: Web) -> None:
    name = b64(b"lock")
    await web.ask("/v3/lock/lock", {"name": name})
    before = tasks()
    status, told = await web.ask("/v3/lock/lock", {"name": name}, headers=("Grpc-Timeout: 50m",))
    assert (status, told["code"], told["message"]) == (504, 4, "context deadline exceeded")
    # Not of the queue: who gave up waiting in it leaves it in his own time.
    quiet = {"create_request": {"key": b64(b"quiet")}}
    answer = await web.open("/v3/watch", quiet, headers=("Grpc-Timeout: 300m",))
    assert await answer.line() == {"result": {"created": True}}
    told = (await answer.line())["error"]
    assert (told["code"], told["grpc_code"], told["http_code"]) == (4, 4, 504)
    assert await answer.chunk() == b""
    await until(lambda: tasks() == before)


async def test_a_reader_that_does_not_read_bounds_what_waits_for_it(web: Web) -> None:
    answer = await web.open("/v3/watch", WATCH_ALL)
    assert await answer.line() == {"result": {"created": True}}
    answer.reader._transport.pause_reading()  # type: ignore[attr-defined]
    value, count = b"x" * 400_000, 40
    for number in range(count):
        await put(web, b"k%d" % number, value)
    waiting = [
        stream.pending
        for stream in (getattr(task.get_coro().cr_frame, "f_locals", {}).get("self") for task in asyncio.all_tasks())  # type: ignore[union-attr]
        if hasattr(stream, "take")
    ]
    assert waiting and 1_000_000 < max(waiting) < 6_000_000
    answer.reader._transport.resume_reading()  # type: ignore[attr-defined]
    seen: list[str] = []
    while len(seen) < count:
        seen += [event["kv"]["key"] for event in (await answer.line())["result"]["events"]]
    assert seen == [b64(b"k%d" % number) for number in range(count)]


async def test_a_snapshot_comes_whole_and_a_client_that_leaves_ends_it(web: Web) -> None:
    before = tasks()
    lines = (await (await web.open("/v3/maintenance/snapshot", {})).whole()).splitlines()
    assert [set(json.loads(line)) for line in lines] == [{"result"}] * len(lines)
    (await web.open("/v3/maintenance/snapshot", {})).hang_up()
    await until(lambda: tasks() == before)


HOSTILE = [
    (b"{bad json", 400, "invalid character 'b' looking for beginning of object key string"),
    (b"[" * 1_000_000, 400, "exceeded max depth"),
    (b'{"a":' * 200_000, 400, "exceeded max depth"),
    (b'{"key":"\xff\xfe"}', 400, "invalid value for bytes field key"),
    (b'{"limit":"x","watch_id":' + b"9" * 1_000_000 + b"}", 400, "invalid value for int64 field limit"),
    (b'{"key":"' + b"QUFB" * 800_000 + b'"}', 429, "grpc: received message larger than max"),
    (b"\0" * 100, 400, "invalid character '\\x00' looking for beginning of value"),
    (b'{"key":"YQ==","success":' + b"[" * 3000 + b"]" * 3000 + b"}", 400, "exceeded max depth"),
]


@pytest.mark.parametrize(("body", "status", "text"), HOSTILE, ids=[str(body[:12]) for body, _, _ in HOSTILE])
async def test_hostile_bodies_are_refused_and_nothing_fails(
    web: Web, caplog: pytest.LogCaptureFixture, body: bytes, status: int, text: str
) -> None:
    before = tasks()
    answer = await web.send("/v3/kv/range", body)
    await answer.read_head()
    told = json.loads(await answer.whole())
    assert answer.status == status and text in told["message"]
    answer = await web.send("/v3/watch", b'{"create_request":' + body + b"}")
    await answer.read_head()
    told = json.loads(await answer.whole())["error"]
    assert told["http_code"] == answer.status in (status, 400)
    answer.hang_up()
    await until(lambda: tasks() == before)
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_body_beyond_the_limit_is_refused(web: Web) -> None:
    answer = await web.send("/v3/kv/put", b" " * 17_000_000)
    await answer.read_head()
    assert answer.status == 413


async def test_a_flood_of_empty_requests_lets_others_be_served(web: Web) -> None:
    before = tasks()
    answer = await web.send("/v3/watch", b"{}" * 300_000)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await put(web, b"key")
    assert loop.time() - started < 1.0
    answer.hang_up()
    await until(lambda: tasks() == before)


async def test_metadata_in_headers_reaches_the_rules_of_every_call(web: Web) -> None:
    bad = ("Grpc-Metadata-Client-Api-Version: \xff",)
    status, told = await web.ask("/v3/kv/range", {"key": KEY}, headers=("Grpc-Metadata-hasleader: true",))
    assert status == 200
    answer = await web.connect()
    body = b'{"key":"YQ=="}'
    answer.writer.write(
        f"POST /v3/kv/range HTTP/1.1\r\nHost: h\r\n{bad[0]}\r\nContent-Length: {len(body)}\r\n\r\n".encode("latin-1")
        + body
    )
    await answer.read_head()
    told = json.loads(await answer.whole())
    assert (answer.status, told["message"]) == (400, "etcdserver: invalid client api version")


async def test_one_connection_serves_calls_and_short_streams_one_after_the_other(web: Web) -> None:
    answer = await web.connect()
    async with asyncio.timeout(PATIENCE):
        for path, body in (("/v3/kv/range", b'{"key":"YQ=="}'), ("/v3/lease/keepalive", b'{"ID":5}')) * 3:
            answer.writer.write(
                b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body)
            )
            await answer.read_head()
            assert answer.status == 200 and "connection" not in answer.headers
            assert (await answer.whole()).strip()


async def test_calls_are_counted_with_those_of_grpc(web: Web) -> None:
    await put(web, b"key")
    await web.ask("/v3/kv/put", {})
    answer = await web.open("/v3/lease/keepalive", {"ID": "5"}, {"ID": "6"})
    await answer.whole()
    watch = await web.open("/v3/watch", WATCH_ALL)
    watch.hang_up()

    async def shown(line: str) -> bool:
        asked = await web.send("/metrics", b"", method="GET")
        await asked.read_head()
        return line in (await asked.whole()).decode()

    labels = 'grpc_code="Canceled",grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"'
    while not await shown(f"grpc_server_handled_total{{{labels}}} 1"):
        pass
    for code, count in (("OK", 1), ("InvalidArgument", 1)):
        labels = f'grpc_code="{code}",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"'
        assert await shown(f"grpc_server_handled_total{{{labels}}} {count}")
    labels = 'grpc_method="LeaseKeepAlive",grpc_service="etcdserverpb.Lease",grpc_type="bidi_stream"'
    for what in ("received", "sent"):
        assert await shown(f"grpc_server_msg_{what}_total{{{labels}}} 2")
