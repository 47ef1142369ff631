"""`python -m quorate.testing -- COMMAND`: the command finds an etcd, and nothing is left afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quorate.testing.process import real_binary

COMMAND = (sys.executable, "-m", "quorate.testing")
PRINT = "import os; print(*(os.environ[name] for name in {names}), sep='|')"
USE = """
import os
from quorate.client import sync
with sync.connect(os.environ["ETCDCTL_ENDPOINTS"]) as client:
    print(client.get("k").value, len(client.cluster.members().members))
    client.put("k", "v")
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120)


def python(code: str) -> list[str]:
    return ["--", sys.executable, "-c", code]


def open_files(pid: int) -> set[Path]:
    """Files that a process has open now."""
    links = Path(f"/proc/{pid}/fd").iterdir()
    return {path for link in links if (path := Path(os.readlink(link))).is_file()}


def test_the_command_finds_where_the_server_is() -> None:
    names = ["ETCDCTL_API", "ETCDCTL_ENDPOINTS", "QUORATE_TEST_ENDPOINTS", "ETCD_ENDPOINTS", "QUORATE_TEST_MAY_WIPE"]
    done = run(*python(PRINT.format(names=names)))
    assert done.returncode == 0, done.stderr
    api, ctl, test, urls, wipe = done.stdout.strip().split("|")
    assert api == "3" and wipe == "1" and ctl == test
    assert ctl.startswith("127.0.0.1:") and urls == f"http://{ctl}"
    assert done.stderr == ""


def test_members_are_as_many_as_asked_for() -> None:
    done = run("--members", "3", *python(USE))
    assert (done.stdout, done.stderr) == ("None 3\n", "")


def test_data_is_kept_where_asked(tmp_path: Path) -> None:
    where = ("--data-dir", str(tmp_path / "data"))
    assert [run(*where, *python(USE)).stdout for _ in range(2)] == ["None 1\n", "b'v' 1\n"]
    refused = run("--members=3", *where, *python(USE))
    assert refused.returncode == 2 and "is not empty" in refused.stderr


@pytest.mark.real
def test_etcdctl_finds_it() -> None:
    etcdctl = real_binary("etcdctl")
    if etcdctl is None:
        pytest.skip("no real etcdctl here")
    done = run("--", "sh", "-c", f"{etcdctl} put a b && {etcdctl} get a")
    assert done.stdout == "OK\na\nb\n"


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -TERM $$"], 128 + signal.SIGTERM),
        (["no-such-command-anywhere"], 127),
        (["/"], 126),
    ],
)
def test_the_exit_status_is_that_of_the_command(command: list[str], status: int) -> None:
    assert run("--", *command).returncode == status


@pytest.mark.parametrize("arguments", [[], ["--"], ["--members", "3"]])
def test_without_a_command_it_says_how_it_is_used(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "usage: python -m quorate.testing [--members N]" in done.stderr
    assert "no command is given" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_the_command_and_nothing_is_left(number: signal.Signals) -> None:
    code = f"""
import signal, sys, time
signal.signal({int(number)}, lambda *_: (print("told"), sys.exit(5)))
print("ready", flush=True)
time.sleep(100)
"""
    with subprocess.Popen(
        [*COMMAND, *python(code)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        data = {path for path in open_files(process.pid) if "quorate" in path.as_posix()}
        assert data
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (5, "told\n")
    assert not [path for path in data if path.exists()]


def test_a_command_that_a_signal_ends_is_reported_so() -> None:
    with subprocess.Popen(
        [*COMMAND, "--", "sh", "-c", "echo ready; exec sleep 100"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM


def test_output_is_the_commands_alone() -> None:
    began = time.monotonic()
    done = run("--", "true")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - began < 60
