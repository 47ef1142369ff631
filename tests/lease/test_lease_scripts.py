"""The scripts about leases hold to the letter."""

from pathlib import Path

import pytest

from quorate.testing.datadriven import ScriptError, run_script, scripts

OWN = list(scripts([Path(__file__).parent / "scripts"]))


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_a_lease_script_is_reproduced(path: Path) -> None:
    assert run_script(path.read_text(encoding="utf-8")) == []


def test_the_clock_of_a_script_does_not_go_back() -> None:
    with pytest.raises(ScriptError, match="a clock does not go back"):
        run_script("lease\n----\nok\n\nat 5\n----\nok\n\nat 4\n----\nok\n")
