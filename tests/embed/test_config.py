"""Settings, their defaults, and the rules between them in etcd's words."""

from pathlib import Path
from typing import Any

import pytest

from quorate.embed import Config, ConfigError

PEER = "http://127.0.0.1:2380"


def refusal(**settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        Config(**settings).server_config()
    return str(caught.value)


def test_without_settings_a_member_is_etcds_default_member() -> None:
    made = Config().server_config()
    assert made.initial_cluster == {"default": ["http://localhost:2380"]}
    assert made.advertise_client_urls == ["http://localhost:2379"]
    assert str(made.data_dir) == "default.etcd"
    assert (made.election_ticks, made.request_timeout, made.min_lease_ttl) == (10, 7.0, 2)


def test_a_name_alone_makes_a_cluster_of_that_name() -> None:
    made = Config(name="m1", initial_advertise_peer_urls=[PEER]).server_config()
    assert made.initial_cluster == {"m1": [PEER]}
    assert str(made.data_dir) == "m1.etcd"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"heartbeat_interval": 0}, "--heartbeat-interval must be >0 (set to 0ms)"),
        ({"election_timeout": 0}, "--election-timeout must be >0 (set to 0ms)"),
        (
            {"heartbeat_interval": 300},
            "--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[300ms]",
        ),
        (
            {"election_timeout": 50001},
            "--election-timeout[50001ms] is too long, and should be set less than 50000ms",
        ),
        (
            {"listen_client_urls": [PEER]},
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        ({"auto_compaction_mode": "foo"}, 'unknown auto-compaction-mode "foo"'),
        ({"auto_compaction_retention": "foo"}, 'error parsing CompactionRetention: time: invalid duration "foo"'),
        ({"listen_peer_urls": ["http://example.com:1"]}, "expected IP in URL for binding (http://example.com:1)"),
        (
            {"initial_advertise_peer_urls": ["http://:2380"]},
            '--initial-advertise-peer-urls "http://:2380" must be "host:port" (unexpected empty host (http://:2380))',
        ),
        (
            {"name": "zz", "initial_cluster": "a=" + PEER},
            'couldn\'t find local name "zz" in the initial cluster configuration',
        ),
        (
            {"initial_cluster": "default=" + PEER, "initial_advertise_peer_urls": ["http://127.0.0.1:2390"]},
            "--initial-cluster has default=http://127.0.0.1:2380 but missing from "
            "--initial-advertise-peer-urls=http://127.0.0.1:2390 "
            '(resolved urls: "http://127.0.0.1:2390" != "http://127.0.0.1:2380")',
        ),
        ({"logger": "capnslog"}, "--logger=capnslog is removed in v3.5"),
        ({"logger": "bad"}, 'unknown logger option "bad"'),
        ({"log_outputs": ["default", "stdout"]}, 'multi logoutput for "default" is not supported yet'),
        ({"listen_peer_urls": ["unix://localhost:2380"]}, None),
    ],
)
def test_a_broken_rule_is_named(settings: dict[str, Any], text: str | None) -> None:
    found = refusal(**settings)
    assert found == text if text is not None else "not built yet" in found


@pytest.mark.parametrize("text", ["", "bad", "jwt", "jwt,sign-method=RS256,pub-key=/missing"])
def test_tokens_that_cannot_be_made_are_refused_in_etcds_words(text: str) -> None:
    assert refusal(auth_token=text) == "auth: invalid auth options"


def test_keys_of_tokens_are_read_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"a secret that is long enough for HS256")
    made = Config(auth_token=f"jwt,sign-method=HS256,priv-key={tmp_path}/key,ttl=1m").server_config()
    assert (made.auth_token.kind, made.auth_token.ttl) == ("jwt", 60.0)
    assert made.auth_token.private_key.startswith(b"a secret")
    assert refusal(auth_token="jwt,sign-method=HS256") == "auth: missing key data"


@pytest.mark.parametrize(("given", "seconds"), [(300, 300.0), (7, 7.0), (0, 300.0)])
def test_simple_tokens_live_as_long_as_told(given: int, seconds: float) -> None:
    assert Config(auth_token_ttl=given).server_config().auth_token.ttl == seconds


def test_the_longest_election_timeout_is_accepted() -> None:
    assert Config(election_timeout=50000).server_config().election_timeout == 50


@pytest.mark.parametrize(
    ("mode", "text", "retention"),
    [("periodic", "1", 3600), ("periodic", "30m", 1800), ("revision", "1000", 1000), ("periodic", "0", 0)],
)
def test_retention_is_hours_durations_or_revisions(mode: str, text: str, retention: float) -> None:
    made = Config(auto_compaction_mode=mode, auto_compaction_retention=text).server_config()
    assert made.auto_compaction_retention == retention


def test_a_snapshot_count_of_zero_is_the_default() -> None:
    assert Config(snapshot_count=0).server_config().snapshot_count == 10_000


def test_names_and_addresses_of_one_place_fit_together() -> None:
    made = Config(initial_cluster="default=http://localhost:2380", initial_advertise_peer_urls=[PEER]).server_config()
    assert made.initial_cluster == {"default": ["http://localhost:2380"]}
    assert "missing from" in refusal(
        initial_cluster="default=http://localhost:2381", initial_advertise_peer_urls=[PEER]
    )
    assert "missing from" in refusal(
        initial_cluster="default=https://localhost:2380", initial_advertise_peer_urls=[PEER]
    )


def test_a_cipher_suite_that_is_none_is_refused_whether_or_not_anything_is_encrypted() -> None:
    assert refusal(cipher_suites=["foo"]) == 'unexpected TLS cipher suite "foo"'
