"""What etcdctl once did with files is handed to etcdutl, with the flags that were given."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from quorate.cmd.ctl.main import execute

ETCDUTL = "quorate.cmd.utl.main"
HANDED = {
    "snapshot status s.db -w json": ["snapshot", "status", "--write-out=json", "--", "s.db"],
    "snapshot restore s.db --name=m1 --skip-hash-check --data-dir d": [
        *("snapshot", "restore", "--write-out=simple", "--data-dir=d", "--name=m1", "--skip-hash-check=true"),
        *("--", "s.db"),
    ],
    "defrag --data-dir d": ["defrag", "--write-out=simple", "--data-dir=d", "--"],
}


@pytest.mark.parametrize("words", HANDED)
def test_work_on_files_is_handed_to_etcdutl(
    words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = []
    etcdutl = ModuleType(ETCDUTL)
    etcdutl.__dict__["run"] = lambda given: asked.append(given) or 7
    monkeypatch.setitem(sys.modules, ETCDUTL, etcdutl)
    assert execute(words.split(), {}) == 7
    assert asked == [HANDED[words]]
    assert "etcdutl" in capfd.readouterr().err
