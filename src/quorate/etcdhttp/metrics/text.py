"""Families of numbers as Prometheus reads them: the text format, version 0.0.4, with numbers as Go writes them.

Written here because etcd's names are older than the habits of today's libraries, which would rename its counters: a
counter need not end in `_total`, a gauge may. And nothing of a library is imported to start a member.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

from quorate.pkg.histogram import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

GAUGE, COUNTER, HISTOGRAM = "gauge", "counter", "histogram"

Sample = tuple[Sequence[str], "float | Histogram"]
"""Values of the labels, in the order of their names, and the number."""

PLAIN_BELOW = 10**6
"""From here on Go writes numbers with an exponent."""


@dataclass(slots=True)
class Family:
    """All numbers of one name. `labels` are their names in alphabetical order; `text` is one line."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...] = ()
    samples: list[Sample] = field(default_factory=list)

    def add(self, number: float | Histogram, *values: str) -> None:
        """One more number, with the values of its labels."""
        self.samples.append((values, number))


def gauge(name: str, text: str, number: float) -> Family:
    """A number that goes up and down."""
    return Family(name, GAUGE, text, (), [((), number)])


def counter(name: str, text: str, number: float) -> Family:
    """A number that only grows."""
    return Family(name, COUNTER, text, (), [((), number)])


def histogram(name: str, text: str, values: Histogram) -> Family:
    """How often values were how large."""
    return Family(name, HISTOGRAM, text, (), [((), values)])


def render(families: Iterable[Family]) -> bytes:
    """The page. Families without a number are left out, as those are in etcd that have not been used."""
    lines: list[str] = []
    for family in sorted(families, key=lambda family: family.name):
        if family.samples:
            lines.append(f"# HELP {family.name} {family.text}")
            lines.append(f"# TYPE {family.name} {family.kind}")
            for values, number in family.samples:
                _add_sample(lines, family, values, number)
    lines.append("")
    return "\n".join(lines).encode()


def _add_sample(lines: list[str], family: Family, values: Sequence[str], number: float | Histogram) -> None:
    labels = _labels(family.labels, tuple(values)) if values else ""
    around = f"{{{labels}}}" if labels else ""
    if number.__class__ is not Histogram:
        lines.append(f"{family.name}{around} {to_text(cast(float, number))}")
        return
    start = f"{family.name}_bucket{{{labels}{',' if labels else ''}le="
    buckets = number.buckets()
    lines += [f'{start}"{_bound(bound)}"}} {to_text(count)}' for bound, count in buckets]
    lines.append(f"{family.name}_sum{around} {to_text(number.sum)}")
    lines.append(f"{family.name}_count{around} {to_text(buckets[-1][1])}")


@lru_cache(maxsize=4096)
def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    """Most labels are the same at every scrape."""
    return ",".join(f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True))


@lru_cache(maxsize=512)
def _bound(bound: float) -> str:
    return to_text(bound)


def to_text(number: float) -> str:
    """A number in its shortest form."""
    if number.__class__ is int and -PLAIN_BELOW < number < PLAIN_BELOW:
        return str(number)
    number = float(number)
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "+Inf" if number > 0 else "-Inf"
    text = repr(number)
    if "e" in text:
        digits, _, power = text.partition("e")
        return f"{digits}e{int(power):+03d}"
    if abs(number) < PLAIN_BELOW:
        return text.removesuffix(".0")
    sign, whole, part = "-" if number < 0 else "", *text.removeprefix("-").split(".")
    digits = (whole + part).rstrip("0")
    return f"{sign}{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{len(whole) - 1:+03d}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
