"""The configuration file: etcd's keys, its types, and what becomes of flags and variables beside it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from quorate.cmd.config_file import NO_KEYS, SECTIONS, ConfigFileError, read_config_file
from quorate.cmd.flags import build_flags
from quorate.cmd.settings import Settings, read_settings
from quorate.pkg.goflag import parse_bool, parse_duration, parse_int, parse_uint, parse_uint32, show
from quorate.testing.process import real_binary

FLAGS = build_flags()

EVERY_SECTION = """
name: m1
data-dir: /var/lib/etcd
wal-dir:
snapshot-count: 5000
heartbeat-interval: 100
election-timeout: 1000
quota-backend-bytes: -1
listen-peer-urls: http://127.0.0.1:2380,http://127.0.0.1:2381
listen-client-urls: http://127.0.0.1:2379
initial-advertise-peer-urls: http://127.0.0.1:2380
advertise-client-urls: http://127.0.0.1:2379
initial-cluster: m1=http://127.0.0.1:2380
initial-cluster-token: 'token'
initial-cluster-state: 'new'
cors:
max-snapshots: 7
grpc-keepalive-min-time: 7000000000
auto-compaction-mode: periodic
auto-compaction-retention: "1"
log-outputs: [stderr, /var/log/etcd.log]
cipher-suites: [
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
]
feature-gates: InitialCorruptCheck=true,LeaseCheckpoint=false
client-transport-security:
  cert-file: c.pem
  key-file: k.pem
  client-cert-auth: true
  trusted-ca-file: ca.pem
  auto-tls: false
  allowed-hostname: [a.example, b.example]
peer-transport-security:
  cert-file: pc.pem
  client-cert-auth: true
  allowed-cn: one,two
  skip-client-san-verification: true
socket-options:
  reuse-port: true
  reuse-address: true
proxy: 'off'
proxy-failure-wait: 5000
enable-v2: false
force-new-cluster: false
"""


def write(path: Path, text: str) -> str:
    file = path / "etcd.conf.yml"
    file.write_text(text)
    return str(file)


def settings(path: Path, text: str, given: dict[str, Any] | None = None, **environment: str) -> Settings:
    return read_settings(FLAGS, {"config-file": write(path, text), **(given or {})}, environment)


def test_a_file_with_a_key_of_every_kind_is_taken(tmp_path: Path) -> None:
    found = settings(tmp_path, EVERY_SECTION)
    config = found.config
    assert (config.name, config.data_dir, config.wal_dir) == ("m1", "/var/lib/etcd", "")
    assert (config.snapshot_count, config.quota_backend_bytes) == (5000, -1)
    assert config.listen_peer_urls == ["http://127.0.0.1:2380", "http://127.0.0.1:2381"]
    assert config.grpc_keepalive_min_time == 7.0
    assert config.auto_compaction_retention == "1"
    assert config.log_outputs == ["stderr", "/var/log/etcd.log"]
    assert config.cipher_suites == ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]
    assert config.cors == ["*"]
    assert config.feature_gates == {"InitialCorruptCheck": True, "LeaseCheckpoint": False}
    assert (config.cert_file, config.client_cert_auth, config.trusted_ca_file) == ("c.pem", True, "ca.pem")
    assert config.client_cert_allowed_hostname == ["a.example", "b.example"]
    assert (config.peer_cert_file, config.peer_client_cert_auth) == ("pc.pem", True)
    assert (config.peer_cert_allowed_cn, config.peer_skip_client_san_verification) == (["one", "two"], True)
    assert config.socket_reuse_port
    assert [line.msg for line in found.lines if line.level == "warn"] == []
    assert [line.msg.partition(":")[0] for line in found.lines[1:]] == [
        "--max-snapshots has no effect",
        "--socket-reuse-address has no effect",
    ]


def every_key() -> str:
    """A file with every key there is, each with its default, as the sample that etcd ships has them."""
    lines: list[str] = []
    tree: dict[str, Any] = {name: name for name in FLAGS.flags if name not in NO_KEYS}
    for section, keys in SECTIONS.items():
        where = tree
        for part in section.split("."):
            where = where.setdefault(part, {})
        where.update({key: name for key, name in keys.items() if name in FLAGS.flags})

    def put(keys: dict[str, Any], indent: str) -> None:
        for key, found in keys.items():
            lines.append(f"{indent}{key}:" + ("" if isinstance(found, dict) else f" {yaml_default(found)}"))
            if isinstance(found, dict):
                put(found, indent + "  ")

    put(tree, "")
    return "\n".join(lines) + "\n"


def test_every_flag_has_a_key_but_those_that_etcd_has_none_for(tmp_path: Path) -> None:
    assert {name for keys in SECTIONS.values() for name in keys.values()} <= {*FLAGS.flags, *FLAGS.removed}
    found = read_config_file(write(tmp_path, every_key()), FLAGS)
    assert found.unknown == []
    keyless = {"config-file", "version", "client-crl-file", "peer-crl-file", "raft-read-timeout", "raft-write-timeout"}
    assert set(found.values) == set(FLAGS.flags) - keyless
    assert {name: FLAGS.flags[name].default for name in found.values} == found.values


@pytest.mark.real
def test_real_etcd_takes_the_same_file(tmp_path: Path) -> None:
    """It reads all of it before it looks at the one value that it must not take."""
    command = real_binary("etcd")
    if command is None:
        pytest.skip("no real etcd")
    file = write(tmp_path, every_key() + "election-timeout: 50001\n")
    ended = subprocess.run([command, "--config-file", file], capture_output=True, text=True, timeout=10, cwd=tmp_path)
    assert ended.returncode == 1
    assert "--election-timeout[50001ms] is too long" in ended.stderr


def yaml_default(name: str) -> str:
    flag = FLAGS.flags[name]
    if flag.parse is parse_bool:
        return str(flag.default).lower()
    if flag.parse is parse_duration:
        return str(int(flag.default * 1e9))
    if flag.parse in (parse_int, parse_uint, parse_uint32):
        return str(flag.default)
    if name in ("log-outputs", "cipher-suites", "discovery-endpoints"):
        return "[" + ", ".join(flag.default) + "]"
    return f"'{show(flag.default)}'"


def test_the_file_alone_counts(tmp_path: Path) -> None:
    found = settings(
        tmp_path, "name: m1\n", {"name": "flag", "heartbeat-interval": 7}, ETCD_NAME="x", ETCD_NONSENSE="1"
    )
    assert (found.config.name, found.config.heartbeat_interval) == ("m1", 100)
    assert [(line.level, line.msg[:27]) for line in found.lines] == [("info", "loaded server configuration")]


def test_the_file_can_be_named_by_a_variable(tmp_path: Path) -> None:
    found = read_settings(FLAGS, {}, {"ETCD_CONFIG_FILE": write(tmp_path, "name: m1")})
    assert found.config.name == "m1"


def test_a_listener_in_a_file_needs_no_advertised_address(tmp_path: Path) -> None:
    config = settings(tmp_path, "listen-client-urls: http://127.0.0.1:2377\nlog-outputs: [stderr]").config
    config.check()
    assert config.advertise_client_urls == ["http://localhost:2379"]


def test_unknown_keys_are_told_of_and_do_not_end_the_start(tmp_path: Path) -> None:
    found = settings(tmp_path, "name: m\nnonsense: 3\nsocket-options:\n  reuse-ports: true\nversion: true\n")
    told = [line.fields["key"] for line in found.lines if line.level == "warn"]
    assert told == ["nonsense", "socket-options.reuse-ports", "version"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "name:\n", '{"name": "default"}'])
def test_what_says_nothing_changes_nothing(text: str, tmp_path: Path) -> None:
    assert settings(tmp_path, text).config.name == "default"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n- b\n", "cannot unmarshal array into Go value of type embed.configYAML"),
        ("client-transport-security: foo", "cannot unmarshal string into Go struct field"),
        ("client-transport-security: {ca-file: x}", "removed in 3.4: use --trusted-ca-file and --client-cert-auth"),
        ("max-concurrent-streams: 4294967296", "cannot unmarshal number 4294967296"),
        ("feature-gates: Nope=true", "unexpected error setting up feature-gates: unrecognized feature gate: Nope"),
        ("a: &a [*a]\nname: *b", "error converting YAML to JSON: yaml: line"),
        ("name: !!python/object/apply:os.system [true]", "error converting YAML to JSON: yaml: line"),
        ("\x00", "error converting YAML to JSON: yaml:"),
    ],
)
def test_a_file_that_cannot_be_taken_says_why(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError, match=None) as caught:
        read_config_file(write(tmp_path, text), FLAGS)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_text_or_not_there_says_why(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"name: \xff\xfe")
    for path, words in (("b", "invalid UTF-8"), ("c", "no such file or directory"), (".", "is a directory")):
        with pytest.raises(ConfigFileError, match=words):
            read_config_file(str(tmp_path / path), FLAGS)
