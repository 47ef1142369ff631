"""Who listens everywhere and is told no address advertises that of the default route, as etcd does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from quorate.cmd import default_host
from quorate.cmd.flags import build_flags
from quorate.cmd.settings import Settings, read_settings
from quorate.testing.process import MemberProcess, free_port, real_binary

FLAGS = build_flags()


def settings(*words: str) -> Settings:
    return read_settings(FLAGS, FLAGS.parse(words), {})


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(default_host, "default_host", lambda: "192.0.2.7")
    return "192.0.2.7"


def test_it_is_advertised_to_members_and_to_clients(host: str) -> None:
    found = settings(
        "--name=m",
        "--listen-peer-urls=https://0.0.0.0:1",
        "--listen-client-urls=http://0.0.0.0:2",
        "--advertise-client-urls=http://localhost:2379",
    )
    assert found.config.initial_advertise_peer_urls == [f"https://{host}:1"]
    assert found.config.advertise_client_urls == [f"http://{host}:2"]
    assert found.config.server_config().initial_cluster == {"m": [f"https://{host}:1"]}
    assert [(line.msg, line.fields) for line in found.lines] == [
        ("detected default host for advertise", {"host": host})
    ]


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    "words",
    [
        ["--listen-peer-urls=http://127.0.0.1:1"],
        ["--listen-peer-urls=http://0.0.0.0:1", "--initial-advertise-peer-urls=http://127.0.0.1:1"],
    ],
)
def test_what_was_said_stays(words: list[str]) -> None:
    found = settings(*words)
    assert found.config.initial_advertise_peer_urls in (["http://localhost:2380"], ["http://127.0.0.1:1"])
    assert found.lines == []


@pytest.mark.real
def test_it_is_the_address_that_real_etcd_finds(tmp_path: Path) -> None:
    own, command = default_host.default_host(), real_binary("etcd")
    if own is None or command is None:
        pytest.skip("no default route, or no real etcd")
    member = MemberProcess(tmp_path / "m", command=(str(command),))
    port = free_port()
    member.argv = lambda: [  # type: ignore[method-assign]
        str(command),
        "--name=m",
        f"--data-dir={member.data_dir}",
        f"--listen-peer-urls=http://0.0.0.0:{port}",
        f"--listen-client-urls={member.client_url}",
        f"--advertise-client-urls={member.client_url}",
    ]
    with member:
        line = next(line for line in member.log().splitlines() if re.search('"starting an etcd server"', line))
    assert json.loads(line)["initial-advertise-peer-urls"] == [f"http://{own}:{port}"]
