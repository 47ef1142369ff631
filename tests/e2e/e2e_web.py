"""Requests to the JSON gateway of two members, and what may differ between their answers."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage

from quorate.testing.process import MemberProcess

PATIENCE = 15.0
COMPARED = (
    "content-type",
    "grpc-metadata-content-type",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
)
_NAMES = re.compile(r"\b\d{15,20}\b")


def b64(raw: bytes | str) -> str:
    return base64.b64encode(raw.encode() if isinstance(raw, str) else raw).decode()


@dataclass
class Asked:
    """One request. In a text body `MEMBER` and `ADDED` stand for IDs of members."""

    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.text()[:200]} {self.headers or ''}"

    def text(self) -> str:
        return self.body if isinstance(self.body, str) else "" if self.body is None else json.dumps(self.body)


@dataclass
class Told:
    """An answer. `body` is JSON where it is JSON, a list of it where it is a stream, else text."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def message(self) -> str:
        """Of an error."""
        return str(self.body.get("message", "")) if isinstance(self.body, dict) else ""

    @property
    def code(self) -> int:
        """Of an error; 0 of anything else."""
        return int(self.body.get("code", 0)) if isinstance(self.body, dict) else 0


class Web:
    """One member. Names it has given are replaced in the order in which they were seen."""

    def __init__(self, member: MemberProcess) -> None:
        self.member = member
        self._names: dict[str, str] = {}
        self._own = {
            str(member.client_port): "CLIENT",
            str(member.peer_port): "PEER",
        }
        self.ids: dict[str, str] = {}

    def ask(self, asked: Asked) -> Told:
        connection = http.client.HTTPConnection("127.0.0.1", self.member.client_port, timeout=PATIENCE)
        try:
            headers = {name: self._filled(value) for name, value in asked.headers.items()}
            connection.request(asked.method, asked.path, self._filled(asked.text()).encode(), headers)
            answer = connection.getresponse()
            raw = answer.read()
            told = {name.lower(): value for name, value in answer.getheaders() if name.lower() in COMPARED}
            streamed = answer.getheader("transfer-encoding") == "chunked"
            return Told(answer.status, told, _parse(raw, told.get("content-type", ""), streamed))
        finally:
            connection.close()

    @contextmanager
    def stream(self, asked: Asked) -> Iterator[Callable[[], Any]]:
        """The lines of an answer, one by one as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.member.client_port, timeout=PATIENCE)
        try:
            connection.request(asked.method, asked.path, asked.text().encode(), asked.headers)
            answer = connection.getresponse()
            yield lambda: json.loads(answer.readline() or "null")
        finally:
            connection.close()

    @contextmanager
    def websocket(self, path: str) -> Iterator[Callable[[Any], Any]]:
        """Says a message, if it is not None, and returns the next of the member, as JSON."""
        with socket.create_connection(("127.0.0.1", self.member.client_port), PATIENCE) as link:
            shake = WSConnection(ConnectionType.CLIENT)
            link.sendall(shake.send(Request(host="h", target=path)))
            heard: list[str] = []

            def say(message: Any) -> Any:
                if message is not None:
                    link.sendall(shake.send(TextMessage(data=json.dumps(message))))
                while not heard or not heard[-1].endswith("}}"):
                    shake.receive_data(link.recv(65536) or None)
                    heard.extend(event.data for event in shake.events() if isinstance(event, TextMessage))
                whole = json.loads("".join(heard))
                heard.clear()
                return whole

            shake.receive_data(link.recv(65536))
            assert [type(event) for event in shake.events()] == [AcceptConnection]
            yield say

    def learn(self, name: str, value: Any) -> None:
        self.ids[name] = str(value)

    def plain(self, value: Any) -> Any:
        """`value` with the names of this member's cluster replaced."""
        if isinstance(value, dict) and "members" in value:
            # They come in the order of their IDs.
            value = {**value, "members": sorted(value["members"], key=lambda one: one.get("name", ""))}
        text = json.dumps(value)
        text = re.sub(r'"raft_term": "\d+"', '"raft_term": "T"', text)
        for port, word in self._own.items():
            text = re.sub(rf"\b{port}\b", word, text)
        return json.loads(_NAMES.sub(self._replace, text))

    def _replace(self, match: re.Match[str]) -> str:
        return self._names.setdefault(match[0], f"NAME{len(self._names)}")

    def _filled(self, text: str) -> str:
        for name, value in self.ids.items():
            text = text.replace(name, value)
        return text


def _parse(raw: bytes, content_type: str, streamed: bool) -> Any:
    if content_type != "application/json":
        return raw.decode()
    lines = [json.loads(line) for line in raw.splitlines()]
    return lines if streamed or not lines else lines[0]


@dataclass(frozen=True)
class Difference:
    """Where a later release than 3.5.1, or this one on purpose, answers otherwise."""

    name: str
    reason: str
    allows: Callable[[Asked, Told, Told], bool]
    """Given the request, what real etcd 3.5.1 told, and what the member under test told."""


def _status_body(asked: Asked, real: Told, ours: Told) -> bool:
    """What is left when the member's own is taken away must be equal."""
    own = (
        *("version", "dbSize", "dbSizeInUse", "raftIndex", "raftTerm", "raftAppliedIndex", "storageVersion"),
        *("dbSizeQuota", "downgradeInfo"),
    )
    if not asked.path.endswith("/maintenance/status"):
        return False
    left, right = ({k: v for k, v in one.body.items() if k not in own} for one in (real, ours))
    left, right = ({**one, "errors": [text.rstrip() for text in one.get("errors", ())]} for one in (left, right))
    return real.status == ours.status and left == right


DIFFERENCES = [
    Difference(
        "protojson",
        "3.6 and newer read JSON with protojson: places in complaints, no duplicates",
        lambda asked, real, ours: ours.status == 400 and ours.code == 3 and ours.message.startswith("proto: "),
    ),
    Difference(
        "lenient-json",
        "3.6 and newer take exponents, URL-safe and unpadded base64, and unknown enum names",
        lambda asked, real, ours: ours.status == 200 and real.status == 400 and real.code == 3,
    ),
    Difference(
        "sort-enums",
        "3.6 and newer refuse undeclared sort orders",
        lambda asked, real, ours: real.status == 200 and ours.message == "etcdserver: invalid sort option",
    ),
    Difference(
        "unknown-route",
        "3.6 and newer tell it as JSON",
        lambda asked, real, ours: (
            (real.status, real.body) == (404, "Not Found\n")
            and (ours.status, ours.message, ours.code) == (404, "Not Found", 5)
        ),
    ),
    Difference(
        "wrong-method",
        "3.6 and newer tell it as JSON, as UNIMPLEMENTED",
        lambda asked, real, ours: (
            (real.status, real.body) == (405, "Method Not Allowed\n")
            and (ours.status, ours.message, ours.code) == (501, "Method Not Allowed", 12)
        ),
    ),
    Difference(
        "stream-error",
        "3.5.1 gives a stream's malformed request no code",
        lambda asked, real, ours: (
            asked.path == "/v3/watch" and real.code == 2 and ours.status == 400 and ours.body["error"]["code"] == 3
        ),
    ),
    Difference("status-own", "what a release tells about itself", _status_body),
    Difference(
        "hashkv-route",
        "3.5.10 and newer have it",
        lambda asked, real, ours: (
            asked.path.endswith("/hashkv")
            and real.status == 404
            and {"header", "hash", "hash_revision"} <= set(ours.body)
        ),
    ),
    Difference(
        "hash",
        "rows of the member itself are in it",
        lambda asked, real, ours: asked.path.endswith("/hash") and {**real.body, "hash": 0} == {**ours.body, "hash": 0},
    ),
]


class Pair:
    """Real etcd and the member under test. Every request goes to both."""

    def __init__(self, real: MemberProcess, subject: MemberProcess) -> None:
        self.sides = (Web(real), Web(subject))
        self.used: dict[str, int] = {}

    def ask(self, asked: Asked, of: Callable[[Any], Any] = lambda body: body) -> Told:
        """What real etcd told. Fails when the other one tells something else that has no name; `of` says what of it is
        compared."""
        told = [side.ask(asked) for side in self.sides]
        real, ours = (
            Told(one.status, one.headers, side.plain(of(one.body))) for side, one in zip(self.sides, told, strict=True)
        )
        if real != ours:
            named = next((one.name for one in DIFFERENCES if one.allows(asked, real, ours)), None)
            assert named is not None, f"{asked}\n--- real:    {real}\n--- subject: {ours}"
            self.used[named] = self.used.get(named, 0) + 1
        return told[0]

    def learn(self, name: str, find: Callable[[Web], Any]) -> None:
        """Have `name` stand, in bodies, for what `find` finds on either side."""
        for side in self.sides:
            side.learn(name, find(side))
