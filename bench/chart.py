"""A picture of ratios: one bar for each row, to the right of 1 where Quorate does better, on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

ROW = 22
LEFT = 330
WIDTH = 460
MARGIN = 40
TICKS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
GOOD, BAD, SPREAD = "#2a7f62", "#b5473c", "#222"


class Bar(NamedTuple):
    """`least` and `most` are of the pairs."""

    title: str
    ratio: float
    least: float
    most: float


def draw(title: str, bars: Sequence[Bar]) -> str:
    """An SVG image."""
    low = min(0.5, *(bar.least for bar in bars))
    high = max(2.0, *(bar.most for bar in bars))

    def place(ratio: float) -> float:
        return LEFT + WIDTH * math.log(max(ratio, low) / low) / math.log(high / low)

    height = MARGIN + ROW * len(bars) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 90}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="12" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for tick in (tick for tick in TICKS if low <= tick <= high):
        x = place(tick)
        colour = "#555" if tick == 1 else "#ddd"
        parts.append(f'<line x1="{x:.1f}" y1="{MARGIN - 6}" x2="{x:.1f}" y2="{height - 28}" stroke="{colour}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 12}" text-anchor="middle" fill="#555">{tick:g}×</text>')
    for number, bar in enumerate(bars):
        y = MARGIN + ROW * number
        one, end, least, most = (place(ratio) for ratio in (1.0, bar.ratio, bar.least, bar.most))
        left, width = min(one, end), abs(end - one)
        colour = GOOD if bar.ratio >= 1 else BAD
        parts += [
            f'<text x="{LEFT - 10}" y="{y + 13}" text-anchor="end">{escape(bar.title)}</text>',
            f'<rect x="{left:.1f}" y="{y + 3}" width="{width:.1f}" height="{ROW - 9}" fill="{colour}"/>',
            f'<line x1="{least:.1f}" y1="{y + 9}" x2="{most:.1f}" y2="{y + 9}" stroke="{SPREAD}"/>',
            f'<text x="{max(end, most) + 6:.1f}" y="{y + 13}">{bar.ratio:.2f}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
