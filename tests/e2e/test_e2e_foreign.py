"""Clients written by others, in three languages, print the same lines against real etcd and what is under test: one
member that is open to all, and three behind TLS and auth.

They are installed on first use into the cache of pytest, by the ordinary package client of each language; without that
client or its registry the test is skipped. Lines never show what differs by nature: IDs, times, addresses.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from e2e_guard import PASSWORD, ROOT
from e2e_play import Stage, level

from quorate.testing.process import MemberProcess

pytestmark = pytest.mark.real

SCRIPTS = Path(__file__).parent / "foreign"
RUN_SECONDS = 120
INSTALL_SECONDS = 240

Install = Callable[[Path], list[str]]
"""Prepares a directory and gives the command that runs the script; its arguments come last."""


def _do(*command: str | Path, cwd: Path, ours: bool = False) -> None:
    """Skip the test where it does not work, unless what the command works on is `ours`."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    if done.returncode:
        (pytest.fail if ours else pytest.skip)(f"cannot install: {command[0]}: {(done.stderr or done.stdout)[-300:]}")


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
        _do("go", "build", "-o", binary, ".", cwd=place, ours=True)
    return [str(binary)]


@pytest.fixture(params=[python_etcd3, node_etcd3, go_client], ids=lambda install: install.__name__)
def script(request: pytest.FixtureRequest) -> list[str]:
    """The command that runs it."""
    cache = request.config.cache
    assert cache is not None
    place = Path(cache.mkdir(f"quorate-{request.param.__name__}"))
    command: list[str] = request.param(place)
    (place / "complete").touch()
    return command


def test_a_foreign_client_sees_no_difference(script: list[str], real: MemberProcess, subject: MemberProcess) -> None:
    _compare(*([*script, str(member.client_port)] for member in (real, subject)))


def test_a_foreign_client_sees_no_difference_behind_tls_and_auth(script: list[str], stages: list[Stage]) -> None:
    level(stages)
    keys = stages[0].keys
    guard = (keys.ca, keys.cert, keys.key, ROOT, PASSWORD)
    _compare(*([*script, str(stage.cluster.members[0].client_port), *guard] for stage in stages))


def _compare(*commands: list[str]) -> None:
    with ThreadPoolExecutor(2) as pool:
        outputs = list(pool.map(_output, commands))
    assert outputs[0] and not outputs[0][-1].startswith("exit"), f"the script itself fails: {outputs[0]}"
    for number, (left, right) in enumerate(zip(*outputs, strict=False)):
        assert left == right, f"line {number}:\nreal:    {left}\nsubject: {right}\nrest: {outputs[1][number:][:20]}"
    assert len(outputs[0]) == len(outputs[1]), outputs
    print(f"{len(outputs[0])} equal lines")


def _output(command: list[str]) -> list[str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        printed = (error.stdout or b"").decode() if isinstance(error.stdout, bytes) else error.stdout
        pytest.fail(f"{command} hangs after:\n{printed}")
    end = [] if done.returncode == 0 else [f"exit {done.returncode}: {done.stderr[-1500:]}"]
    return done.stdout.splitlines() + end
