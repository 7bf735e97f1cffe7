"""Plots as SVG: one group of bars for each row of a section."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from bench.rows import Row

_WIDTH = 820
_LABEL_WIDTH = 330
_BAR_WIDTH = 340
_BAR_HEIGHT = 14
_GROUP_GAP = 12
_TOP = 10
_OURS, _PEER, _GOAL, _TEXT = "#2f6fde", "#b4b4b4", "#d03030", "#444444"


def plot(rows: Iterable[Row]) -> str:
    """Bars of ours and of the peer, and a line at the goal.

    Each row has a scale of its own, which begins at 0.
    """
    top, parts = _TOP, list[str]()
    for row in rows:
        bars = [("ours", row.ours, _OURS)]
        if row.peer is not None:
            bars.append((row.peer_name, row.peer, _PEER))
        largest = max(row.ours, row.peer or 0, row.goal_value or 0) or 1
        parts.append(_text(0, top + 11, row.label))
        for name, value, color in bars:
            width = max(1, round(_BAR_WIDTH * value / largest))
            parts.append(
                f'<rect x="{_LABEL_WIDTH}" y="{top}" width="{width}" height="{_BAR_HEIGHT - 2}"'
                f' fill="{color}"/>'
            )
            parts.append(_text(_LABEL_WIDTH + width + 4, top + 11, f"{name} {value:,.4g}"))
            top += _BAR_HEIGHT
        if row.goal_value is not None:
            left = _LABEL_WIDTH + round(_BAR_WIDTH * row.goal_value / largest)
            height = len(bars) * _BAR_HEIGHT
            parts.append(
                f'<path d="M{left} {top - height - 2}v{height + 2}" stroke="{_GOAL}"'
                ' stroke-width="2"/>'
            )
        top += _GROUP_GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}"'
        f' font-family="sans-serif" font-size="11" fill="{_TEXT}">\n'
        '<path fill="#ffffff" d="M0 0h9999v9999h-9999z"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _text(left: int, base: int, text: str) -> str:
    return f'<text x="{left}" y="{base}">{escape(text)}</text>'
