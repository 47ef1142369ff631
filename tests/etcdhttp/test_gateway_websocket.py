"""Streams over WebSocket: what real etcd tells, who leaves, who breaks the protocol, who does not read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from gateway_support import PATIENCE, Answer, Web, b64, until
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

WATCH_ALL = {"create_request": {"key": b64(b"\0"), "range_end": b64(b"\0")}}
SHAKE = ("Upgrade: websocket", "Connection: keep-alive, Upgrade", "Sec-WebSocket-Version: 13")
KEY = ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",)
ACCEPTED = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The answer to that key: both are RFC 6455's example."""


class Socket:
    """The client's end."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.frames = Connection(ConnectionType.CLIENT)
        self._events: list[Event] = []

    def send(self, event: Event) -> None:
        self.answer.writer.write(self.frames.send(event))

    def say(self, request: Any, **more: Any) -> None:
        self.send(TextMessage(data=request if isinstance(request, str) else json.dumps(request), **more))

    async def event(self) -> Event | None:
        """The next one; None at the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            while not self._events:
                data = await self.answer.reader.read(65536)
                if not data:
                    return None
                self.frames.receive_data(data)
                self._events += self.frames.events()
        return self._events.pop(0)

    async def hear(self) -> Any:
        """The next message as JSON, without its `header`."""
        text = ""
        while True:
            event = await self.event()
            assert isinstance(event, TextMessage), event
            text += event.data
            if event.message_finished:
                told = json.loads(text)
                told.get("result", told).pop("header", None)
                return told


async def open_socket(web: Web, path: str, *headers: str) -> Socket:
    answer = await web.send(path, b"", (*SHAKE, *KEY, *headers), "GET")
    await answer.read_head()
    assert (answer.status, answer.headers["sec-websocket-accept"]) == (101, ACCEPTED)
    return Socket(answer)


def tasks() -> int:
    return len(asyncio.all_tasks())


async def put(web: Web, key: bytes, value: bytes = b"v") -> None:
    assert (await web.ask("/v3/kv/put", {"key": b64(key), "value": b64(value)}))[0] == 200


async def test_a_watch_is_a_conversation(web: Web) -> None:
    before = tasks()
    socket = await open_socket(web, "/v3/watch")
    socket.say(WATCH_ALL)
    assert await socket.hear() == {"result": {"created": True}}
    await put(web, b"key")
    assert [event["kv"]["key"] for event in (await socket.hear())["result"]["events"]] == [b64(b"key")]
    text = json.dumps({"create_request": {"key": b64(b"other"), "watch_id": "7"}})
    socket.say(text[:10], message_finished=False)
    socket.say(text[10:])
    assert await socket.hear() == {"result": {"watch_id": "7", "created": True}}
    socket.send(BytesMessage(data=b'{"cancel_request":{"watch_id":7}}'))
    assert await socket.hear() == {"result": {"watch_id": "7", "canceled": True}}
    socket.send(Ping(payload=b"there?"))
    assert await socket.event() == Pong(payload=b"there?")
    socket.send(CloseConnection(code=1000))
    assert await socket.event() == CloseConnection(code=1000, reason="")
    assert await socket.event() is None
    await until(lambda: tasks() == before)


async def test_a_stream_that_ends_ends_the_connection(web: Web) -> None:
    before = tasks()
    socket = await open_socket(web, "/v3beta/maintenance/snapshot")
    socket.say({})
    while "remaining_bytes" in (await socket.hear())["result"]:
        pass
    assert set((await socket.hear())["result"]) == {"blob", "version"}
    assert await socket.event() == CloseConnection(code=1000, reason="")
    socket.send(CloseConnection(code=1000))
    assert await socket.event() is None
    await until(lambda: tasks() == before)


async def test_a_unary_call_answers_its_first_message(web: Web) -> None:
    socket = await open_socket(web, "/v3/kv/put")
    socket.say({"key": b64(b"a"), "value": b64(b"b")})
    assert await socket.hear() == {}
    socket = await open_socket(web, "/v3/kv/range")
    socket.say({})
    assert (await socket.hear())["error"]["message"] == "etcdserver: key is not provided"


async def test_a_malformed_request_ends_it_with_an_error(web: Web) -> None:
    socket = await open_socket(web, "/v3/watch")
    socket.say("{bad")
    told = (await socket.hear())["error"]
    assert (told["code"], told["message"]) == (
        3,
        "invalid character 'b' looking for beginning of object key string",
    )
    assert await socket.event() == CloseConnection(code=1000, reason="")


async def test_a_token_may_come_as_the_subprotocol(web: Web) -> None:
    socket = await open_socket(web, "/v3/watch", "Sec-WebSocket-Protocol: Bearer, token")
    assert socket.answer.headers["sec-websocket-protocol"] == "Bearer"
    other = await open_socket(web, "/v3/watch", "Sec-WebSocket-Protocol: chat")
    assert "sec-websocket-protocol" not in other.answer.headers


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", (*SHAKE, *KEY), 405),
        ("GET", SHAKE, 400),
        ("GET", (*SHAKE, "Sec-WebSocket-Key: short"), 400),
        ("GET", (*SHAKE[:2], *KEY), 400),
        ("GET", (*SHAKE[:2], *KEY, "Sec-WebSocket-Version: 12"), 400),
        ("GET", (SHAKE[0], SHAKE[2], *KEY), 400),
    ],
)
async def test_a_handshake_that_is_none_is_refused(
    web: Web, method: str, headers: tuple[str, ...], status: int
) -> None:
    answer = await web.send("/v3/watch", b"", headers, method)
    await answer.read_head()
    assert (answer.status, answer.headers["sec-websocket-version"]) == (status, "13")


async def test_who_breaks_the_protocol_is_told_and_dropped(
    web: Web, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quorate.transport.websocket.CLOSE_GRACE", 0.2)
    before = tasks()
    for raw in (b"\xff" * 20, b"\x81\x05hello", b"\x81\xfe\x00\x01" + bytes(5)):
        socket = await open_socket(web, "/v3/watch")
        socket.answer.writer.write(raw)
        event = await socket.event()
        assert isinstance(event, CloseConnection) and event.code == 1002
        assert await socket.event() is None
    socket = await open_socket(web, "/v3/watch")
    for _ in range(8):
        socket.say("x" * 1_000_000, message_finished=False)
    event = await socket.event()
    assert isinstance(event, CloseConnection) and event.code == 1009
    assert await socket.event() is None
    for _ in range(3):
        socket = await open_socket(web, "/v3/watch")
        socket.say(WATCH_ALL)
        socket.answer.hang_up()
    await until(lambda: tasks() == before)
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_reader_that_does_not_read_delays_nobody_and_gets_all(web: Web) -> None:
    socket = await open_socket(web, "/v3/watch")
    socket.say(WATCH_ALL)
    assert await socket.hear() == {"result": {"created": True}}
    socket.answer.reader._transport.pause_reading()  # type: ignore[attr-defined]
    count = 30
    for number in range(count):
        await put(web, b"k%d" % number, b"x" * 400_000)
    socket.answer.reader._transport.resume_reading()  # type: ignore[attr-defined]
    seen: list[str] = []
    while len(seen) < count:
        seen += [event["kv"]["key"] for event in (await socket.hear())["result"]["events"]]
    assert seen == [b64(b"k%d" % number) for number in range(count)]
