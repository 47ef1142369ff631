"""Facts about the flags of etcd 3.4 to 3.7: name, default, releases; a line each in `etcd_flags.tsv`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).with_name("etcd_flags.tsv")
FIRST_OF_INTEREST = (3, 4)


class Fact(NamedTuple):
    name: str
    default: str
    releases: str

    @property
    def of_interest(self) -> bool:
        """Whether a release from 3.4 on has it."""
        last = self.releases.rpartition("–")[2].rpartition(";")[2].strip()
        found = re.search(r"(\d+)\.(\d+)", last)
        return found is None or (int(found[1]), int(found[2])) >= FIRST_OF_INTEREST


def facts() -> list[Fact]:
    return [Fact(*line.split("\t")) for line in TABLE.read_text("utf-8").splitlines()]


def parse_page(text: str) -> list[Fact]:
    """The rows of a page of tables whose first column is a flag; sections of other commands are left out."""
    found = []
    section = header = ""
    columns: list[str] = []
    for line in text.splitlines():
        if line.startswith("## "):
            section = line
        if not line.startswith("|") or not section.startswith("## 4."):
            header = "" if not line.startswith("|") else header
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not header:
            header, columns = line, cells
        elif cells[0].startswith("`--"):
            default = newest(cells[columns.index("default")].replace("`", ""))
            found.append(Fact(cells[0].strip("`-"), default, cells[columns.index("releases")]))
    return found


def newest(text: str) -> str:
    """The default of the newest release, as a flag shows it, from what a page says about it."""
    if text.startswith(("{", "<")):
        return text if text.startswith("{") else ""
    last = re.split(r", (?=[\w-]+ (?:in|≥|\d))", text)[-1]
    word = re.split(r" \(| → | = | in | ≥| \d\.\d", last)[0]
    return {"empty": "", "1m": "1m0s", "10m": "10m0s"}.get(word, word)
