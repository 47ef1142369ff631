"""What a start is refused for: the same exit code and the same words as real etcd 3.5.1, from each way to set it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from quorate.cmd import etcd
from quorate.embed import Etcd
from quorate.testing.process import real_binary

pytestmark = pytest.mark.real

Answer = tuple[int, str]

COMMAND_LINES = [
    "foo --name=x",
    "-- version",
    "-",
    "--name",
    "--nope",
    "--heartbeat-interval=abc",
    "--heartbeat-interval=-1",
    "--pre-vote=maybe",
    "--initial-cluster-state=foo",
    "--discovery-fallback=foo",
    "--v2-deprecation=foo",
    "--proxy=foo",
    "--cors=foo",
    "--listen-client-urls=http://127.0.0.1",
    "--listen-client-urls=ftp://127.0.0.1:1",
    "--listen-client-urls=http://127.0.0.1:1/x",
    "--grpc-keepalive-min-time=5",
    "--quota-backend-bytes=1.5",
    "--logger=capnslog",
    "--logger=bad",
    "--log-level=bad",
    "--log-outputs=default,stdout",
    "--enable-log-rotation",
    "--enable-log-rotation --log-outputs=a.log,b.log",
    "--enable-log-rotation --log-outputs=a.log --log-rotation-config-json={",
    '--enable-log-rotation --log-outputs=a.log --log-rotation-config-json={"maxsize":"a"}',
    "--listen-peer-urls=http://example.com:2380",
    "--initial-advertise-peer-urls=http://:2380",
    "--heartbeat-interval=0",
    "--election-timeout=0",
    "--heartbeat-interval=300",
    "--election-timeout=50001",
    "--listen-client-urls=http://127.0.0.1:1",
    "--auto-compaction-mode=foo",
    "--auto-compaction-retention=foo",
    "--name=zz --initial-cluster=a=http://localhost:2380",
    "--initial-cluster=default=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2390",
    "--cipher-suites=foo",
    "--auth-token=bad",
    "--config-file=missing.yml",
]
VARIABLES = [
    {"ETCD_HEARTBEAT_INTERVAL": "abc"},
    {"ETCD_PRE_VOTE": "maybe"},
    {"ETCD_LISTEN_CLIENT_URLS": "foo"},
    {"ETCD_CONFIG_FILE": "missing.yml"},
    {"ETCD_ELECTION_TIMEOUT": "50001"},
]
FILES = [
    "name: 3",
    "heartbeat-interval: abc",
    'heartbeat-interval: "100"',
    "heartbeat-interval: -1",
    "max-txn-ops: 1.5",
    "pre-vote: 1",
    "listen-peer-urls: foo",
    "log-outputs: stderr",
    "log-outputs: [1]",
    "grpc-keepalive-min-time: 5s",
    "auto-compaction-retention: 5",
    "initial-cluster-state: foo",
    "cors: foo",
    "election-timeout: 50001",
    "log-level: bad",
    "cipher-suites: [foo]",
    "NAME: 3",
]


def core(text: str) -> str:
    """The last `error` of a log line; else the first line, without what Go puts around it."""
    lines = text.strip().splitlines()
    for line in reversed(lines):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if "error" in found:
            return str(found["error"])
    first = lines[0].removeprefix("panic: ")
    return first.partition("unexpected error")[2] or first


def real(folder: Path, words: list[str], environment: dict[str, str]) -> Answer:
    command = real_binary("etcd")
    if command is None:
        pytest.skip("no real etcd")
    ended = subprocess.run(
        [command, *words], capture_output=True, text=True, timeout=10, cwd=folder, env={**os.environ, **environment}
    )
    return ended.returncode, core(ended.stderr)


def ours(
    folder: Path,
    words: list[str],
    environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Answer:
    def bind(_: Etcd, url: str) -> None:
        raise OSError(f"nothing is refused: it would listen at {url}")

    monkeypatch.setattr(Etcd, "_bind", bind)
    monkeypatch.chdir(folder)
    code = etcd.run(words, environment)
    return code, core(capsys.readouterr().err)


def same(found: Answer, expected: Answer) -> bool:
    """Hints may follow the words; how names were resolved is told in another way since."""
    words, wanted = (text.partition(" (")[0] if "(resolved" in text else text for _, text in (found, expected))
    wanted = re.sub("^'(.*)' is not a valid flag$", r'"\1" is not a valid flag', wanted)  # since 3.6
    return found[0] == expected[0] and (words == wanted or words.startswith(wanted + " ("))


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_a_command_line(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = real(tmp_path, line.split(" "), {})
    found = ours(tmp_path, line.split(" "), {}, capsys, monkeypatch)
    assert same(found, expected), (found, expected)


@pytest.mark.parametrize("environment", VARIABLES, ids=lambda found: next(iter(found)))
def test_a_variable(
    environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = real(tmp_path, [], environment)
    found = ours(tmp_path, [], environment, capsys, monkeypatch)
    assert same(found, expected), (found, expected)


@pytest.mark.parametrize("text", FILES)
def test_a_file(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.yml").write_text(text + "\n")
    expected = real(tmp_path, ["--config-file=c.yml"], {})
    found = ours(tmp_path, ["--config-file=c.yml"], {}, capsys, monkeypatch)
    assert same(found, expected), (found, expected)


def test_a_file_that_is_no_yaml_names_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.yml").write_text("name: m\nlog-outputs: [1\n")
    words = ["--config-file=c.yml"]
    for code, text in (real(tmp_path, words, {}), ours(tmp_path, words, {}, capsys, monkeypatch)):
        assert code == 1
        assert text.startswith("error converting YAML to JSON: yaml: line ")


def told(text: str) -> set[tuple[str, ...]]:
    """What is said about variables."""
    found = set()
    for line in text.splitlines():
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        if "environment variable" in fields["msg"]:
            rest = {name: value for name, value in fields.items() if name not in ("ts", "caller", "stacktrace")}
            found.add(tuple(f"{name}={value}" for name, value in sorted(rest.items())))
    return found


@pytest.mark.parametrize(
    "environment",
    [
        {"ETCD_NAME": "q", "ETCD_NONSENSE": "1", "ETCD_ELECTION_TIMEOUT": "50001"},
        {"ETCD_HEARTBEAT_INTERVAL": "7", "ETCD_HEARTBEAT": "7"},
    ],
    ids=["used", "shadowed"],
)
def test_what_is_said_about_variables(
    environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = real_binary("etcd")
    if command is None:
        pytest.skip("no real etcd")
    words = ["--heartbeat-interval=7"] if "ETCD_HEARTBEAT" in environment else []
    known = {name: text for name, text in os.environ.items() if not name.startswith("ETCD_")}
    ended = subprocess.run(
        [command, *words], capture_output=True, text=True, timeout=10, cwd=tmp_path, env={**known, **environment}
    )
    monkeypatch.chdir(tmp_path)
    assert etcd.run(words, environment) == ended.returncode == 1
    assert told(capsys.readouterr().err) == told(ended.stderr) != set()
