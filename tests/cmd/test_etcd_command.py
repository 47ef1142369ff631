"""What the command answers without starting a member."""

import pytest

from quorate.cmd import etcd
from quorate.version import ETCD_VERSION


def run(capsys: pytest.CaptureFixture[str], *words: str, **environment: str) -> tuple[int, str, str]:
    code = etcd.run(words, environment)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_version_and_help_end_well(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--version")
    assert (code, out.splitlines()[0], len(out.splitlines())) == (0, f"etcd Version: {ETCD_VERSION}", 4)
    code, out, err = run(capsys, "-h")
    assert code == 0
    assert "--listen-client-urls 'http://localhost:2379'" in out
    assert err.startswith("Usage:")


@pytest.mark.parametrize(
    ("word", "code", "text"),
    [
        ("--nope", 2, "flag provided but not defined: -nope"),
        ("--pre-vote=maybe", 2, 'invalid boolean value "maybe" for -pre-vote: parse error'),
        ("--initial-cluster-state=foo", 2, 'invalid value "foo" for flag -initial-cluster-state: invalid value'),
        ("--listen-client-urls=ftp://x:1", 2, "URL scheme must be http, https, unix, or unixs: ftp://x:1"),
        ("foo", 1, '\\"foo\\" is not a valid flag'),
        ("--log-level=bad", 2, 'unrecognized level: \\"bad\\"'),
        ("--auth-token=bad", 1, "auth: invalid auth options"),
        ("--bcrypt-cost=-1", 2, 'invalid value "-1" for flag -bcrypt-cost: parse error'),
        ("--election-timeout=50001", 1, "is too long, and should be set less than 50000ms"),
    ],
)
def test_a_bad_word_ends_with_its_reason(capsys: pytest.CaptureFixture[str], word: str, code: int, text: str) -> None:
    found, _, err = run(capsys, word)
    assert found == code
    assert text in err


def test_a_flag_and_its_variable_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--name=a", ETCD_NAME="a")
    assert code == 1
    assert "conflicting environment variable is shadowed by corresponding command-line flag" in err
    assert "ETCD_NAME" in err


def test_a_bad_variable_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, ETCD_HEARTBEAT_INTERVAL="abc")
    assert code == 1
    assert 'invalid value \\"abc\\" for ETCD_HEARTBEAT_INTERVAL: parse error' in err
