"""Curves over the size of nodules, as SVG that is the same for the same figures."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from training.lesions.places import Place
from training.lesions.run import Lesion
from training.lesions.shapes import NODULES
from training.lesions.summary import TARGET, in_place, of_kind, of_sizes

__all__ = ["curves"]

COLOURS = ("#0969da", "#bc4c00", "#1a7f37")
SHIFT = 0.02  # of a size, so that curves do not hide each other
PLOTTED: tuple[Place, ...] = ("between ribs", "behind ribs")
Choice = tuple[str, Callable[[Lesion], bool]]


def curves(lesions: Sequence[Lesion]) -> bytes:
    """One picture: contrast kept by place, by kind, and contrast to the surroundings by place."""
    by_place = [(place, in_place(place)) for place in PLOTTED]
    by_kind = [(kind, of_kind(kind)) for kind in NODULES]
    with mpl.rc_context({"svg.hashsalt": "lesions", "font.size": 9}):
        figure = Figure(figsize=(11, 3.6), layout="constrained")
        axes = figure.subplots(1, 3)
        _draw(axes[0], lesions, by_place, lambda each: each.remains.kept, "contrast kept, by place")
        _draw(axes[1], lesions, by_kind, lambda each: each.remains.kept, "contrast kept, by kind")
        gain = "contrast to surroundings, after / before"
        _draw(axes[2], lesions, by_place, lambda each: each.remains.to_noise_gain, gain)
        for axis in axes[:2]:
            axis.axhline(TARGET[0], color="#57606a", linestyle=":", linewidth=1)
            axis.set_ylim(0, 1.2)
        axes[2].axhline(1, color="#57606a", linestyle=":", linewidth=1)
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def _draw(
    axis: Any, lesions: Sequence[Lesion], choices: Sequence[Choice], figure: Callable[[Lesion], float], title: str
) -> None:
    for number, (name, chosen) in enumerate(choices):
        points = of_sizes(lesions, figure, chosen)
        if not points:
            continue
        sizes = [size * (1 + SHIFT * number) for size, _ in points]
        medians = [found.median for _, found in points]
        below = [found.median - found.low for _, found in points]
        above = [found.high - found.median for _, found in points]
        style = {"marker": "o", "markersize": 4, "capsize": 2, "linewidth": 1.4, "elinewidth": 0.8}
        axis.errorbar(sizes, medians, [below, above], color=COLOURS[number], label=name, **style)
    axis.set(title=title, xlabel="size of the nodule, mm (bars: 5 to 95 %)", xscale="log")
    axis.set_xticks([3, 5, 8, 12, 20, 30], ["3", "5", "8", "12", "20", "30"])
    axis.minorticks_off()
    axis.grid(color="#d0d7de", linewidth=0.5)
    axis.legend(frameon=False, loc="lower right")
