"""Stock etcdctl as a witness: runs scripted commands against a cluster and keeps a transcript free of its names.

Two clusters that behave alike give equal transcripts. What may differ between them is replaced by a word: cluster and
member IDs, server-chosen lease IDs, addresses, versions, sizes, times and raft indexes; with several members the term
too, and then the order of what comes in the order of IDs is none.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from e2e_rpc import Client, Connect, connect_plain
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
    """etcdctl pointed at `member`; `others` are the members of its cluster that run as well.

    Of a guarded cluster `flags` have the certificates and root's password, and `connect` makes channels to it. The
    revisions that commands name count from `first`, the one that the store is at when the transcript begins."""

    binary: Path
    member: MemberProcess
    others: Sequence[MemberProcess] = ()
    flags: Sequence[str] = ()
    connect: Connect = connect_plain
    first: int = 1
    steps: list[Step] = field(default_factory=list)
    leases: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    """Of the members, in hex."""
    added: int = 0
    ran: list[tuple[str, int]] = field(default_factory=list)
    """Every command, without flags before it, and its exit status."""
    _names: list[tuple[re.Pattern[str], str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for number, member in enumerate((self.member, *self.others)):
            with Client(member.endpoint, self.connect) as client:
                status = client.call("Status", rpc_pb2.StatusRequest())
            assert status.ok, status
            header = status.message.header
            self.name_id(header.cluster_id, "CLUSTER")
            self.name_id(header.member_id, f"MEMBER{number or ''}")
            self.ids.append(f"{header.member_id:x}")
            self.name_addresses(member, str(number or ""))

    def name_addresses(self, member: MemberProcess, number: str) -> None:
        """From now on replace this member's addresses."""
        for port, word in ((member.client_port, "CLIENT"), (member.peer_port, "PEER")):
            self._names.append((re.compile(rf"127\.0\.0\.1:{port}\b"), word + number))

    def hide(self, text: str, word: str) -> None:
        """From now on replace this text."""
        self._names.append((re.compile(re.escape(text)), word))

    def name_id(self, number: int, word: str) -> None:
        self._names.append((re.compile(rf"\b({number}|{number:x}|{number:016x})\b"), f"<{word}>"))

    def run(
        self, *args: str, stdin: str = "", parse: type[Message] | None = None, env: dict[str, str] | None = None
    ) -> Step:
        """Run to the end. `parse`: standard output is that message in binary; compared as text without IDs."""
        done = subprocess.run(
            self._argv(args),
            input=self._counted(stdin).encode(),
            capture_output=True,
            timeout=60,
            env=self._env(args, env),
            check=False,
        )
        if parse is None:
            out = done.stdout.decode("utf-8", "backslashreplace")
        else:
            out = text_format.MessageToString(parse.FromString(done.stdout))
        return self._note(args, stdin, done.returncode, out, done.stderr.decode("utf-8", "replace"))

    def until(self, *args: str, refusal: str = "", timeout: float = 30.0) -> Step:
        """Run again and again until it succeeds, or is refused with this; only the last one counts."""
        before = len(self.steps)
        deadline = time.monotonic() + timeout
        while True:
            step = self.run(*args)
            del self.steps[before:]
            refused = bool(refusal) and refusal in step.errors
            if step.exit == 0 or refused or time.monotonic() > deadline:
                self.steps.append(step)
                return step
            time.sleep(0.1)

    def add(self, *args: str) -> str:
        """`member add` until it is allowed; returns the ID in hex and from now on replaces it by <NEWn>."""
        argv = ("member", "add", *args)
        deadline = time.monotonic() + 30.0
        while True:
            done = subprocess.run(self._argv(argv), capture_output=True, timeout=60, env=self._env(argv), check=False)
            out = done.stdout.decode()
            found = re.search(r"Member +([0-9a-f]+) added", out) or re.search(r'"member":\{"ID":(\d+)', out)
            if found is not None or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        number = 0 if found is None else int(found[1], 16 if found[0].startswith("Member") else 10)
        if number:
            self.name_id(number, f"NEW{self.added}")
            self.added += 1
        self._note(argv, "", done.returncode, out, done.stderr.decode())
        return f"{number:x}"

    def grant(self, ttl: int, *more: str) -> str:
        """`lease grant`; returns the ID in hex and from now on replaces it by <LEASEn>."""
        argv = self._argv(("lease", "grant", str(ttl), *more))
        done = subprocess.run(argv, capture_output=True, timeout=60, env=self._env(argv), check=False)
        out = done.stdout.decode()
        found = re.search(r"lease ([0-9a-f]{16}) granted", out) or re.search(r'"ID"\s?:\s?(\d+)', out)
        if found is None:
            self._note(("lease", "grant", str(ttl), *more), "", done.returncode, out, done.stderr.decode())
            return "0"
        text = found.group(1)
        number = int(text, 16) if found.re.pattern.startswith("lease") else int(text)
        self.name_id(number, f"LEASE{len(self.leases)}")
        self.leases.append(f"{number:016x}")
        self._note(("lease", "grant", str(ttl), *more), "", done.returncode, out, done.stderr.decode())
        return f"{number:016x}"

    @contextmanager
    def background(self, *args: str, env: dict[str, str] | None = None) -> Iterator[Background]:
        """A command that runs on its own; at the end of the block it is stopped by SIGTERM unless it has ended."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                self._argv(args), stdin=subprocess.PIPE, stdout=out, stderr=errors, env=self._env(args, env)
            )
            running = Background(process, out, self._counted)
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
        other = any(arg.startswith("--user=") for arg in args)
        flags = [flag for flag in self.flags if not (other and flag.startswith("--user="))]
        return [str(self.binary), *flags, *shlex.split(self._counted(shlex.join(args)))]

    def _counted(self, text: str) -> str:
        """The revisions in this text counted from `first`."""
        return REVISION.sub(lambda found: f"{found[1]}{int(found[2]) + self.first - 1}", text)

    def _env(self, args: Sequence[str], more: dict[str, str] | None = None) -> dict[str, str]:
        """etcdctl refuses to be told the endpoints twice."""
        given = any(arg.startswith("--endpoints=") for arg in args)
        return {**os.environ, **({} if given else {"ETCDCTL_ENDPOINTS": self.member.endpoint}), **(more or {})}

    def _note(self, args: tuple[str, ...], stdin: str, code: int, out: str, errors: str) -> Step:
        asked = " ".join(repr(a) if not re.fullmatch(r"[\w./=:-]+", a) else a for a in args)
        if stdin:
            asked += f" <<< {stdin!r}"
        self.ran.append((" ".join(itertools.dropwhile(lambda word: word.startswith("-"), args)), code))
        step = Step(self.plain(asked), code, self.plain(out), self.plain(_contract(errors)))
        if self.others or self.added:
            step = replace(step, out=_unordered(step.out), errors=_unordered(step.errors))
        self.steps.append(step)
        return step

    def plain(self, text: str) -> str:
        """The text with everything of this one member and this one moment replaced."""
        for pattern, word in self._names:
            text = pattern.sub(word, text)
        for pattern, word in (*MOMENTS, *(TERMS if self.others else ())):
            text = pattern.sub(word, text)
        return text


REVISION = re.compile(r"((?:--rev[ =]|\bcompaction ))([1-9]\d*)\b")

MOMENTS = [
    (re.compile(r"took = [\d.]+[mµn]?s"), "took = TIME"),
    (re.compile(r'"Took" : [^\n]*'), '"Took" : TIME'),
    (re.compile(r'"took":"[^"]*"'), '"took":"TIME"'),
    (re.compile(r"\b[\d.]+[mµn]s\b"), "TIME"),
    (re.compile(r"remaining\(\d+s\)"), "remaining(N s)"),
    (re.compile(r"(?<=/)[0-9a-f]{14,16}\b"), "<SESSION>"),
    (re.compile(r'"ttl":\d+'), '"ttl":N'),
    (re.compile(r'"TTL" : \d+(?=\n"GrantedTTL")'), '"TTL" : N'),
    (re.compile(r"\b\d+(\.\d+)? [kMG]?B\b"), "SIZE"),
    (re.compile(r'"(dbSize|dbSizeInUse|raftIndex|raftAppliedIndex)":\d+'), r'"\1":N'),
    (re.compile(r'"(DBSize|DBSizeInUse|RaftIndex|RaftAppliedIndex)" : \d+'), r'"\1" : N'),
    (re.compile(r"\b3\.\d+\.\d+\b"), "VERSION"),
    (re.compile(r"(VERSION, SIZE, \w+, \w+, \d+), \d+, \d+,"), r"\1, N, N,"),
    (re.compile(r"^[0-9a-f]+, (\d+), \d+, SIZE", re.MULTILINE), r"HASH, \1, N, SIZE"),
    (re.compile(r'"hash":\d+,("revision":\d+),"totalKey":\d+,"totalSize":\d+'), r'"hash":N,\1,"totalKey":N'),
    (re.compile(r"^\| +[0-9a-f]+ \| +(\d+) \| +\d+ \| +SIZE", re.MULTILINE), r"| HASH | \1 | N | SIZE"),
    (re.compile(r"(\| +\d+) \| +\d+ \| +\d+ \| +\|"), r"\1 | N | N | |"),
    (re.compile(r" +(?=<(CLUSTER|MEMBER|NEW))"), " "),  # IDs are padded at times
    (re.compile(r"-{3,}"), "---"),
    (re.compile(r"(?<=\|) +| +(?=\|)"), " "),
    (re.compile(r"(dbSize|dbSizeInUse|raftIndex|raftAppliedIndex): \d+"), r"\1: N"),
]

TERMS = [
    (re.compile(r'"(raft_term|raftTerm)":\d+'), r'"\1":N'),
    (re.compile(r"raft_term: \d+"), "raft_term: N"),
    (re.compile(r'"(RaftTerm)" : \d+'), r'"\1" : N'),
    (re.compile(r"(VERSION, SIZE, \w+, \w+), \d+,"), r"\1, N,"),
    (re.compile(r"\| \d+ (\| N \| N \|)"), r"| N \1"),
]


def _unordered(text: str) -> str:
    """Lines sorted, and what a list of JSON or of `name=URL` holds as well."""
    return "".join(sorted(_unordered_line(line) + "\n" for line in text.splitlines()))


def _unordered_line(line: str) -> str:
    if line.startswith('ETCD_INITIAL_CLUSTER="'):
        name, _, pairs = line.rstrip('"').partition('="')
        return f'{name}="{",".join(sorted(pairs.split(",")))}"'
    line = re.sub(r"(?<=keys\(\[)[^\]]+", lambda found: " ".join(sorted(found[0].split())), line)
    if not line.startswith(("{", "[")):
        return line
    try:
        return json.dumps(
            _sorted(json.loads(re.sub(r":N\b", ':"N"', re.sub(r"<\w+>", r'"\g<0>"', line)))), sort_keys=True
        )
    except ValueError:
        return line


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(held) for name, held in value.items()}
    if isinstance(value, list):
        return sorted(map(_sorted, value), key=lambda held: json.dumps(held, sort_keys=True))
    return value


def _contract(errors: str) -> str:
    """Of standard error only what is contract: the warnings and logs of the client are noise."""
    return "".join(line + "\n" for line in errors.splitlines() if not re.match(r"\{|\d{4}-\d\d-\d\d[T ]", line))


@dataclass
class Background:
    """A running command."""

    process: subprocess.Popen[bytes]
    out: IO[bytes]
    counted: Callable[[str], str]
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
        self.process.stdin.write(self.counted(line).encode() + b"\n")
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
