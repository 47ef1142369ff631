"""Pages of metrics taken apart, and compared."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ENDS = ("_bucket", "_sum", "_count")


@dataclass
class Shape:
    """What dashboards and alerts depend on."""

    kind: str
    labels: set[tuple[str, ...]] = field(default_factory=set)
    bounds: set[str] = field(default_factory=set)


class Page:
    """The text of /metrics. Asserts that each family is announced once, in order, and that its samples follow."""

    def __init__(self, text: str) -> None:
        self.families: dict[str, Shape] = {}
        self.numbers: dict[str, float] = {}
        """By name and labels as they stand in the text."""
        name = helped = ""
        assert text.endswith("\n")
        for line in text.splitlines():
            if line.startswith("# HELP "):
                helped = line.split(" ", 3)[2]
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert helped == name and name not in self.families
                self.families[name] = Shape(kind)
            else:
                self._sample(line, name)
        assert list(self.families) == sorted(self.families)

    def _sample(self, line: str, name: str) -> None:
        series, _, number = line.rpartition(" ")
        own, _, labels = series.partition("{")
        shape = self.families[name]
        assert own == name or (shape.kind in ("histogram", "summary") and own.removeprefix(name) in _ENDS)
        named = dict(_LABEL.findall(labels))
        if own.endswith("_bucket"):
            shape.bounds.add(named.pop("le"))
        assert list(named) == sorted(named)
        shape.labels.add(tuple(named))
        assert series not in self.numbers
        self.numbers[series] = float(number)

    def of(self, name: str) -> float:
        """The only number of a family."""
        return self.numbers[name]

    def named(self, start: str) -> dict[str, float]:
        """All numbers whose name and labels begin with `start`."""
        return {series: number for series, number in self.numbers.items() if series.startswith(start)}
