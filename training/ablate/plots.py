"""The studies as SVG: a table of colours for the grids, curves for the sweeps; the same figures give the same bytes."""

import io
import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from training.ablate.compare import BY_KEY, Seen
from training.ablate.findings import PAPER_B, PAPER_LAMBDA, PAPER_OMEGA
from training.ablate.plan import KINDS, Cell, Study, cells_of
from training.ablate.tables import HEADS, KIND_TITLES, NOT_A_NUMBER, PER_STEP, label

__all__ = ["CURVES", "plot"]

CURVES: tuple[Study, ...] = ("lambda", "omega", "b", "steps")
LOWEST, HIGHEST = -1.0, 1.0  # of bsr_tone in colours and curves; what lies below is written at the edge
DARK_BELOW = -0.7  # of bsr_tone: the colours there need white letters
PANELS = ("bsr_tone", "psnr")
PAPERS = {"lambda": PAPER_LAMBDA, "omega": PAPER_OMEGA / PER_STEP, "b": PAPER_B}
STYLE: dict[Any, Any] = {"svg.hashsalt": "ablation", "svg.fonttype": "none", "font.size": 10}
COLOURS = {"dynamic_clipping": "#0969da", "none": "#bc4c00"}


def plot(seen: Seen, study: Study) -> str:
    """The picture of a study that was measured, as the text of an SVG file."""
    with mpl.rc_context(STYLE):
        figure = _curves(seen, study) if study in CURVES else _colours(seen, study)
        stream = io.StringIO()
        FigureCanvasSVG(figure)
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def _colours(seen: Seen, study: Study) -> Figure:
    """Variants down, thresholding across: bsr_tone in colour and in figures."""
    cells = cells_of(study, seen.values)
    rows = list(dict.fromkeys(label(study, cell) for cell in cells))
    means = np.array([seen.summary(cell, "bsr_tone").mean for cell in cells]).reshape(len(rows), len(KINDS))
    figure = Figure(figsize=(8.4, 1.2 + 0.9 * len(rows)), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(np.clip(means, LOWEST, HIGHEST), cmap="RdYlBu", vmin=LOWEST, vmax=HIGHEST, aspect="auto")
    for place, cell in enumerate(cells):
        row, column = divmod(place, len(KINDS))
        ink = "white" if not means[row, column] > DARK_BELOW else "black"
        axes.text(column, row, _words(seen, cell), ha="center", va="center", color=ink)
    axes.set_xticks(range(len(KINDS)), [KIND_TITLES[kind] for kind in KINDS])
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylabel(HEADS[study])
    axes.set_title("bsr_tone: 0 is a tone curve, 1 is perfect")
    figure.colorbar(shown, ax=axes, extend="min")
    return figure


def _words(seen: Seen, cell: Cell) -> str:
    tone, psnr = (seen.summary(cell, metric).mean for metric in ("bsr_tone", "psnr"))
    if not math.isfinite(psnr):
        return f"{NOT_A_NUMBER}\ncollapsed"
    return f"{tone:.3f}, {psnr:.1f} dB" + ("\ncollapsed" if seen.collapsed(cell) else "")


def _curves(seen: Seen, study: Study) -> Figure:
    """What is varied across; means over the pairs, each seed as a dot, the error of the paired difference to the base.

    The deviation over the pairs says how unlike patients are; whether two cells differ is in that error.
    """
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    cells = cells_of(study, seen.values)
    for axes, metric in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        for kind in dict.fromkeys(cell.way.kind for cell in cells):
            _curve(axes, seen, study, [cell for cell in cells if cell.way.kind == kind], metric)
        identity = seen.reference("identity", metric)
        axes.axhline(identity, color="#57606a", linewidth=0.8, linestyle=":")
        axes.annotate(
            "input", (0.99, identity), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8
        )
        if study in PAPERS:
            axes.axvline(PAPERS[study], color="#57606a", linewidth=0.8, linestyle="--")
        axes.set_xlabel(f"{HEADS[study]}{' (dashed: the paper)' if study in PAPERS else ''}")
        axes.set_ylabel(BY_KEY[metric].title)
        if study == "steps":
            axes.set_xscale("log")
            axes.legend(fontsize=8)
        places = sorted({float(label(study, cell)) for cell in cells})
        axes.set_xticks(places, [f"{place:g}" for place in places], fontsize=8)
        axes.minorticks_off()
    return figure


def _curve(axes: Axes, seen: Seen, study: Study, cells: Sequence[Cell], metric: str) -> None:
    places = [float(label(study, cell)) for cell in cells]
    found = [seen.summary(cell, metric) for cell in cells]
    floor = LOWEST if metric == "bsr_tone" else seen.reference("identity", "psnr") - 6
    colour = COLOURS[cells[0].way.kind]
    inside = [summary.mean if summary.mean > floor else math.nan for summary in found]
    base = Cell(seen.values.base, seen.values.way())
    errors = [seen.difference(cell, base, metric).error if cell != base else 0.0 for cell in cells]
    line: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 1.4, "capsize": 2, "color": colour}
    axes.errorbar(places, inside, yerr=errors, label=KIND_TITLES[cells[0].way.kind], **line)
    for place, summary in zip(places, found, strict=True):
        seeds = [mean for mean in summary.by_seed if mean > floor]
        axes.plot([place] * len(seeds), seeds, ".", markersize=3, color="#57606a")
        if not summary.mean > floor:  # below, or no number: written at the edge
            words = f"{summary.mean:.1f}" if math.isfinite(summary.mean) else NOT_A_NUMBER
            axes.plot([place], [floor], marker="v", color=colour, markersize=5)
            axes.annotate(words, (place, floor), textcoords="offset points", xytext=(0, 5), ha="center", fontsize=7)
