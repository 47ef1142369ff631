"""Fixtures of the outside judge: the member under test, real etcd beside it, and stock etcdctl.

`QUORATE_E2E_COMMAND` replaces what is under test, e.g. by the path of a real etcd, to prove the judge itself fair.
`--seed` (or `QUORATE_E2E_SEED`) replays a random run; every run prints its seed.
"""

from __future__ import annotations

import importlib.util
import os
import random
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quorate.testing.cluster import Cluster
from quorate.testing.process import QUORATE, Command, MemberProcess, real_binary

from e2e_play import Stage, set_stages  # isort: skip
from e2e_rpc import Client  # isort: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="seed of the random end-to-end tests")


def command_under_test() -> Command | None:
    """What starts the member under test, or None when there is no such thing here."""
    given = os.environ.get("QUORATE_E2E_COMMAND")
    if given:
        return tuple(shlex.split(given))
    return QUORATE if _importable("quorate.cmd.etcd") else None


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@pytest.fixture(scope="session")
def subject_command() -> Command:
    command = command_under_test()
    if command is None:
        pytest.skip("no member to test: quorate.cmd.etcd is absent")
    return command


@pytest.fixture(scope="session")
def subject_is_real(subject_command: Command) -> bool:
    """True when real etcd stands in for the subject: then even known differences must not show."""
    return Path(subject_command[0]).name == "etcd"


@pytest.fixture(scope="session")
def real_command() -> Command:
    binary = real_binary("etcd")
    if binary is None:
        pytest.skip("no real etcd here")
    return (str(binary),)


@pytest.fixture(scope="session")
def etcdctl() -> Path:
    binary = real_binary("etcdctl")
    if binary is None:
        pytest.skip("no real etcdctl here")
    return binary


@pytest.fixture(scope="session")
def debian_etcdctl(request: pytest.FixtureRequest) -> Path:
    """etcdctl as Debian packages it, of 3.4, unpacked on first use into the cache of pytest."""
    cache = request.config.cache
    assert cache is not None
    place = Path(cache.mkdir("quorate-debian-etcdctl"))
    binary = place / "usr" / "bin" / "etcdctl"
    if not binary.exists():
        if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
            pytest.skip("no apt-get")
        for command in ("apt-get download etcd-client", "dpkg -x etcd-client_*.deb ."):
            done = subprocess.run(command, shell=True, cwd=place, capture_output=True, text=True, timeout=120)
            if done.returncode:
                pytest.skip(f"cannot get it: {command}: {done.stderr[-300:]}")
    return binary


Start = Callable[..., MemberProcess]


@pytest.fixture
def start_member(tmp_path: Path, subject_command: Command) -> Iterator[Start]:
    """A function that makes and starts members; all are stopped at the end."""
    made: list[MemberProcess] = []

    def start(
        command: Command | None = None,
        *,
        name: str = "m0",
        flags: tuple[str, ...] = (),
        run: bool = True,
        **more: object,
    ) -> MemberProcess:
        chosen = command or subject_command
        member = MemberProcess(tmp_path / f"{name}-{len(made)}.data", command=chosen, name=name, flags=flags, **more)  # type: ignore[arg-type]
        made.append(member)
        if run:
            member.start()
        return member

    yield start
    for member in made:
        member.kill()


Group = Callable[..., Cluster]

STEADY = ("--heartbeat-interval=100", "--election-timeout=5000", "--unsafe-no-fsync")
"""Flags of a cluster of several that is to keep its leader on a busy machine."""


@pytest.fixture
def start_group(tmp_path: Path, subject_command: Command) -> Iterator[Group]:
    """A function that makes and starts clusters, `size` members by one command; all are ended with the test."""
    made: list[Cluster] = []

    def start(command: Command | None = None, *, size: int = 1, flags: tuple[str, ...] = (), **more: Any) -> Cluster:
        steady = STEADY if size > 1 else ()
        commands = [command or subject_command] * size
        group = Cluster(tmp_path / f"group-{len(made)}", commands, flags=(*steady, *flags), **more)
        made.append(group)
        group.start()
        return group

    yield start
    for group in made:
        group.close()


@pytest.fixture(scope="module")
def stages(
    tmp_path_factory: pytest.TempPathFactory, real_command: Command, subject_command: Command
) -> Iterator[list[Stage]]:
    """Three members of real etcd, and three under test, behind TLS and auth, for all tests of a module."""
    made = set_stages(tmp_path_factory.mktemp("guarded"), [real_command, subject_command])
    yield made
    for stage in made:
        stage.close()


@pytest.fixture
def subject(start_member: Start) -> MemberProcess:
    """A fresh running member under test."""
    return start_member()


@pytest.fixture
def real(start_member: Start, real_command: Command) -> MemberProcess:
    """A fresh running real etcd."""
    return start_member(real_command)


@pytest.fixture
def client(subject: MemberProcess) -> Iterator[Client]:
    with Client(subject.endpoint) as made:
        yield made


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    given = request.config.getoption("--seed")
    if given is None:
        given = int(os.environ.get("QUORATE_E2E_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {given} (replay: --seed={given})")
    return given
