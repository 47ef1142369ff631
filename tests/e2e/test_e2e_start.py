"""A member that cannot start ends at once: a bad status, one line that says why, no stack trace, nobody harmed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e_rpc import Client

from quorate.testing.process import Command, MemberProcess, free_port

START = Callable[..., MemberProcess]
SECONDS = 20.0


def end_of(member: MemberProcess, *words: str, status: int | None = None) -> str:
    """Start it and wait for its end; its last words must have one of these in them."""
    member.spawn()
    try:
        code = member.wait_exit(SECONDS)
    except subprocess.TimeoutExpired:
        pytest.fail(f"still running after {SECONDS} s\n{member.log()[-2000:]}")
    log = member.log()
    assert code > 0, f"status {code}\n{log[-2000:]}"
    assert status is None or code == status, f"status {code}, expected {status}\n{log[-2000:]}"
    assert any(word.lower() in log.lower() for word in words), f"none of {words} in\n{log[-2000:]}"
    assert "Traceback (most recent call last)" not in log, log[-3000:]
    return log


def test_a_second_process_on_the_same_data_dir_is_refused(
    start_member: START, subject_is_real: bool, tmp_path: Path
) -> None:
    if subject_is_real:
        pytest.skip("real etcd waits for the lock")
    first = start_member()
    second = start_member(run=False)
    second.data_dir = first.data_dir
    second.log_path = tmp_path / "second.log"
    end_of(second, "lock", "in use", "another process")
    with Client(first.endpoint) as client:
        assert client.put(b"k", b"v").ok
    assert first.stop() in (0, -15, 143)
    first.start()
    with Client(first.endpoint) as client:
        assert client.get(b"k").message.kvs[0].value == b"v"


@pytest.mark.parametrize("which", ["client_port", "peer_port"])
def test_a_taken_port_is_named(start_member: START, which: str) -> None:
    member = start_member(run=False)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", getattr(member, which)))
        holder.listen()
        log = end_of(member, "address already in use", status=1)
    assert str(getattr(member, which)) in log


BAD_FLAGS = [
    (("--listen-client-urls=http://127.0.0.1",), 2, "host:port"),
    (("--listen-client-urls=ftp://127.0.0.1:2379",), 2, "URL scheme must be http, https, unix, or unixs"),
    (("--listen-peer-urls=http://127.0.0.1:1/path",), 2, "URL must not contain a path"),
    (("--no-such-flag",), 2, "flag provided but not defined: -no-such-flag"),
    (("--heartbeat-interval=abc",), 2, 'invalid value "abc" for flag -heartbeat-interval'),
    (("--initial-cluster-state=foo",), 2, 'invalid value "foo" for flag -initial-cluster-state'),
    (("--listen-client-urls=http://example.com:2379",), 1, "expected IP in URL for binding"),
    (("--heartbeat-interval=300", "--election-timeout=1000"), 1, "should be at least as 5 times as"),
    (("--election-timeout=50001",), 1, "is too long, and should be set less than 50000ms"),
    (("--auto-compaction-mode=foo",), 1, 'unknown auto-compaction-mode \\"foo\\"'),
    (("--name=zz",), 1, "couldn't find local name"),
    (("positional",), 1, "is not a valid flag"),
]


@pytest.mark.parametrize(("flags", "status", "text"), BAD_FLAGS, ids=[flags[0] for flags, _, _ in BAD_FLAGS])
def test_a_bad_flag_ends_the_start_as_in_etcd(
    start_member: START, flags: tuple[str, ...], status: int, text: str
) -> None:
    member = start_member(flags=flags, run=False)
    member.spawn()
    code = member.wait_exit(SECONDS)
    log = member.log()
    assert code == status, f"status {code}\n{log[-2000:]}"
    assert text in log or text.replace('\\"', '"') in log, log[-3000:]
    assert "Traceback (most recent call last)" not in log, log[-3000:]


def test_a_data_dir_below_a_file_is_refused(start_member: START, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    member = start_member(run=False)
    member.data_dir = tmp_path / "file" / "data"
    end_of(member, "not a directory")


def test_an_unreadable_data_dir_is_refused(start_member: START, tmp_path: Path, subject_command: Command) -> None:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root to become somebody else")
    nobody = pwd.getpwnam("nobody")
    become = ("setpriv", f"--reuid={nobody.pw_uid}", "--clear-groups")
    if subprocess.run([*become, *subject_command, "--version"], capture_output=True, check=False).returncode:
        pytest.skip("another user cannot run it here")
    member = start_member((*become, *subject_command), run=False)
    member.data_dir = tmp_path / "closed"
    member.data_dir.mkdir(mode=0o700)
    end_of(member, "permission denied")


@pytest.mark.real
def test_a_data_dir_of_real_etcd_is_refused_and_left_whole(
    start_member: START, real_command: Command, subject_is_real: bool
) -> None:
    """The log has the same format, the store has not: to start would lose what only the store holds."""
    if subject_is_real:
        pytest.skip("one must not be the other")
    other = start_member(real_command)
    with Client(other.endpoint) as client:
        assert client.put(b"k", b"v").ok
    other.stop()
    member = start_member(run=False)
    member.data_dir, member.client_port, member.peer_port = other.data_dir, other.client_port, other.peer_port
    end_of(member, "db", "store", "bbolt", "backend")
    other.start()
    with Client(other.endpoint) as client:
        assert client.get(b"k").message.kvs[0].value == b"v"


def test_a_log_dir_full_of_junk_is_refused(start_member: START) -> None:
    member = start_member(run=False)
    wal = member.data_dir / "member" / "wal"
    wal.mkdir(parents=True)
    (wal / "0000000000000000-0000000000000000.wal").write_bytes(b"junk" * 1000)
    end_of(member, "wal", "crc", "log")


def test_a_member_of_another_cluster_does_not_change_sides(start_member: START) -> None:
    """A data dir remembers its cluster: other flags about the initial cluster are ignored after the first start."""
    member = start_member()
    with Client(member.endpoint) as client:
        first = client.put(b"k", b"v").message.header
    member.stop()
    member.flags = [
        "--initial-cluster-token=other",
        f"--initial-cluster=m0={member.peer_url},m1=http://127.0.0.1:{free_port()}",
    ]
    member.start()
    with Client(member.endpoint) as client:
        again = client.get(b"k").message
        assert (again.header.cluster_id, again.header.member_id) == (first.cluster_id, first.member_id)
        assert again.kvs[0].value == b"v"


def test_a_stop_by_signal_is_graceful(start_member: START) -> None:
    member = start_member()
    with Client(member.endpoint) as client:
        assert client.put(b"k", b"v").ok
    status = member.stop()
    assert status in (0, -15, 143), f"status {status}\n{member.log()[-2000:]}"
    assert "Traceback (most recent call last)" not in member.log()
    member.start()
    with Client(member.endpoint) as client:
        assert client.get(b"k").message.kvs[0].value == b"v"


def test_the_version_is_four_lines(subject_command: Command) -> None:
    done = subprocess.run([*subject_command, "--version"], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["etcd Version", "Git SHA"], done
