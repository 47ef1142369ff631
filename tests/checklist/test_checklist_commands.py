"""Rows of docs/checklist.md that no other test shows: command lines as operators type them."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.cmd.flags import build_flags
from quorate.cmd.settings import Settings, read_settings
from quorate.testing.process import QUORATE, Command, MemberProcess, real_binary

ETCDCTL: Command = (sys.executable, "-m", "quorate.cmd.ctl")
SECONDS = 60.0


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, capture_output=True, text=True, timeout=SECONDS, env={**os.environ, **environment}, check=False
    )


def settings(*words: str, **environment: str) -> Settings:
    flags = build_flags()
    return read_settings(flags, flags.parse(words), environment)


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemberProcess]:
    with MemberProcess(tmp_path_factory.mktemp("checklist") / "m", flags=["--quota-backend-bytes=3000000"]) as member:
        yield member


@pytest.fixture(params=["ours", pytest.param("stock", marks=pytest.mark.real)])
def etcdctl(request: pytest.FixtureRequest) -> Command:
    if request.param == "ours":
        return ETCDCTL
    binary = real_binary("etcdctl")
    if binary is None:
        pytest.skip("no real etcdctl here")
    return (str(binary),)


@pytest.mark.parametrize("flag", ["hearbeat-interval", "election-time"])
def test_a_misspelt_flag_ends_the_start_with_its_name_and_where_help_is(flag: str) -> None:
    done = run(*QUORATE, f"--{flag}=100")
    assert done.returncode == 2
    assert f"flag provided but not defined: -{flag}" in done.stderr
    assert "etcd -h | --help" in done.stderr


def test_version_behind_two_dashes_and_a_space_is_no_flag() -> None:
    done = run(*QUORATE, "--", "version")
    assert (done.returncode, done.stdout) == (1, "")
    assert r"\"version\" is not a valid flag" in done.stderr or "'version' is not a valid flag" in done.stderr


def test_times_of_100_and_500_are_taken_by_flags_and_by_variables() -> None:
    said = settings("--heartbeat-interval=100", "--election-timeout=500")
    for found in (said, settings(ETCD_HEARTBEAT_INTERVAL="100", ETCD_ELECTION_TIMEOUT="500")):
        found.config.check()
        assert (found.config.heartbeat_interval, found.config.election_timeout) == (100, 500)
    counted = [settings("--snapshot-count=5000"), settings(ETCD_SNAPSHOT_COUNT="5000")]
    assert [found.config.snapshot_count for found in counted] == [5000, 5000]


def test_compaction_large_requests_and_a_large_quota_go_together(caplog: pytest.LogCaptureFixture) -> None:
    words = ["--auto-compaction-retention=5m", "--max-request-bytes=10485760", "--quota-backend-bytes=8589934592"]
    for count, found in enumerate((settings(*words), settings(words[0], *(word[:-1] + "9" for word in words[1:])))):
        caplog.clear()
        found.config.check()
        found.config.warn()
        told = [record.getMessage() for record in caplog.records if "exceed" in record.getMessage()]
        assert len(told) == 2 * count, told


@pytest.mark.parametrize("environment", [{}, {"ETCDCTL_API": "3"}])
def test_a_put_says_ok_with_and_without_the_variable_of_the_api(
    member: MemberProcess, etcdctl: Command, environment: dict[str, str]
) -> None:
    done = run(*etcdctl, f"--endpoints={member.endpoint}", "put", "foo", "bar", **environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "OK\n", "")


@pytest.mark.parametrize("path", ["/v2/keys/foo", "/v2/members", "/v2/stats/self"])
def test_paths_of_the_v2_api_are_answered_with_one_plain_error(member: MemberProcess, path: str) -> None:
    for method in ("GET", "PUT"):
        connection = http.client.HTTPConnection("127.0.0.1", member.client_port, timeout=SECONDS)
        connection.request(method, path, body="value=x")
        reply = connection.getresponse()
        assert (reply.status, reply.read().count(b"\n") <= 1) == (404, True)
        connection.close()


def test_a_full_store_is_written_to_again_after_compaction_defragmentation_and_disarming(tmp_path: Path) -> None:
    stock = real_binary("etcdctl")
    if stock is None:
        pytest.skip("no real etcdctl here")
    with MemberProcess(tmp_path / "m", flags=["--quota-backend-bytes=1500000"]) as member:
        ask = [str(stock), f"--endpoints={member.endpoint}"]
        revision = 1
        while (done := run(*ask, "put", "k", "x" * 100_000)).returncode == 0:
            revision += 1
            assert revision < 100
        assert "etcdserver: mvcc: database space exceeded" in done.stderr
        assert "alarm:NOSPACE" in run(*ask, "alarm", "list").stdout
        assert run(*ask, "get", "k", "--keys-only").stdout.startswith("k\n")
        assert run(*ask, "compaction", "--physical", str(revision)).stdout == f"compacted revision {revision}\n"
        assert "Finished defragmenting etcd member" in run(*ask, "defrag").stdout
        assert run(*ask, "alarm", "disarm").returncode == 0
        assert run(*ask, "put", "k", "v").stdout == "OK\n"
