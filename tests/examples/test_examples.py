"""Every file in examples/ runs to its end against a fresh member, and prints what it promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from quorate import embed
from quorate.testing.environment import environment

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 80

PRINTED = {
    "config_reload": [
        "runs with host=old, port=1",
        "runs with host=new, port=2",
        "runs with host=new, pool=10, port=2",
        "runs with host=new, port=2",
    ],
    "discovery": [
        "['a heard hello', 'a heard hello', 'b heard hello', 'b heard hello', 'c heard hello', 'c heard hello']",
        "['a heard still there?', 'a heard still there?', 'c heard still there?', 'c heard still there?']",
    ],
    "leader_election": ["a leads", "b leads"],
    "lock_fencing": [
        "storage takes from slow",
        "storage takes from quick",
        "storage refuses slow",
        "etcd takes from slow: False",
        "etcd takes from quick: True",
    ],
    "notification": ["all have rotated keys", "a does: reload", "all have reloaded"],
    "pubsub": ["steady: sun", "steady: rain", "steady: snow", "steady: bye"],
    "work_queue": ["20 pieces of work, 20 different ones", "each worker in order: True"],
}
"""Lines of each, in order; others may stand between them."""


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_an_example_does_what_it_says(path: Path) -> None:
    members = 3 if "--members 3" in path.read_text() else 1
    with embed.start_cluster(members, in_memory=True) as cluster:
        env = {**os.environ, **environment(cluster.endpoints, cluster.client_urls)}
        command = [sys.executable, "-W", "error", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    printed = iter(done.stdout.splitlines())
    missing = [line for line in PRINTED[path.stem] if line not in printed]
    assert not missing, done.stdout


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_and_tells_how_it_is_run(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") < MAX_LINES
    assert f"-- python examples/{path.name}\n" in text
