"""The report as Markdown; tables only, or with sheets of pictures that lie beside it."""

from collections.abc import Mapping, Sequence

from training.evaluate.facts import RESEARCH_USE
from training.evaluate.legend import HOW_TO_READ
from training.evaluate.tables import Table

__all__ = ["facts_table", "markdown_report", "table_of"]

CODE = ("command", "commit", "digest")  # facts that are somebody's to copy


def markdown_report(
    facts: Mapping[str, str],
    tables: Sequence[Table],
    sheets: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """The whole page.

    Parameters
    ----------
    sheets : caption -> file name of a picture beside the page; None for a page that may be passed on with the project.
    notes : sentences about what was left out.
    """
    parts = ["# Evaluation", f"**{RESEARCH_USE}**", facts_table(facts), *notes]
    parts += [table_of(table) for table in tables]
    parts += [f"## {caption}\n\n![{caption}]({name})" for caption, name in (sheets or {}).items()]
    legend = [f"- **{name}**: {told}" for name, told in HOW_TO_READ.items()]
    parts += ["## How to read the figures", "\n".join(legend)]
    return "\n\n".join(parts) + "\n"


def facts_table(facts: Mapping[str, str]) -> str:
    """Name and value of each fact, without a head."""
    rows = [f"| {key} | {f'`{value}`' if key in CODE else _plain(value)} |" for key, value in facts.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def table_of(table: Table, level: int = 2) -> str:
    """A table under a heading of ``level``, its note below; the row that ships is bold."""
    lines = [f"{'#' * level} {table.title}", ""]
    lines.append("| " + " | ".join(_plain(head) for head in table.columns) + " |")
    lines.append("|---" * len(table.columns) + "|")
    for number, row in enumerate(table.rows):
        cells = [f"**{_plain(cell)}**" if number == table.strong and cell else _plain(cell) for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines + (["", table.note] if table.note else []))


def _plain(text: str) -> str:
    return text.replace("|", "\\|")
