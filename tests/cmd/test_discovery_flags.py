"""Discovery as the command has it: flags, variables, the file, and a member that is started with them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from quorate.cmd.flags import build_flags
from quorate.cmd.settings import read_settings
from quorate.embed import Config, ConfigError
from quorate.testing.process import READY_LINE, MemberProcess, real_binary

FLAGS = build_flags()
VALUES: dict[str, Any] = {
    "discovery-endpoints": ["http://a:1", "b:2"],
    "discovery-token": "t",
    "discovery-dial-timeout": 3.0,
    "discovery-request-timeout": 4.0,
    "discovery-keepalive-time": 5.0,
    "discovery-keepalive-timeout": 7.0,
    "discovery-insecure-transport": False,
    "discovery-insecure-skip-tls-verify": True,
    "discovery-cert": "c",
    "discovery-key": "k",
    "discovery-cacert": "ca",
    "discovery-user": "u",
    "discovery-password": "p",
}
FILE = """
discovery-config:
  token: t
  client:
    endpoints: ["http://a:1", "b:2"]
    dial-timeout: 3000000000
    request-timeout: 4000000000
    keepalive-time: 5000000000
    keepalive-timeout: 7000000000
    secure: {cert: c, key: k, cacert: ca, insecure-transport: false, insecure-skip-tls-verify: true}
    auth: {username: u, password: p}
"""


def text_of(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}s"
    return ",".join(value) if isinstance(value, list) else str(value)


def test_flags_variables_and_the_file_say_the_same(tmp_path: Path) -> None:
    words = [f"--{name}={text_of(value)}" for name, value in VALUES.items()]
    variables = {"ETCD_" + name.upper().replace("-", "_"): text_of(value) for name, value in VALUES.items()}
    (tmp_path / "c.yml").write_text(FILE)
    found = [
        read_settings(FLAGS, FLAGS.parse(words), {}).config,
        read_settings(FLAGS, {}, variables).config,
        read_settings(FLAGS, {"config-file": str(tmp_path / "c.yml")}, {}).config,
    ]
    for config in found:
        assert {name: getattr(config, name.replace("-", "_")) for name in VALUES} == VALUES
        config.check()
        assert config.discovers


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"discovery_token": "t"}, "both --discovery-token and --discovery-endpoints must be set"),
        ({"discovery_endpoints": ["a:1"]}, "both --discovery-token and --discovery-endpoints must be set"),
        (
            {"discovery_endpoints": ["a:1", " "], "discovery_token": "t"},
            "--discovery-endpoints must not contain empty endpoints",
        ),
        (
            {"discovery_srv": "x", "initial_cluster": "m=http://localhost:2380"},
            "multiple discovery or bootstrap flags are set. Choose one of ",
        ),
        ({"discovery_srv": "x", "discovery": ["http://x/t"]}, "multiple discovery or bootstrap flags are set. "),
    ],
)
def test_ways_that_exclude_each_other_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**settings).check()
    assert str(caught.value).startswith(words)


@pytest.mark.real
def test_a_member_is_started_with_a_token(tmp_path: Path) -> None:
    command, ctl = real_binary("etcd"), real_binary("etcdctl")
    if command is None or ctl is None:
        pytest.skip("no real etcd")
    with MemberProcess(tmp_path / "registry", command=(str(command),)) as registry:
        put = [str(ctl), f"--endpoints={registry.endpoint}", "put", "/_etcd/registry/T/_config/size", "1"]
        subprocess.run(put, check=True, timeout=20, capture_output=True)
        flags = ["--initial-cluster=", "--discovery-token=T", f"--discovery-endpoints=http://{registry.endpoint}"]
        with MemberProcess(tmp_path / "m", flags=flags) as member:
            assert READY_LINE in member.log()
        late = MemberProcess(tmp_path / "late", flags=flags)
        late.spawn()
        assert late.wait_exit(20) == 1
        lines = [json.loads(line) for line in late.log().splitlines()]
        assert lines[-1]["error"] == "discovery: cluster is full"
        with MemberProcess(
            tmp_path / "m", flags=flags, client_port=member.client_port, peer_port=member.peer_port
        ) as again:  # it has data, and asks nobody
            assert READY_LINE in again.log()
