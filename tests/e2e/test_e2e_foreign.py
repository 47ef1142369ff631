"""Clients written by others, in three languages, print the same lines against real etcd and the member under test.

They are installed on first use into the cache of pytest, by the ordinary package client of each language; without that
client or its registry the test is skipped. Lines never show what differs by nature: IDs, times, addresses.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from quorate.testing.process import MemberProcess

pytestmark = pytest.mark.real

SCRIPTS = Path(__file__).parent / "foreign"
RUN_SECONDS = 120
INSTALL_SECONDS = 240

Install = Callable[[Path], list[str]]
"""Prepares a directory and gives the command that runs the script; the port comes last."""


def _do(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot install: {command[0]}: {(done.stderr or done.stdout)[-300:]}")


def python_etcd3(place: Path) -> list[str]:
    python = place / "venv" / "bin" / "python"
    if not (place / "complete").exists():
        _do(sys.executable, "-m", "venv", place / "venv", cwd=place)
        _do(python, "-m", "pip", "install", "-q", "etcd3==0.12.0", "protobuf<4", cwd=place)
    return [str(python), str(SCRIPTS / "python_etcd3.py")]


def node_etcd3(place: Path) -> list[str]:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("no node")
    if not (place / "complete").exists():
        (place / "package.json").write_text('{"private": true}')
        _do("npm", "install", "--silent", "--no-audit", "--no-fund", "etcd3@1.1.2", cwd=place)
    shutil.copy(SCRIPTS / "node_etcd3.js", place)
    return ["node", str(place / "node_etcd3.js")]


def go_client(place: Path) -> list[str]:
    if shutil.which("go") is None:
        pytest.skip("no go")
    binary = place / "client"
    source = SCRIPTS / "go_client" / "main.go"
    if not (place / "complete").exists() or binary.stat().st_mtime < source.stat().st_mtime:
        shutil.copy(source, place)
        if not (place / "go.mod").exists():
            _do("go", "mod", "init", "client", cwd=place)
            _do("go", "get", "go.etcd.io/etcd/client/v3@v3.5.21", cwd=place)
        _do("go", "mod", "tidy", cwd=place)
        _do("go", "build", "-o", binary, ".", cwd=place)
    return [str(binary)]


@pytest.mark.parametrize("install", [python_etcd3, node_etcd3, go_client], ids=lambda install: install.__name__)
def test_a_foreign_client_sees_no_difference(
    install: Install, real: MemberProcess, subject: MemberProcess, request: pytest.FixtureRequest
) -> None:
    cache = request.config.cache
    assert cache is not None
    place = Path(cache.mkdir(f"quorate-{install.__name__}"))
    command = install(place)
    (place / "complete").touch()
    outputs = [_output(command, member) for member in (real, subject)]
    assert outputs[0] and not outputs[0][-1].startswith("exit"), f"the script itself fails: {outputs[0]}"
    for number, (left, right) in enumerate(zip(*outputs, strict=False)):
        assert left == right, f"line {number}:\nreal:    {left}\nsubject: {right}\nrest: {outputs[1][number:][:20]}"
    assert len(outputs[0]) == len(outputs[1]), outputs
    print(f"{len(outputs[0])} equal lines")


def _output(command: list[str], member: MemberProcess) -> list[str]:
    try:
        done = subprocess.run(
            [*command, str(member.client_port)], capture_output=True, text=True, timeout=RUN_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        printed = (error.stdout or b"").decode() if isinstance(error.stdout, bytes) else error.stdout
        pytest.fail(f"{command[-1]} hangs after:\n{printed}")
    end = [] if done.returncode == 0 else [f"exit {done.returncode}: {done.stderr[-1500:]}"]
    return done.stdout.splitlines() + end
