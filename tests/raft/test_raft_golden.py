"""Golden scripts hold to the letter: our own, and those of a reference raft, which are read from where they lie."""

import os
from pathlib import Path

import pytest

from quorate.testing.datadriven import run_script, scripts
from quorate.testing.datadriven.__main__ import main

FOLDERS = [
    Path(os.environ.get("QUORATE_RAFT_SCRIPTS", "")),
    Path(__file__).parents[3] / "shared" / "testdata" / "raft",
]
FOUND = next((list(scripts([folder])) for folder in FOLDERS if folder.name and folder.is_dir()), [])


@pytest.mark.skipif(not FOUND, reason="no golden scripts here; QUORATE_RAFT_SCRIPTS names their folder")
@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_golden_script_is_reproduced(path: Path) -> None:
    for difference in run_script(path.read_text(encoding="utf-8")):
        pytest.fail(f"{path}:{difference.line}\n--- expected\n{difference.expected}\n--- actual\n{difference.actual}")


OWN = list(scripts([Path(__file__).parent / "scripts"]))


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_an_own_script_is_reproduced(path: Path) -> None:
    assert run_script(path.read_text(encoding="utf-8")) == []


VOTES = "vote cfg=(1,2,3) votes=(y,n,_)\n----\nVotePending\n"


def test_the_runner_counts_what_passed_and_exits_non_zero_on_a_difference(tmp_path: Path, capsys) -> None:
    (tmp_path / "good.txt").write_text(VOTES)
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "1 passed, 0 failed\n"
    (tmp_path / "bad.txt").write_text(VOTES.replace("Pending", "Won"))
    assert main([str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "-VoteWon\n+VotePending\n" in out
    assert out.endswith("1 passed, 1 failed\n")


def test_the_runner_fails_on_a_folder_without_scripts(tmp_path: Path, capsys) -> None:
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().out == "0 passed, 0 failed\n"


def test_an_unknown_command_is_a_failure(tmp_path: Path, capsys) -> None:
    (tmp_path / "odd.txt").write_text("dance 1\n----\nok\n")
    assert main([str(tmp_path)]) == 1
    assert "unknown command dance" in capsys.readouterr().out


def test_a_directive_may_go_on_in_the_next_line_and_output_may_have_blank_lines() -> None:
    assert (
        run_script("vote cfg=(1, 2) \\\n  votes=(y,\ty)\n----\n----\nVoteWon\n\n----\n----\n")[0].actual == "VoteWon\n"
    )
    assert not run_script("vote cfg=(1, 2) \\\n  votes=(y,y)\n----\n----\nVoteWon\n----\n----\n")
