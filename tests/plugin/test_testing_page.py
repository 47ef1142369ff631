"""What docs/client/testing.md shows is run as it stands there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from quorate.testing.faulty import FaultyCluster
from quorate.testing.process import real_binary

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "client" / "testing.md").read_text()


def test_its_tests_pass(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    examples = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(examples) == 3
    pytester.makepyfile(**{f"test_page_{number}": text for number, text in enumerate(examples)})
    asyncio = ("-p", "pytest_asyncio.plugin", "-o", "asyncio_default_fixture_loop_scope=function")
    result = pytester.runpytest_subprocess("-p", "quorate.testing.plugin", "-W", "error", *asyncio, timeout=150)
    result.assert_outcomes(passed=5)


def test_its_calls_of_a_cluster_exist() -> None:
    rows = re.search(r"^\| call \|.*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert rows is not None
    names = re.findall(r"`(\w+)[(`]", rows[0])
    assert len(names) > 10 and [name for name in names if not hasattr(FaultyCluster, name)] == []


@pytest.mark.real
@pytest.mark.parametrize("line", re.findall(r"^    (python -m quorate.testing .*-- etcdctl .*)$", PAGE, re.MULTILINE))
def test_its_commands_run(line: str) -> None:
    etcdctl = real_binary("etcdctl")
    if etcdctl is None or shutil.which("sh") is None:
        pytest.skip("no real etcdctl here")
    words = [{"python": sys.executable, "etcdctl": str(etcdctl)}.get(word, word) for word in shlex.split(line)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "OK\n")
