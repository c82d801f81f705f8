"""Curves as an SVG file: a few lines of text, so that no plotting library is needed for one picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Panel", "as_svg"]

WIDTH, HEIGHT = 900, 260  # px of one panel
LEFT, RIGHT, TOP, BOTTOM = 76, 20, 40, 48
INK, GRID, LINE, DOT = "#24292f", "#d0d7de", "#0969da", "#bc4c00"
TICKS = 5

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram; its vertical axis begins at 0.

    Attributes
    ----------
    points : (x, y), x ascending; not empty.
    as_dots : single points instead of a line.
    """

    title: str
    x_label: str
    y_label: str
    points: Sequence[Point]
    as_dots: bool = False


def as_svg(panels: Sequence[Panel]) -> str:
    """The panels one below the other, black on white whatever the page's colours."""
    height = HEIGHT * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="13" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        *(f'<g transform="translate(0 {HEIGHT * row})">{_panel(panel)}</g>' for row, panel in enumerate(panels)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _panel(panel: Panel) -> str:
    across = _ticks(max(x for x, _ in panel.points))
    up = _ticks(max(y for _, y in panel.points))

    def place(x: float, y: float) -> Point:
        return (
            LEFT + x / across[-1] * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - y / up[-1] * (HEIGHT - TOP - BOTTOM),
        )

    parts = [_text(LEFT, TOP - 16, panel.title, weight="bold")]
    for value in up:
        x, y = place(0, value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
        parts.append(_text(x - 8, y + 4, f"{value:g}", anchor="end"))
    for value in across:
        x, _ = place(value, 0)
        parts.append(_text(x, HEIGHT - BOTTOM + 18, f"{value:g}", anchor="middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, panel.x_label, anchor="middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<g transform="rotate(-90 18 {middle})">{_text(18, middle, panel.y_label, anchor="middle")}</g>')
    placed = [place(x, y) for x, y in panel.points]
    parts.append(_dots(placed) if panel.as_dots else _line(placed))
    return "\n".join(parts)


def _line(points: Sequence[Point]) -> str:
    steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{steps}" fill="none" stroke="{LINE}" stroke-width="1.6"/>'


def _dots(points: Sequence[Point]) -> str:
    circles = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.6"/>' for x, y in points)
    return f'<g fill="{DOT}">{circles}</g>'


def _text(x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(words)}</text>'


def _ticks(largest: float) -> list[float]:
    """0 and a few round numbers, the last of them at or above ``largest``."""
    if largest <= 0:
        return [0.0, 1.0]
    rough = largest / TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough * (1 - 1e-9))
    return [number * step for number in range(math.ceil(largest / step - 1e-9) + 1)]
