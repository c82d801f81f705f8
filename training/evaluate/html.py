"""The report as one HTML file with its pictures inside: nothing to lose, nothing fetched."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape

from training.evaluate.facts import RESEARCH_USE
from training.evaluate.legend import HOW_TO_READ
from training.evaluate.tables import Table

__all__ = ["html_report"]

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; color: #1b1f24; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; display: block; overflow-x: auto; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #d5dae1; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
tr.strong td { font-weight: 600; background: #eef4fb; }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.research { border-left: 4px solid #b3541e; padding: .4rem .8rem; background: #fbf1ea; }
img { max-width: 100%; background: #181818; }
@media (prefers-color-scheme: dark) {
  body { background: #14171b; color: #dde3ea; } th, td { border-color: #333a43; }
  tr.strong td { background: #1d2a39; } .research { background: #2b1f17; }
}
"""


def html_report(
    facts: Mapping[str, str], tables: Sequence[Table], sheets: Mapping[str, bytes], notes: Sequence[str] = ()
) -> str:
    """The whole page.

    Parameters
    ----------
    sheets : caption -> JPEG.
    notes : sentences about what was left out.
    """
    shown = "".join(f"<tr><td>{escape(key)}</td><td>{escape(value)}</td></tr>" for key, value in facts.items())
    title = f"Evaluation of {facts.get('bundle', 'a bundle')}"
    body = [f"<h1>{escape(title)}</h1>", f'<p class="research">{escape(RESEARCH_USE)}</p>']
    body += [f'<table class="facts">{shown}</table>', *(f"<p>{escape(note)}</p>" for note in notes)]
    body += [_table(table) for table in tables]
    body += [_picture(caption, data) for caption, data in sheets.items()]
    legend = "".join(
        f"<dt><strong>{escape(name)}</strong></dt><dd>{escape(told)}</dd>" for name, told in HOW_TO_READ.items()
    )
    body.append(f"<h2>How to read the figures</h2><dl>{legend}</dl>")
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(_row(cells, strong=number == table.strong) for number, cells in enumerate(table.rows))
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    return f"<h2>{escape(table.title)}</h2><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{note}"


def _row(cells: Sequence[str], *, strong: bool) -> str:
    opening = '<tr class="strong">' if strong else "<tr>"
    return opening + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _picture(caption: str, data: bytes) -> str:
    source = f"data:image/jpeg;base64,{b64encode(data).decode('ascii')}"
    return f'<h2>{escape(caption)}</h2><img alt="{escape(caption)}" src="{source}">'
