"""Tables as Markdown, put between two marks of a document whose prose stays."""

import re
from collections.abc import Iterable
from pathlib import Path

from pacs_node.bench.rows import Grid

__all__ = ["MarkMissing", "as_markdown", "replace_between", "update_document"]


class MarkMissing(Exception):
    """The document has no such pair of marks."""


def as_markdown(grids: Iterable[Grid], notes: Iterable[str] = ()) -> str:
    """One table for each grid, each under its title, then the notes as paragraphs."""
    parts = ["\n".join([f"**{grid.title}**", "", *_lines(grid)]) for grid in grids]
    return "\n\n".join([*parts, *notes])


def _lines(grid: Grid) -> list[str]:
    rule = ["---"] * len(grid.columns)
    return [_line(grid.columns), _line(rule), *(_line(row) for row in grid.rows)]


def _line(cells: Iterable[object]) -> str:
    shown = (str("" if cell is None else cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(shown)} |"


def replace_between(text: str, name: str, body: str) -> str:
    """``text`` with ``body`` between `<!-- name -->` and `<!-- /name -->`, which stay.

    Raises
    ------
    MarkMissing
        There is no such pair, in that order.
    """
    opened, closed = f"<!-- {name} -->", f"<!-- /{name} -->"
    pattern = re.compile(f"({re.escape(opened)}).*?({re.escape(closed)})", re.DOTALL)
    if not pattern.search(text):
        raise MarkMissing(f"there is no {opened} ... {closed}")
    return pattern.sub(lambda found: f"{found[1]}\n{body.strip()}\n{found[2]}", text, count=1)


def update_document(path: Path, bodies: dict[str, str]) -> None:
    """Replace what stands between the marks of each name; a document that does not exist is made of them alone.

    Raises
    ------
    MarkMissing
        The document exists and lacks a mark; it was not changed.
    OSError
        It cannot be read or written.
    """
    if path.exists():
        text = path.read_text(encoding="utf-8")
    else:
        text = "".join(f"<!-- {name} -->\n<!-- /{name} -->\n\n" for name in bodies)
    for name, body in bodies.items():
        text = replace_between(text, name, body)
    path.write_text(text.rstrip() + "\n", encoding="utf-8")
