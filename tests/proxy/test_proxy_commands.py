"""`etcd gateway start` and `etcd grpc-proxy start` as processes, beside real etcd's, driven by stock etcdctl."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quorate.testing.process import QUORATE, free_port, real_binary

from proxy_support import Backend, serving  # isort: skip

REAL = real_binary("etcd")
ETCDCTL = real_binary("etcdctl")
PATIENCE = 15.0

pytestmark = pytest.mark.skipif(REAL is None or ETCDCTL is None, reason="no real etcd here")

MAKERS = {"quorate": QUORATE, "etcd": (str(REAL),)}


def refused(maker: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, and what of standard error is no line of a log."""
    done = subprocess.run([*MAKERS[maker], *arguments], capture_output=True, text=True, timeout=PATIENCE)
    errors = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("{"))
    return done.returncode, done.stdout, errors


@contextmanager
def running(maker: str, *arguments: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The command, once somebody listens at its port."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*MAKERS[maker], *arguments], stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + PATIENCE
            while not listens(port):
                log.seek(0)
                assert process.poll() is None and time.monotonic() < deadline, log.read().decode()
                time.sleep(0.02)
            yield process
        finally:
            process.kill()
            process.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def etcdctl(port: int, *arguments: str) -> str:
    """What it prints, on both streams, with its exit code."""
    done = subprocess.run(
        [str(ETCDCTL), f"--endpoints=127.0.0.1:{port}", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "ETCDCTL_API": "3"},
    )
    errors = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    return "\n".join([*done.stdout.splitlines(), *errors, f"exit {done.returncode}"])


REFUSALS = [
    (("gateway", "start", "--endpoints=a b"), "error parsing endpoint"),
    (("gateway", "start", "--listen-addr=x"), "failed to validate listen address: x"),
    (("gateway", "start", "--endpoints=127.0.0.1:23790"), "should not resolve to the gateway listen addr"),
    (("grpc-proxy", "start", "--resolver-prefix=a"), "invalid resolver-ttl 0"),
    (("grpc-proxy", "start", "--resolver-ttl=3"), 'invalid resolver-prefix ""'),
    (
        ("grpc-proxy", "start", "--resolver-ttl=3", "--resolver-prefix=a", "--advertise-client-url="),
        'invalid advertise-client-url ""',
    ),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSALS, ids=[words for _, words in REFUSALS])
def test_settings_are_refused_in_the_words_of_etcd(arguments: tuple[str, ...], words: str) -> None:
    own, real = refused("quorate", *arguments), refused("etcd", *arguments)
    assert [each.strip() if isinstance(each, str) else each for each in own] == [
        each.strip() if isinstance(each, str) else each for each in real
    ]
    assert own[0] == 1 and words in own[1] + own[2]


def test_an_unknown_flag_is_refused_and_help_is_given() -> None:
    for command in ("gateway", "grpc-proxy"):
        own, real = refused("quorate", command, "start", "--foo"), refused("etcd", command, "start", "--foo")
        assert own[0] == real[0] == 1
        assert own[2].splitlines()[0] == real[2].splitlines()[0] == "Error: unknown flag: --foo"
        assert refused("quorate", command)[0] == refused("etcd", command)[0] == 0
        assert "--listen-addr '127.0.0.1:23790'" in refused("quorate", command, "start", "--help")[1]


def test_every_flag_of_etcd_is_known_with_its_default() -> None:
    for command in ("gateway", "grpc-proxy"):
        real = refused("etcd", command, "start", "--help")
        own = refused("quorate", command, "start", "--help")[1]
        names = {word for word in (real[1] + real[2]).split() if word.startswith("--") and len(word) > 4}
        assert len(names) > 7
        assert [name for name in sorted(names - {"--help"}) if name not in own] == []


SCRIPT: list[tuple[str, ...]] = [
    ("put", "a", "1"),
    ("put", "b", "2"),
    ("get", "a"),
    ("get", "a", "--consistency=s"),
    ("get", "a", "--consistency=s"),
    ("get", "", "--prefix", "--keys-only"),
    ("put", "a", "3", "--prev-kv"),
    ("get", "a", "--consistency=s"),
    ("del", "b"),
    ("del", "nothing"),
    ("get", "a", "--rev=2"),
    ("compact", "3"),
    ("get", "a", "--rev=2"),
    ("watch", "a", "--rev=1"),
    ("put", ""),
    ("lease", "revoke", "1234"),
    ("lease", "keep-alive", "--once", "1234"),
    ("lease", "timetolive", "1234"),
    ("alarm", "list"),
    ("lock", "l", "echo", "held"),
    ("role", "add", "r"),
    ("role", "grant-permission", "r", "read", "a", "c"),
    ("role", "get", "r"),
    ("user", "add", "u:p"),
    ("user", "grant-role", "u", "r"),
    ("user", "get", "u"),
    ("user", "add", "root:root"),
    ("user", "grant-role", "root", "root"),
    ("auth", "enable"),
    ("get", "a"),
    ("--user=u:p", "get", "a"),
    ("--user=u:p", "get", "a", "--consistency=s"),
    ("--user=u:p", "put", "a", "x"),
    ("--user=u:p", "get", "z", "--consistency=s"),
    ("--user=u:wrong", "get", "a"),
    ("--user=root:root", "put", "a", "y"),
    ("--user=root:root", "auth", "disable"),
    ("member", "remove", "1234"),
]


@pytest.mark.parametrize("command", ["gateway", "grpc-proxy"])
async def test_etcdctl_sees_the_same_through_ours_as_through_etcds(
    command: str, backend: Backend, tmp_path: Path
) -> None:
    """The same script through both, each in front of a member of its own; `backend` says of which kind ours is."""
    async with serving("etcd", tmp_path / "other") as other:
        told = {}
        for maker, member in (("quorate", backend), ("etcd", other)):
            port = free_port()
            flags = (f"--endpoints={member.endpoint}", f"--listen-addr=127.0.0.1:{port}")
            with running(maker, command, "start", *flags, port=port):
                told[maker] = [await asyncio.to_thread(etcdctl, port, *line) for line in SCRIPT]
    differing = [
        (line, own, real) for line, own, real in zip(SCRIPT, told["quorate"], told["etcd"], strict=True) if own != real
    ]
    assert not differing


async def test_etcdctl_watches_and_is_elected_through_ours(backend: Backend) -> None:
    port = free_port()
    flags = (f"--endpoints={backend.endpoint}", f"--listen-addr=127.0.0.1:{port}")

    def play() -> None:
        watch = subprocess.Popen(
            [str(ETCDCTL), f"--endpoints=127.0.0.1:{port}", "watch", "k", "--prefix", "--prev-kv", "-w=json"],
            stdout=subprocess.PIPE,
            text=True,
        )
        elect = subprocess.Popen(
            [str(ETCDCTL), f"--endpoints=127.0.0.1:{port}", "elect", "e", "me"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert elect.stdout is not None and watch.stdout is not None
            assert elect.stdout.readline().startswith("e/")
            found: list[str] = []
            number = 0
            while not found:  # until the watch is open
                number += 1
                assert etcdctl(port, "put", "k1", str(number)) == "OK\nexit 0"
                os.set_blocking(watch.stdout.fileno(), False)
                found = [line for line in watch.stdout.readlines() if line.strip()]
            assert "PUT" in found[0] or json.loads(found[0])["Events"]
            elect.send_signal(signal.SIGINT)
            elect.wait(PATIENCE)
            assert etcdctl(port, "get", "e/", "--prefix") == "exit 0"
        finally:
            for process in (watch, elect):
                process.kill()
                process.wait()

    with running("quorate", "grpc-proxy", "start", *flags, port=port) as process:
        await asyncio.to_thread(play)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, PATIENCE) == -signal.SIGTERM
