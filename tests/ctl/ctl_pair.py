"""Two clients that are told the same, and what they answer, without what must differ: ids, ports, times."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from quorate.testing.process import Command

OURS: Command = (sys.executable, "-m", "quorate.cmd.ctl")
LEASE = re.compile(rb"lease ([0-9a-f]{16}) granted")
LEFT = re.compile(rb'(remaining\(|"ttl":|"TTL" : )9\d\d(?!\d)')
"""What is left of a lease of 1000 seconds: the seconds go by."""
MEMBER = re.compile(rb"Member +([0-9a-f]{1,16}) added")
TIMEOUT = 60.0


class Answer(NamedTuple):
    code: int
    out: bytes
    err: bytes


class Side:
    """One client with its server. `names` are replaced in words as `{name}`, and in answers by `<name>`."""

    def __init__(self, command: Command, endpoint: str) -> None:
        self.command = command
        self.endpoint = endpoint
        self.names: dict[str, str] = {"endpoint": endpoint, "port": endpoint.rpartition(":")[2]}
        self.numbers: dict[str, int] = {}

    def learn(self, name: str, number: int) -> None:
        """An id that this side alone has."""
        self.numbers[name] = number
        self.names[name] = f"{number:x}"

    def argv(self, words: Sequence[str]) -> list[str]:
        given = [word.format(**self.names) if "{" in word else word for word in words]
        asks = [] if any(word.startswith("--endpoints") for word in given) else ["--endpoints", self.endpoint]
        return [*self.command, *asks, *given]

    def environ(self, more: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ETCDCTL_")}
        return {**kept, **more}

    def run(self, words: Sequence[str], stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Answer:
        done = subprocess.run(
            self.argv(words),
            input=stdin,
            capture_output=True,
            timeout=TIMEOUT,
            env=self.environ(env or {}),
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def start(self, words: Sequence[str], env: Mapping[str, str] | None = None) -> Started:
        return Started(self, self.argv(words), self.environ(env or {}))

    def shown(self, answer: Answer) -> Answer:
        """The answer with names in place of what differs."""
        for found in LEASE.finditer(answer.out):
            self.learn("lease", int(found[1], 16))
        for found in MEMBER.finditer(answer.out):
            self.learn("member", int(found[1], 16))
        return Answer(answer.code, self._plain(_without_help(answer.out)), self._plain(_without_logs(answer.err)))

    def _plain(self, text: bytes) -> bytes:
        for name, number in self.numbers.items():
            for form in (b"%016x" % number, b"%16x" % number, b"%x" % number, b"%d" % number, _varint(number)):
                text = text.replace(form, b"<%s>" % name.encode())
        text = LEFT.sub(rb"\1<left>", text)
        return text.replace(self.endpoint.encode(), b"<endpoint>")


class Started:
    """A client that goes on."""

    def __init__(self, side: Side, argv: list[str], env: dict[str, str]) -> None:
        self.side = side
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, bufsize=0
        )
        self.out = b""
        assert self.process.stdout is not None and self.process.stdin is not None
        os.set_blocking(self.process.stdout.fileno(), False)

    def type(self, text: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)

    def wait_for(self, enough: Callable[[bytes], bool]) -> None:
        """Until stdout is as it should be."""
        assert self.process.stdout is not None
        until = time.monotonic() + TIMEOUT
        while not enough(self.out):
            assert time.monotonic() < until, self.out
            part = self.process.stdout.read()
            if part:
                self.out += part
            else:
                assert part is None or self.process.poll() is None, (self.out, self.process.communicate()[1])
                time.sleep(0.01)

    def end(self, number: int | None = signal.SIGINT) -> Answer:
        """Send a signal (None: close stdin alone) and wait."""
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), True)
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=TIMEOUT)
        return Answer(self.process.returncode, self.out + out, err)


class Pair:
    """`same` tells both the same and holds their answers against each other."""

    def __init__(self, stock: Side, ours: Side) -> None:
        self.stock, self.ours = stock, ours

    def same(
        self,
        *words: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        tidy: Callable[[bytes], bytes] = bytes,
    ) -> Answer:
        """What both answered. `tidy` takes out of stdout and stderr what else may differ."""
        expected, found = (
            side.shown(Answer(answer.code, tidy(answer.out), tidy(answer.err)))
            for side in (self.stock, self.ours)
            for answer in [side.run(words, stdin, env)]
        )
        assert found == expected, f"etcdctl {' '.join(words)}\nstock: {expected}\nours:  {found}"
        return found

    def same_started(
        self,
        *words: str,
        enough: Callable[[bytes], bool],
        typed: bytes = b"",
        meanwhile: Sequence[Sequence[str]] = (),
        number: int | None = signal.SIGINT,
        env: Mapping[str, str] | None = None,
    ) -> Answer:
        """The same for clients that end by a signal, when they have printed enough."""
        answers = []
        for side in (self.stock, self.ours):
            started = side.start(words, env)
            try:
                started.type(typed)
                for more in meanwhile:
                    side.run(more)
                started.wait_for(enough)
            finally:
                answer = started.end(number)
            answers.append(side.shown(answer))
        assert answers[1] == answers[0], f"etcdctl {' '.join(words)}\nstock: {answers[0]}\nours:  {answers[1]}"
        return answers[1]


def _without_help(out: bytes) -> bytes:
    """Help is in words of our own."""
    return b"<help>\n" if out.startswith(b"NAME:\n") else out


def _without_logs(err: bytes) -> bytes:
    return b"".join(line for line in err.splitlines(keepends=True) if not line.startswith((b'{"level":', b"stty:")))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
