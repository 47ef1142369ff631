"""A member's process: its name, what it tells the service manager, where its lines go."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from quorate.testing.process import READY_LINE, Command, MemberProcess, free_port, real_binary

SECONDS = 20.0


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.mark.parametrize("real", [False, pytest.param(True, marks=pytest.mark.real)])
@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told_once_clients_are_served(tmp_path: Path, real: bool, abstract: bool) -> None:
    path = f"@quorate-{os.getpid()}-{real}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + path[1:] if abstract else path)
        manager.settimeout(SECONDS)
        member = MemberProcess(tmp_path / "m", env={"NOTIFY_SOCKET": path}, **command_of(real))
        with member:
            assert b"READY=1" in manager.recv(1000)
            assert READY_LINE in member.log()
        if not real:
            assert manager.recv(1000) == b"STOPPING=1"


def command_of(real: bool) -> dict[str, Command]:
    if not real:
        return {}
    found = real_binary("etcd")
    if found is None:
        pytest.skip("no real etcd")
    return {"command": (str(found),)}


def test_a_service_manager_that_is_not_there_is_named_and_harms_nobody(tmp_path: Path) -> None:
    with MemberProcess(tmp_path / "m", env={"NOTIFY_SOCKET": str(tmp_path / "nobody")}) as member:
        until(lambda: "failed to notify systemd" in member.log(), "not told")


def test_the_process_is_called_etcd_and_keeps_its_command_line(tmp_path: Path) -> None:
    with MemberProcess(tmp_path / "m") as member:
        assert Path(f"/proc/{member.pid}/comm").read_text() == "etcd\n"
        assert Path(f"/proc/{member.pid}/cmdline").read_bytes().split(b"\0")[:-1] == [
            word.encode() for word in member.argv()
        ]
        if shutil.which("pgrep") is None:
            pytest.skip("no pgrep")
        found = subprocess.run(["pgrep", "-x", "etcd"], capture_output=True, text=True, timeout=10, check=True)
        assert str(member.pid) in found.stdout.split()


def test_lines_go_to_every_output_and_levels_hold_for_rooms(tmp_path: Path) -> None:
    files = [tmp_path / "a.log", tmp_path / "b.log"]
    outputs = ",".join(["stdout", *map(str, files)])
    flags = [f"--log-outputs={outputs}", "--log-level=warn", "--log-package-levels=embed=INFO"]
    with MemberProcess(tmp_path / "m", flags=flags) as member:
        until(lambda: READY_LINE in files[1].read_text(), "no line")
    texts = [file.read_text() for file in files]
    assert texts[0] == texts[1]
    assert texts[0] in member.log()
    lines = [json.loads(line) for line in texts[0].splitlines()]
    assert {line["caller"].partition("/")[0] for line in lines if line["level"] == "info"} == {"embed"}


def test_lines_for_people_are_columns(tmp_path: Path) -> None:
    with MemberProcess(tmp_path / "m", flags=["--log-format=console"]) as member:
        until(lambda: READY_LINE in member.log(), "no line")
    line = next(line for line in member.log().splitlines() if "opened backend db" in line)
    ts, level, caller, msg, fields = line.split("\t")
    assert (level, msg, ts[-1]) == ("info", "opened backend db", "Z")
    assert caller.startswith("server/bootstrap.py:")
    assert json.loads(fields)["path"].endswith("member/snap/db")


def test_a_full_log_file_is_set_aside(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "etcd.log"
    file.parent.mkdir()
    file.write_bytes(b"x" * ((1 << 20) - 2000) + b"\n")
    config = '{"maxsize": 1, "maxbackups": 1, "compress": true}'
    flags = [f"--log-outputs={file}", "--enable-log-rotation", f"--log-rotation-config-json={config}"]
    with MemberProcess(tmp_path / "m", flags=flags):
        until(lambda: len(list(file.parent.glob("etcd-*.log.gz"))) == 1, "not set aside")
        until(lambda: READY_LINE in file.read_text(), "no line")


def test_no_journal_ends_the_start_with_one_line(tmp_path: Path) -> None:
    if Path("/run/systemd/journal/socket").exists():
        pytest.skip("there is a journal")
    member = MemberProcess(tmp_path / "m", flags=["--log-outputs=systemd/journal"])
    member.spawn()
    assert member.wait_exit(SECONDS) == 1
    assert "no journal at /run/systemd/journal/socket" in json.loads(member.log())["error"]


def test_memory_is_locked_or_the_start_ends_with_the_reason(tmp_path: Path) -> None:
    member = MemberProcess(tmp_path / "m", flags=["--memory-mlock"])
    member.spawn()
    until(lambda: not member.alive() or READY_LINE in member.log(), "neither")
    if member.alive():
        status = Path(f"/proc/{member.pid}/status").read_text()
        assert int(status.partition("VmLck:")[2].split()[0]) > 10_000
        member.stop()
    else:
        assert resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != resource.RLIM_INFINITY
        assert member.exit_status() == 1
        assert "cannot lock memory" in member.log()


def test_two_members_share_a_port_only_if_both_say_so(tmp_path: Path) -> None:
    port = free_port()
    flags = ["--socket-reuse-port=true"]
    with MemberProcess(tmp_path / "one", client_port=port, flags=flags):
        with MemberProcess(tmp_path / "two", client_port=port, flags=flags) as two:
            until(lambda: READY_LINE in two.log(), "does not serve")
        other = MemberProcess(tmp_path / "three", client_port=port)
        other.spawn()
        assert other.wait_exit(SECONDS) == 1
        assert f"listen tcp 127.0.0.1:{port}: bind: address already in use" in other.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_member_that_waits_for_others_at_its_start_ends_by_the_signal_it_is_sent(
    tmp_path: Path, number: signal.Signals
) -> None:
    member = MemberProcess(tmp_path / "m")
    member.flags = [f"--initial-cluster=m0={member.peer_url},other=http://127.0.0.1:{free_port()}"]
    member.spawn()
    until(lambda: "starting etcd server" in member.log(), "does not start")
    os.kill(member.pid, number)
    assert member.wait_exit(5.0) == -number
    member.flags = []
    member.data_dir = tmp_path / "other"
    with member:  # its ports and its lock are free
        assert READY_LINE in member.log()


def test_all_threads_take_the_io_priority_that_the_process_is_given(tmp_path: Path) -> None:
    ionice = shutil.which("ionice")
    if ionice is None:
        pytest.skip("no ionice")

    def priority(task: int) -> str:
        found = subprocess.run([ionice, "-p", str(task)], capture_output=True, text=True, timeout=10, check=True)
        return found.stdout.strip()

    with MemberProcess(tmp_path / "m") as member:
        until(lambda: READY_LINE in member.log(), "does not serve")
        subprocess.run([ionice, "-c2", "-n1", "-p", str(member.pid)], timeout=10, check=True)
        tasks = [int(task) for task in os.listdir(f"/proc/{member.pid}/task")]
        assert len(tasks) > 2, "the log and the database have threads"
        until(lambda: {priority(task) for task in tasks} == {"best-effort: prio 1"}, "threads have other priorities")
