"""docs/checklist.md and the pages for operators point at what is there."""

from __future__ import annotations

import ast
import functools
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHECKLIST = ROOT / "docs" / "checklist.md"
PAGES = [CHECKLIST, *sorted((ROOT / "docs" / "operations").glob("*.md"))]

_ROW = re.compile(r"^\| (\d+) \| (.+) \| (.+) \|$", re.MULTILINE)
_LINK = re.compile(r"(?<!`)\[([^\]\n]+)\]\(([^)\s]+)\)")


def rows() -> list[tuple[int, str, str]]:
    return [(int(number), what, shown) for number, what, shown in _ROW.findall(CHECKLIST.read_text())]


@functools.cache
def functions(path: Path) -> set[str]:
    """Names of the functions of a test module, those in classes too."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)}


@functools.cache
def anchors(path: Path) -> set[str]:
    """What a link into a page may end with: its headings as they are written in addresses."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading_or_test_in_it(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text()) if "://" not in link[1]]
    missing = []
    for text, target in links:
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists():
            missing.append(f"{target}: no such file")
        elif anchor and anchor not in anchors(path):
            missing.append(f"{target}: no such heading")
        elif path.suffix == ".py" and text.startswith("test_") and text not in functions(path):
            missing.append(f"{target}: has no {text}")
    assert missing == []


def test_every_row_says_what_works_and_what_shows_it() -> None:
    listed = rows()
    assert [number for number, _, _ in listed] == list(range(1, len(listed) + 1))
    assert len(listed) > 100
    lines = [line for line in CHECKLIST.read_text().splitlines() if re.match(r"\| *\d", line)]
    assert len(lines) == len(listed)
    assert [number for number, what, shown in listed if not what.strip() or not _LINK.search(shown)] == []


def test_rows_are_those_of_the_reference_page() -> None:
    page = Path(os.environ.get("QUORATE_REFERENCE", "reference")) / "seed-checklist.md"
    if not page.is_file():
        pytest.skip("QUORATE_REFERENCE names no folder with seed-checklist.md")
    wanted = [int(number) for number in re.findall(r"^\| (\d+) \|", page.read_text("utf-8"), re.MULTILINE)]
    assert [number for number, _, _ in rows()] == wanted


def test_every_page_for_operators_is_in_the_index() -> None:
    index = (ROOT / "docs" / "operations" / "README.md").read_text()
    assert {page.name for page in PAGES[1:] if page.name != "README.md"} == set(re.findall(r"\]\((\w+\.md)\)", index))
