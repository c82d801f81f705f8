"""The report as Markdown; tables only, or with sheets of pictures that lie beside it."""

from collections.abc import Mapping, Sequence

from training.evaluate.facts import RESEARCH_USE
from training.evaluate.legend import HOW_TO_READ
from training.evaluate.tables import Table

__all__ = ["markdown_report"]


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
    parts = ["# Evaluation", f"**{RESEARCH_USE}**"]
    parts.append(
        "\n".join(["| | |", "|---|---|", *(f"| {key} | {_value(key, value)} |" for key, value in facts.items())])
    )
    parts += notes
    parts += [_table(table) for table in tables]
    parts += [f"## {caption}\n\n![{caption}]({name})" for caption, name in (sheets or {}).items()]
    legend = [f"- **{name}**: {told}" for name, told in HOW_TO_READ.items()]
    parts += ["## How to read the figures", "\n".join(legend)]
    return "\n\n".join(parts) + "\n"


def _value(key: str, value: str) -> str:
    return f"`{value}`" if key in ("digest", "command") else _plain(value)


def _plain(text: str) -> str:
    return text.replace("|", "\\|")


def _table(table: Table) -> str:
    lines = [f"## {table.title}", ""]
    lines.append("| " + " | ".join(_plain(head) for head in table.columns) + " |")
    lines.append("|---" * len(table.columns) + "|")
    for number, row in enumerate(table.rows):
        cells = [f"**{_plain(cell)}**" if number == table.strong and cell else _plain(cell) for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines + (["", table.note] if table.note else []))
