"""Patroni keeps a PostgreSQL leader by the JSON gateway of three members, over the death of either kind of leader.

The members are open to all, or behind TLS and auth, where Patroni is a user who may use its own keys alone.
Needs PostgreSQL's programs and a Patroni. `QUORATE_PATRONI` is the command that runs a Python with `patroni[etcd3]` and
`psycopg`, as a user that PostgreSQL starts for: `/some/venv/bin/python`, or for root
`runuser -u postgres -- env PYTHONPATH=/some/site-packages /usr/bin/python3`.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from e2e_guard import Keys
from e2e_play import Stage

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.cluster import Cluster, wait_for
from quorate.testing.process import QUORATE, free_port

COMMAND = shlex.split(os.environ.get("QUORATE_PATRONI", ""))
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")) or [Path(shutil.which("pg_ctl") or "")]
pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(not COMMAND or not PROGRAMS[-1].name, reason="no QUORATE_PATRONI, or no PostgreSQL"),
]

TTL = 20
PATIENCE = 90.0


class Node:
    """One Patroni with the PostgreSQL it looks after."""

    def __init__(self, place: Path, number: int, etcd: dict[str, str]) -> None:
        self.place = place
        self.name = f"pg{number}"
        self.port, self.rest = free_port(), free_port()
        self.settings = place / f"{self.name}.json"
        self.settings.write_text(json.dumps(self._settings(etcd)))
        self.log = place / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*COMMAND, "-m", "patroni", str(self.settings)],
                cwd=self.place, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def is_up(self, role: str) -> bool:
        """Whether it says that it is the `leader`, or a `replica`."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.rest}/{role}", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def state(self) -> Any:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.rest}/patroni", timeout=5) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as answer:
            return json.load(answer)

    def crash(self) -> None:
        """Both at once, with SIGKILL."""
        if self._process is None:
            return
        postmaster = self.place / self.name / "postmaster.pid"
        pids = [int(postmaster.read_text().split()[0])] if postmaster.exists() else []
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        for pid in pids:
            with_it = Path(f"/proc/{pid}/cmdline")
            if with_it.exists() and str(self.place).encode() in with_it.read_bytes():
                os.kill(pid, signal.SIGKILL)

    def _settings(self, etcd: dict[str, str]) -> dict[str, Any]:
        return {
            "scope": "batman",
            "name": self.name,
            "restapi": {"listen": f"127.0.0.1:{self.rest}", "connect_address": f"127.0.0.1:{self.rest}"},
            "etcd3": etcd,
            "bootstrap": {
                "dcs": {"ttl": TTL, "loop_wait": 2, "retry_timeout": 5},
                "initdb": [{"encoding": "UTF8"}],
                "pg_hba": ["host replication all 127.0.0.1/32 md5", "host all all 127.0.0.1/32 md5"],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}",
                "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": str(self.place / self.name),
                "bin_dir": str(PROGRAMS[-1].parent),
                "pgpass": str(self.place / f"{self.name}.pgpass"),
                "authentication": {
                    "replication": {"username": "replicator", "password": "one"},
                    "superuser": {"username": "postgres", "password": "two"},
                },
                "parameters": {"unix_socket_directories": str(self.place), "shared_buffers": "16MB"},
            },
        }


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that PostgreSQL's user may write to, whoever runs the tests."""
    made = Path(tempfile.mkdtemp(prefix="quorate-patroni-"))
    made.chmod(0o777)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _open_to_all(tmp_path: Path, _: Path) -> Iterator[tuple[Cluster, Callable[[], int | None], dict[str, str]]]:
    """Three members, who leads them, and what Patroni is told of them."""
    with Cluster(tmp_path, [QUORATE] * 3) as cluster:
        cluster.start()
        yield cluster, cluster.find_leader, {"hosts": _hosts(cluster)}


@contextmanager
def _guarded(tmp_path: Path, place: Path) -> Iterator[tuple[Cluster, Callable[[], int | None], dict[str, str]]]:
    """The same behind TLS and auth. Keys are in `place`, where Patroni's user can read them."""
    keys = Keys(place / "keys")
    stage = Stage(tmp_path, keys, QUORATE)
    files = {"cacert": keys.ca, "cert": keys.cert, "key": keys.key}
    own = {"permType": "READWRITE", "key": b"/service/", "range_end": b"/service0"}
    try:
        for name, request in (
            ("RoleAdd", pb.AuthRoleAddRequest(name="keeper")),
            ("RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name="keeper", perm=own)),
            ("UserAdd", pb.AuthUserAddRequest(name="patroni", password="three")),
            ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="patroni", role="keeper")),
        ):
            answer = stage.clients[0].call(name, request)
            assert answer.ok, answer
        user = {"protocol": "https", "username": "patroni", "password": "three"}
        yield stage.cluster, stage.leader, {"hosts": _hosts(stage.cluster), **user, **files}
    finally:
        stage.close()


def _hosts(cluster: Cluster) -> str:
    return ",".join(member.endpoint for member in cluster.members)


def _boxed(number: int | None) -> tuple[int] | None:
    """So that member 0 is not nobody."""
    return None if number is None else (number,)


@pytest.mark.parametrize("start", [_open_to_all, _guarded])
def test_patroni_keeps_a_leader_over_the_death_of_either_kind_of_leader(
    start: Any, tmp_path: Path, place: Path
) -> None:
    with start(tmp_path, place) as (cluster, find_leader, etcd):
        nodes = [Node(place, number, etcd) for number in range(2)]
        try:
            for node, role in zip(nodes, ("leader", "replica"), strict=True):
                node.start()
                wait_for(lambda node=node, role=role: node.is_up(role), PATIENCE, f"{node.name} as {role}")  # type: ignore[misc]
            timeline = nodes[0].state()["timeline"]

            killed_at = time.time()
            (killed,) = wait_for(lambda: _boxed(find_leader()), PATIENCE, "a leader")
            cluster.kill(killed)
            # Longer than the lease of the leader key lasts: it has been renewed by the other members.
            wait_for(lambda: all(node.state()["dcs_last_seen"] > killed_at + TTL for node in nodes), PATIENCE, "a look")
            assert nodes[0].is_up("leader") and nodes[0].state()["timeline"] == timeline
            cluster.restart(killed)

            nodes[0].crash()
            wait_for(lambda: nodes[1].is_up("leader"), PATIENCE, "the other one to lead")
            wait_for(lambda: nodes[1].state().get("timeline", 0) > timeline, PATIENCE, "a new timeline")
            nodes[0].start()
            wait_for(lambda: nodes[0].is_up("replica"), PATIENCE, "the old leader to follow")
        except BaseException:
            for node in nodes:
                print(node.log.read_text()[-4000:] if node.log.exists() else f"{node.name} did not start")
            raise
        finally:
            for node in nodes:
                node.crash()
        assert "Traceback" not in "".join(member.log() for member in cluster.members)
