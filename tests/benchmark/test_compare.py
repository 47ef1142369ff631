"""bench/compare.py: nothing measured is lost, nothing is measured twice, and the page says what the file holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
SETTINGS = {"scale": 0.005, "seconds": 5.0, "growth_gb": 2.0, "processes": 1}


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    import page

    return page


def compare(path: Path, *more: str) -> str:
    argv = [sys.executable, str(BENCH / "compare.py"), "--sides=quorate", "--topologies=one", "--pairs=1"]
    argv += ["--scale=0.005", "--seconds=5", "--store-pairs=0", f"--json={path}", *more]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120).stdout


def records(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["records"]
    return found


def test_a_run_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "compare.json"
    printed = compare(path, "--rows=put-1,range-1-s")
    assert [line.split()[:2] for line in printed.splitlines()] == [["put-1", "quorate"], ["range-1-s", "quorate"]]
    before = records(path)
    assert all(record["ops"] > 0 and record["errors"] == 0 and record["rss_mb"] > 0 for record in before)
    assert compare(path, "--rows=put-1,range-1-s") == ""
    content = json.loads(path.read_text())
    content["records"] = [before[0], {**before[1], "failed": "cut off"}]
    path.write_text(json.dumps(content))
    assert compare(path, "--rows=put-1,range-1-s").split()[:2] == ["range-1-s", "quorate"]
    assert records(path)[0] == before[0]
    assert "failed" not in records(path)[1]


def test_results_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    path = tmp_path / "compare.json"
    path.write_text(json.dumps({"machine": {}, "settings": {**SETTINGS, "scale": 1.0}, "records": []}))
    with pytest.raises(subprocess.CalledProcessError) as refused:
        compare(path, "--rows=put-1")
    assert "holds a run with other settings" in refused.value.stderr


def measured(row: str, side: str, pair: int, ops: float, **more: Any) -> dict[str, Any]:
    numbers = dict.fromkeys(("average_ms", "p50_ms", "p99_ms", "slowest_ms", "cpu_us", "rss_mb", "seconds"), 1.0)
    record = {"topology": "three", "row": row, "side": side, "pair": pair, "ops": ops, "errors": 0}
    return {**record, **numbers, "generator_busy": 0.1, **more}


def test_the_page_has_medians_ratios_within_pairs_and_what_is_held(page: Any, tmp_path: Path) -> None:
    path = tmp_path / "compare.json"
    made = []
    for pair, (real, ours) in enumerate([(100.0, 200.0), (1000.0, 1200.0), (200.0, 600.0)]):
        made += [measured("put-1000-leader", "etcd", pair, real), measured("put-1000-leader", "quorate", pair, ours)]
    made.append(measured("range-1000-l", "etcd", 0, 10.0))
    made.append(measured("range-1000-l", "quorate", 0, 15.0, generator_busy=0.95))
    made.append({"topology": "three", "row": "stm", "side": "etcd", "pair": 0, "failed": "dial error"})
    machine = {"cores": 2, "processor": "P", "memory_gb": 24, "system": "Linux", "python": "3.11"}
    path.write_text(json.dumps({"machine": machine, "settings": SETTINGS, "versions": {}, "records": made}))
    page.write_page(path, tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text()
    assert "| put, 1000 clients, leader | etcd | 200 |  |" in text
    assert "|  | Quorate | 600 | **2.00** (1.20–3.00) |" in text
    assert "|  | Quorate | 15* | **1.50** |" in text
    assert "| put, 1000 clients, leader | ≥ 1.5 × | **2.00** (1.20–3.00) | yes |" in text
    assert "| get, 1000 clients, linearizable | ≥ 2 × | **1.50** | **no** |" in text
    assert "- three, stm, etcd, pair 0: dial error" in text
    picture = ElementTree.fromstring((tmp_path / "compare-three.svg").read_text())
    titles = [text for element in picture.iter() if (text := element.text) and "clients" in text]
    assert titles == ["put, 1000 clients, leader", "get, 1000 clients, linearizable"]


def test_every_row_is_of_a_command_and_has_a_name_of_its_own(page: Any) -> None:
    from quorate.cmd.benchmark.process import JOBS

    assert all(row.command in JOBS for row in page.ROWS)
    names = [row.name for row in page.ROWS]
    assert len(set(names)) == len(names)
    assert {hold.row for hold in page.HOLDS} <= set(names)
