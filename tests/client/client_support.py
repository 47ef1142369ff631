"""Both kinds of the client behind one face, and a server to ask.

A test is written once, for the asyncio client. `Awaited` gives the sync twin that face: each call runs in a thread
that is not the loop's, so that what the twin does is what a program with threads would see.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any, cast

import pytest

import quorate.client
import quorate.client.sync
from quorate import embed
from quorate.client import Client, Tls
from quorate.client.sync.base import Twin
from quorate.embed import Etcd, RunningEtcd
from quorate.testing.certificates import Authority
from quorate.testing.process import QUORATE, MemberProcess, free_port, real_binary

KINDS = ("async", "sync")
WIRES = ("tcp", "tls", "unix")
SERVERS = ("quorate", "etcd")
INSIDE = ("quorate", "inside")
"""A member in this process: on a loop of its own for threads, on the test's loop for the asyncio client."""
PLACES = [pytest.param(place, id="-".join(place)) for place in [*product(SERVERS, WIRES), INSIDE]]
MEMORY = {"in_memory": True, "listen": False, "bcrypt_cost": 4}
END = object()


class Awaited:
    """A twin with the face of the async object it stands for: what is awaited there is awaited here."""

    def __init__(self, twin: Twin[Any]) -> None:
        self.twin = twin
        self.form = type(twin._inner)

    def __getattr__(self, name: str) -> Any:
        form = getattr(self.form, name, None)
        given = getattr(self.twin, name)
        if inspect.iscoroutinefunction(form):
            return lambda *args, **more: self._later(given, *args, **more)
        if inspect.isasyncgenfunction(form):
            return lambda *args, **more: self._iterate(given(*args, **more))
        if inspect.isfunction(form):
            return lambda *args, **more: awaited(given(*map(bare, args), **more))
        return awaited(given)

    async def _later(self, function: Callable[..., Any], *args: Any, **more: Any) -> Any:
        return awaited(await asyncio.to_thread(function, *map(bare, args), **more))

    async def _iterate(self, items: Any) -> AsyncIterator[Any]:
        try:
            while (item := await asyncio.to_thread(next, items, END)) is not END:
                yield awaited(item)
        finally:
            await asyncio.to_thread(items.close)

    async def __aenter__(self) -> Awaited:
        assert await asyncio.to_thread(self.twin.__enter__) is self.twin  # type: ignore[attr-defined]
        return self

    async def __aexit__(self, *reason: Any) -> None:
        await asyncio.to_thread(self.twin.__exit__, *reason)  # type: ignore[attr-defined]

    def __aiter__(self) -> Awaited:
        return self

    async def __anext__(self) -> Any:
        item = await asyncio.to_thread(next, self.twin, END)  # type: ignore[call-overload]
        if item is END:
            raise StopAsyncIteration
        return item


def awaited(value: Any) -> Any:
    return Awaited(value) if isinstance(value, Twin) else value


def bare(value: Any) -> Any:
    return value.twin if isinstance(value, Awaited) else value


@dataclass
class Server:
    """A server and the way to it: a process or a member in this one."""

    name: str
    wire: str
    endpoint: str = ""
    tls: Tls | None = None
    process: MemberProcess | None = None
    running: RunningEtcd | None = None
    etcd: Etcd | None = None
    """On the loop of the test."""

    @property
    def member(self) -> MemberProcess:
        assert self.process is not None
        return self.process

    def connect(self, kind: str, **more: Any) -> Client:
        """A client of one kind, to be closed."""
        if self.wire != "inside":
            return connect(kind, self.endpoint, tls=self.tls, **more)
        if kind == "async":
            assert self.etcd is not None
            return self.etcd.client(**more)
        assert self.running is not None
        return cast(Client, Awaited(self.running.client(**more)))


def connect(kind: str, endpoints: str, **more: Any) -> Client:
    if kind == "async":
        return quorate.client.connect(endpoints, **more)
    return cast(Client, Awaited(quorate.client.sync.connect(endpoints, **more)))


@contextmanager
def serving(place: tuple[str, str], authority: Authority, factory: pytest.TempPathFactory) -> Iterator[Server]:
    name, wire = place
    if place == INSIDE:
        with embed.start(**MEMORY) as running:
            yield Server(name, wire, running=running)
        return
    binary = real_binary("etcd")
    if name == "etcd" and binary is None:
        pytest.skip("no real etcd here")
    command = QUORATE if name == "quorate" else (str(binary),)
    flags, tls, scheme = ["--unsafe-no-fsync", "--bcrypt-cost=4"], None, "http"
    if wire == "tls":
        own = authority.issue("server", hosts=["127.0.0.1"])
        flags += [f"--cert-file={own.cert}", f"--key-file={own.key}"]
        tls, scheme = Tls(ca=authority.ca), "https"
    folder, port = factory.mktemp("server"), free_port()
    if wire == "unix":  # etcd takes no path, and makes the socket where it runs
        command = ("env", "-C", str(folder), *command)
        flags += [f"--listen-client-urls=http://127.0.0.1:{port},unix://localhost:{port}"]
    with MemberProcess(folder / "data", command=command, flags=flags, client_scheme=scheme, client_port=port) as member:
        endpoint = f"unix://{folder}/localhost:{port}" if wire == "unix" else member.endpoint
        yield Server(name, wire, endpoint, tls, member)
