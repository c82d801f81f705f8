"""The report: one list of blocks, written as Markdown for the project and as one HTML file with its pictures inside."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from training.compare.findings import findings
from training.compare.result import Comparison, SetResult
from training.compare.tables import cost_table, set_tables
from training.evaluate.facts import RESEARCH_USE
from training.evaluate.html import STYLE
from training.evaluate.legend import HOW_TO_READ
from training.evaluate.markdown import facts_table, table_of
from training.evaluate.tables import Table

__all__ = ["Pictures", "as_html", "as_markdown"]

TITLE = "The rivals under one budget"
LEGEND = ("bsr_tone", "ribs_left", "LPIPS", "PSNR, MSE, MS-SSIM", "bsr_strict", "bsr_paper")
FAIR = (
    "Every system saw the same training pairs in the same random framings, tones and nodules, and was given the same "
    "processor time of one thread, augmentation and loading included; the learning rate of each falls with the time "
    "that is spent. A network with slow steps takes fewer of them: the table of sizes says how many, and at which "
    "scale. No checkpoint was chosen: the averaged weights at the end of the budget are measured, once."
)
MEASURED = (
    "Every radiograph is averaged down to the size of the comparison and stretched as the service stretches it; what a "
    "system changes there is changed in the radiograph. Processor seconds are the median over the images of the first "
    "set, one thread, one image at a time, in plain torch; of what ships, in ONNX Runtime at its own grid."
)


@dataclass(frozen=True, slots=True)
class Pictures:
    """Sheets of one set: caption -> JPEG, and the file beside the Markdown page where they may be passed on."""

    sheets: Mapping[str, bytes]
    file: str | None = None


def as_markdown(comparison: Comparison, size: int, pictures: Mapping[str, Pictures]) -> str:
    """The page that may be passed on: pictures of simulated people at most."""
    parts = [f"# {TITLE}", f"**{RESEARCH_USE}**", facts_table(comparison.facts)]
    parts += [*comparison.missing, FAIR, MEASURED, table_of(cost_table(comparison, size), 3)]
    for result in comparison.sets:
        parts.append(f"## {_heading(result)}")
        parts.append("\n".join(f"- {sentence}" for sentence in findings(comparison, result)))
        parts += [table_of(table, 3) for table in set_tables(comparison, result)]
        shown = pictures.get(result.held_out.name)
        if shown is not None and shown.file is not None:
            parts.append(f"![Outputs and errors on {result.held_out.name}]({quote(shown.file)})")
    parts += ["## How to read the figures", "\n".join(f"- **{name}**: {HOW_TO_READ[name]}" for name in LEGEND)]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_html(comparison: Comparison, size: int, pictures: Mapping[str, Pictures]) -> str:
    """The same with every picture inside; nothing is fetched."""
    body = [f"<h1>{escape(TITLE)}</h1>", f'<p class="research">{escape(RESEARCH_USE)}</p>']
    facts = "".join(
        f"<tr><td>{escape(key)}</td><td>{escape(value)}</td></tr>" for key, value in comparison.facts.items()
    )
    body += [f'<table class="facts">{facts}</table>']
    body += [f"<p>{escape(text)}</p>" for text in (*comparison.missing, FAIR, MEASURED)]
    body.append(_table_html(cost_table(comparison, size)))
    for result in comparison.sets:
        body.append(f"<h2>{escape(_heading(result))}</h2>")
        told = "".join(f"<li>{_strong(sentence)}</li>" for sentence in findings(comparison, result))
        body.append(f"<ul>{told}</ul>")
        body += [_table_html(table) for table in set_tables(comparison, result)]
        shown = pictures.get(result.held_out.name)
        body += [_picture(caption, data) for caption, data in (shown.sheets if shown else {}).items()]
    legend = "".join(f"<dt><strong>{escape(n)}</strong></dt><dd>{escape(HOW_TO_READ[n])}</dd>" for n in LEGEND)
    body.append(f"<h2>How to read the figures</h2><dl>{legend}</dl>")
    head = f'<meta charset="utf-8"><title>{escape(TITLE)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def _heading(result: SetResult) -> str:
    return f"{result.held_out.name}: {result.held_out.title}"


def _table_html(table: Table) -> str:
    head = _cells(table.columns, "th")
    rows = "".join(
        f"<tr{' class=strong' if number == table.strong else ''}>{_cells(row, 'td')}</tr>"
        for number, row in enumerate(table.rows)
    )
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    return f"<h3>{escape(table.title)}</h3><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{note}"


def _cells(texts: Sequence[str], tag: str) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)


def _strong(sentence: str) -> str:
    """The one mark of Markdown that the sentences use."""
    pieces = escape(sentence).split("**")
    return "".join(f"<strong>{text}</strong>" if number % 2 else text for number, text in enumerate(pieces))


def _picture(caption: str, data: bytes) -> str:
    source = f"data:image/jpeg;base64,{b64encode(data).decode('ascii')}"
    return f'<h4>{escape(caption)}</h4><img alt="{escape(caption)}" src="{source}">'
