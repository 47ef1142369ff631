"""The scripts about the log and the store hold to the letter, and a script can fail."""

from pathlib import Path

import pytest

from quorate.testing.datadriven import ScriptError, run_script, scripts

OWN = list(scripts([Path(__file__).parent / "scripts"]))


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_a_storage_script_is_reproduced(path: Path) -> None:
    assert run_script(path.read_text(encoding="utf-8")) == []


def test_what_comes_out_is_compared_and_the_place_told() -> None:
    (difference,) = run_script("mvcc\n----\nok\n\nput a 1\n----\nput at 3\n")
    assert difference == (5, "put", "put at 3\n", "put at 2\n")


@pytest.mark.parametrize(
    ("directive", "complaint"),
    [
        ("dance", "line 5: unknown command dance"),
        ("compact", "line 5: compact: list index out of range"),
        ("txn\ncompact 1", "compact is no part of a transaction"),
    ],
)
def test_a_command_that_makes_no_sense_is_the_fault_of_the_script(directive: str, complaint: str) -> None:
    with pytest.raises(ScriptError, match=complaint):
        run_script(f"mvcc\n----\nok\n\n{directive}\n----\nok\n")


def test_a_log_that_is_not_open_takes_nothing() -> None:
    with pytest.raises(ScriptError, match="no log is open"):
        run_script("wal\n----\nok\n\nsave\nentry 1/1 x\n----\nok\n")
