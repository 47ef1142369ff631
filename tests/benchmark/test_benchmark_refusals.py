"""What makes no run: texts and exit codes."""

from __future__ import annotations

import pytest

from quorate.cmd.benchmark.main import run


@pytest.mark.parametrize(
    ("line", "status", "text"),
    [
        ("put --nope", 255, "unknown flag: --nope"),
        ("put --total=x", 255, 'invalid argument "x" for "--total" flag: parse error'),
        ("put --total", 255, "flag needs an argument: --total"),
        ("nope", 255, 'unknown command "nope" for "benchmark"'),
        ("range", 1, "<nil>"),
        ("range foo --consistency=x", 1, "<nil>"),
        ("put --key-space-size=0", 1, "expected positive --key-space-size, got (0)"),
        (
            "txn-put --txn-ops=2",
            1,
            "expected --txn-ops no larger than --key-space-size, got txn-ops(2) key-space-size(1)",
        ),
        ("stm --keys=0", 1, "expected positive --keys, got (0)"),
        ("stm --txn-wr-percent=101", 1, "expected [0, 100] --txn-wr-percent, got (101)"),
        ("stm --keys-per-txn=2", 1, "expected --keys-per-txn between 0 and 1, got (2)"),
        ("put --cacert=/nowhere --endpoints=https://127.0.0.1:1", 1, "bad tls config: "),
        ("put --endpoints=127.0.0.1:1 --dial-timeout=300ms", 1, "dial error: context deadline exceeded"),
        ("put --endpoints=127.0.0.1:1 --dial-timeout=300ms --target-leader", 1, "failed to get a member list: "),
        ("watch --processes=2", 1, "watch runs in one process, got --processes=2"),
    ],
)
def test_a_command_line_that_cannot_be_run_is_refused_with_a_reason(
    line: str, status: int, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split()) == status
    assert text in capfd.readouterr().err.splitlines()[-1]


def test_help_lists_the_commands_and_the_flags_of_each(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["-h"]) == 0
    printed = capfd.readouterr().out
    for command in ("put", "range", "txn-put", "txn-mixed", "stm", "watch", "watch-get", "watch-latency", "mvcc put"):
        assert f"  {command}" in printed
        assert run([*command.split(), "--help"]) == 0
        assert f"  benchmark {command}" in capfd.readouterr().out


def test_global_flags_may_stand_before_and_behind_the_command(capfd: pytest.CaptureFixture[str]) -> None:
    for line in ("--conns 0 put --total=1", "put --total=1 --conns 0"):
        assert run(line.split()) == 1
        assert capfd.readouterr().err == "expected positive --conns, got (0)\n"


def test_the_store_alone_needs_no_server(capfd: pytest.CaptureFixture[str]) -> None:
    for more in ("", "--txn --txn-ops=7"):
        assert run(["mvcc", "put", "--total=50", *more.split()]) == 0
        assert capfd.readouterr().out.endswith("\n\n")
