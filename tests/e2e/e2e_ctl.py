"""Stock etcdctl as a witness: runs scripted commands against one member and keeps a transcript free of its names.

Two members that behave alike give equal transcripts. What may differ between them is replaced by a word: cluster and
member IDs, server-chosen lease IDs, addresses, versions, sizes, times and raft indexes.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from e2e_rpc import Client
from google.protobuf import text_format
from google.protobuf.message import Message

from quorate.api.pb import rpc_pb2
from quorate.testing.process import MemberProcess

PATIENCE = 10.0


@dataclass(frozen=True)
class Step:
    """One command as it was asked and what came of it, names replaced."""

    asked: str
    exit: int
    out: str
    errors: str

    def __str__(self) -> str:
        return f"$ etcdctl {self.asked}\n{self.out}{self.errors}[exit {self.exit}]"


@dataclass
class Ctl:
    """etcdctl pointed at one member."""

    binary: Path
    member: MemberProcess
    steps: list[Step] = field(default_factory=list)
    leases: list[str] = field(default_factory=list)
    _names: list[tuple[re.Pattern[str], str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        with Client(self.member.endpoint) as client:
            status = client.call("Status", rpc_pb2.StatusRequest())
        assert status.ok, status
        header = status.message.header
        self._name_id(header.cluster_id, "CLUSTER")
        self._name_id(header.member_id, "MEMBER")
        for port, word in ((self.member.client_port, "CLIENT"), (self.member.peer_port, "PEER")):
            self._names.append((re.compile(rf"127\.0\.0\.1:{port}\b"), word))

    def _name_id(self, number: int, word: str) -> None:
        self._names.append((re.compile(rf"\b({number}|{number:x}|{number:016x})\b"), f"<{word}>"))

    def run(
        self, *args: str, stdin: str = "", parse: type[Message] | None = None, env: dict[str, str] | None = None
    ) -> Step:
        """Run to the end. `parse`: standard output is that message in binary; compared as text without IDs."""
        done = subprocess.run(
            self._argv(args), input=stdin.encode(), capture_output=True, timeout=60, env=self._env(env), check=False
        )
        if parse is None:
            out = done.stdout.decode("utf-8", "backslashreplace")
        else:
            out = text_format.MessageToString(parse.FromString(done.stdout))
        return self._note(args, stdin, done.returncode, out, done.stderr.decode("utf-8", "replace"))

    def grant(self, ttl: int, *more: str) -> str:
        """`lease grant`; returns the ID in hex and from now on replaces it by <LEASEn>."""
        argv = self._argv(("lease", "grant", str(ttl), *more))
        done = subprocess.run(argv, capture_output=True, timeout=60, env=self._env(None), check=False)
        out = done.stdout.decode()
        found = re.search(r"lease ([0-9a-f]{16}) granted", out) or re.search(r'"ID"\s?:\s?(\d+)', out)
        if found is None:
            self._note(("lease", "grant", str(ttl), *more), "", done.returncode, out, done.stderr.decode())
            return "0"
        text = found.group(1)
        number = int(text, 16) if found.re.pattern.startswith("lease") else int(text)
        self._name_id(number, f"LEASE{len(self.leases)}")
        self.leases.append(f"{number:016x}")
        self._note(("lease", "grant", str(ttl), *more), "", done.returncode, out, done.stderr.decode())
        return f"{number:016x}"

    @contextmanager
    def background(self, *args: str, env: dict[str, str] | None = None) -> Iterator[Background]:
        """A command that runs on its own; at the end of the block it is stopped by SIGTERM unless it has ended."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                self._argv(args), stdin=subprocess.PIPE, stdout=out, stderr=errors, env=self._env(env)
            )
            running = Background(process, out)
            try:
                yield running
            finally:
                if process.poll() is None and not running.expect_end:
                    process.send_signal(signal.SIGTERM)
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                if process.stdin is not None:
                    process.stdin.close()
            errors.seek(0)
            self._note(
                args, running.typed, process.returncode, running.output(), errors.read().decode("utf-8", "replace")
            )

    def say(self, text: str) -> None:
        """A line of the transcript that is not a command."""
        self.steps.append(Step(f"# {text}", 0, "", ""))

    def _argv(self, args: tuple[str, ...]) -> list[str]:
        return [str(self.binary), *args]

    def _env(self, more: dict[str, str] | None) -> dict[str, str]:
        return {**os.environ, "ETCDCTL_ENDPOINTS": self.member.endpoint, **(more or {})}

    def _note(self, args: tuple[str, ...], stdin: str, code: int, out: str, errors: str) -> Step:
        asked = " ".join(repr(a) if not re.fullmatch(r"[\w./=:-]+", a) else a for a in args)
        if stdin:
            asked += f" <<< {stdin!r}"
        step = Step(self.plain(asked), code, self.plain(out), self.plain(_contract(errors)))
        self.steps.append(step)
        return step

    def plain(self, text: str) -> str:
        """The text with everything of this one member and this one moment replaced."""
        for pattern, word in self._names:
            text = pattern.sub(word, text)
        for pattern, word in MOMENTS:
            text = pattern.sub(word, text)
        return text


MOMENTS = [
    (re.compile(r"took = [\d.]+[mµn]?s"), "took = TIME"),
    (re.compile(r'"Took" : [^\n]*'), '"Took" : TIME'),
    (re.compile(r'"took":"[^"]*"'), '"took":"TIME"'),
    (re.compile(r"\b[\d.]+[mµn]s\b"), "TIME"),
    (re.compile(r"remaining\(\d+s\)"), "remaining(N s)"),
    (re.compile(r'"ttl":\d+'), '"ttl":N'),
    (re.compile(r'"TTL" : \d+(?=\n"GrantedTTL")'), '"TTL" : N'),
    (re.compile(r"\b\d+(\.\d+)? [kMG]?B\b"), "SIZE"),
    (re.compile(r'"(dbSize|dbSizeInUse|raftIndex|raftAppliedIndex)":\d+'), r'"\1":N'),
    (re.compile(r'"(DBSize|DBSizeInUse|RaftIndex|RaftAppliedIndex)" : \d+'), r'"\1" : N'),
    (re.compile(r"\b3\.\d+\.\d+\b"), "VERSION"),
    (re.compile(r"(VERSION, SIZE, \w+, \w+, \d+), \d+, \d+,"), r"\1, N, N,"),
    (re.compile(r"(\| +\d+) \| +\d+ \| +\d+ \| +\|"), r"\1 | N | N | |"),
    (re.compile(r"-{3,}"), "---"),
    (re.compile(r"(?<=\|) +| +(?=\|)"), " "),
    (re.compile(r"(dbSize|dbSizeInUse|raftIndex|raftAppliedIndex): \d+"), r"\1: N"),
]


def _contract(errors: str) -> str:
    """Of standard error only what is contract: the JSON warnings of the client are noise."""
    return "".join(line + "\n" for line in errors.splitlines() if not line.startswith("{"))


@dataclass
class Background:
    """A running command."""

    process: subprocess.Popen[bytes]
    out: IO[bytes]
    typed: str = ""
    expect_end: bool = False

    def output(self) -> str:
        size = os.fstat(self.out.fileno()).st_size
        return os.pread(self.out.fileno(), size, 0).decode("utf-8", "backslashreplace")

    def until(self, text: str, count: int = 1, timeout: float = PATIENCE) -> bool:
        """Wait until the output holds `text` so many times; False when it never does."""
        return self._wait(lambda: self.output().count(text) >= count, timeout)

    def until_ended(self, timeout: float = PATIENCE) -> bool:
        self.expect_end = True
        return self._wait(lambda: self.process.poll() is not None, timeout)

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.typed += line + "\n"
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def _wait(self, condition: Callable[[], bool], timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline or (self.process.poll() is not None and not condition()):
                return condition()
            time.sleep(0.01)
        return True


def difference(left: list[Step], right: list[Step]) -> str:
    """Every step that differs, with both outcomes; empty when none does."""
    lines = []
    for number, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            lines.append(f"--- step {number}, first member:\n{a}\n--- second member:\n{b}\n")
    if len(left) != len(right):
        lines.append(f"{len(left)} steps against {len(right)}")
    return "\n".join(lines)
