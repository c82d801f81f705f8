"""The curves behind the areas of Table 4, ROC of cases and weighted AFROC of marks: SVG, the same each time."""

import io
from collections.abc import Callable, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.readers.figures import highest_false, lesion_marks, ratings
from training.readers.readings import Block, Reading
from training.readers.records import Arm

__all__ = ["curves", "operating_points"]

Floats = NDArray[np.float64]
COLOURS: dict[Arm, str] = {"without": "#0969da", "with": "#bc4c00"}
ALONG = np.linspace(0, 1, 501)  # false positive fractions at which readers are averaged


def operating_points(normal: Floats, diseased: Floats, weights: Floats) -> Floats:
    """The empirical curve through every threshold, from (0, 0) to (1, 1).

    Parameters
    ----------
    normal : (n,) ratings of cases without a lesion; `NOT_MARKED` for none.
    diseased : (m,) ratings of what is to be found: cases, or lesions.
    weights : (m,) votes of those, with the sum 1.

    Returns
    -------
    (points, 2): share of normal cases, and of votes, rated at least so high. The area below, by trapezoids, is the mean
    of `training.readers.roc.auc_kernel`, and of `wafroc_kernel` with a lesion's part of its case's vote.
    """
    thresholds = np.unique(np.concatenate([normal, diseased]))[::-1]
    steps = [(np.mean(normal >= at), np.sum(weights[diseased >= at])) for at in thresholds]
    return np.array([(0.0, 0.0), *steps], dtype=np.float64)


def curves(blocks: Sequence[Block]) -> bytes | None:
    """ROC and weighted AFROC of every reader (thin) and their mean at equal false positive fractions (thick).

    Returns
    -------
    An SVG; None where no block has cases with a lesion and cases without.
    """
    drawn = [block for block in blocks if {True, False} <= {each.diseased for row in block.rows() for each in row}]
    if not drawn:
        return None
    with mpl.rc_context({"svg.hashsalt": "readers", "font.size": 9}):
        figure = Figure(figsize=(8.4, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw(left, drawn, _of_cases, "ROC of cases", "share of the cases with lesions that are called")
        _draw(right, drawn, _of_marks, "weighted AFROC of marks", "share of the lesions marked, a case one vote")
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def _draw(
    axis: Axes, blocks: Sequence[Block], points_of: Callable[[Sequence[Reading]], Floats], title: str, found: str
) -> None:
    for one, arm in ((block, arm) for block in blocks for arm in block.arms):
        several = [points_of(one.of(arm, reader)) for reader in one.readers]
        for points in several:
            axis.plot(points[:, 0], points[:, 1], color=COLOURS[arm], linewidth=0.7, alpha=0.4)
        mean = np.mean([np.interp(ALONG, points[:, 0], points[:, 1]) for points in several], axis=0)
        axis.plot(ALONG, mean, color=COLOURS[arm], linewidth=2, label=f"{arm} companion")
    axis.plot([0, 1], [0, 1], color="#57606a", linestyle=":", linewidth=1)
    axis.set(
        title=title, xlabel="share of the cases without that are called", ylabel=found, xlim=(0, 1), ylim=(0, 1.01)
    )
    axis.set_aspect("equal")
    axis.grid(color="#d0d7de", linewidth=0.5)
    axis.legend(frameon=False, loc="lower right")


def _of_cases(readings: Sequence[Reading]) -> Floats:
    normal, diseased = _split(readings)
    return operating_points(ratings(normal), ratings(diseased), np.full(len(diseased), 1 / len(diseased)))


def _of_marks(readings: Sequence[Reading]) -> Floats:
    normal, diseased = _split(readings)
    cases = lesion_marks(diseased)
    votes = np.concatenate([np.full(len(case), 1 / len(case) / len(cases)) for case in cases])
    return operating_points(highest_false(normal), np.concatenate(cases), votes)


def _split(readings: Sequence[Reading]) -> tuple[list[Reading], list[Reading]]:
    return [each for each in readings if not each.diseased], [each for each in readings if each.diseased]
