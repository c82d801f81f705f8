"""One patient's bones in another's body: the thoraces are brought to the same outline, height by height."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.simulate.canvas import RealArray
from training.simulate.frame import Warp, box_of

__all__ = ["Thorax", "outline", "walk_over"]

HEIGHTS = 33
STEEPEST = 0.08  # lean of the midline over the height of the lungs, as a share of the side
NARROWEST = 0.55  # of the greatest width: the lungs' apex is narrower than the ribs around it


@dataclass(frozen=True, slots=True, eq=False)
class Thorax:
    """The lungs' outline as shares of the picture's side: top, bottom, left and right edge at 33 heights."""

    top: float
    bottom: float
    left: RealArray
    right: RealArray


def outline(lungs: NDArray[np.bool_]) -> Thorax:
    """Outline of the rib cage around a mask of the lungs (size, size).

    The cage is even where lungs are not: its midline is a straight line through the upper lungs, the wider side counts
    for both, and from the widest place downwards it keeps its width, whatever domes and fluid leave of the lungs.
    """
    row, column, half_height, half_width = box_of(lungs)
    n, heights = len(lungs), np.linspace(0, 1, HEIGHTS)
    top, bottom = row - half_height, row + half_height
    at = np.clip(((top + heights * (bottom - top)) * n).astype(int), 0, n - 1)
    filled = lungs[at]
    left = np.where(filled.any(axis=1), filled.argmax(axis=1) / n, column - half_width)
    right = np.where(filled.any(axis=1), 1 - filled[:, ::-1].argmax(axis=1) / n, column + half_width)
    both = (heights > 0.1) & (heights < 0.6) & (right - left > 1.3 * half_width)  # rows that show both lungs
    centre = ((left + right) / 2)[both]
    lean = np.polyfit(heights[both], centre, 1)[0] if both.sum() > 5 else 0.0
    lean = float(np.clip(lean, -STEEPEST, STEEPEST))
    middle = (float(np.mean(centre - lean * heights[both])) if both.any() else column) + lean * heights
    half = np.clip(np.maximum(middle - left, right - middle), NARROWEST * half_width, 1.15 * half_width)
    half[heights > 0.6] = np.median(half[(heights > 0.4) & (heights < 0.7)])
    half = ndimage.gaussian_filter1d(half, 3.0, mode="nearest")
    return Thorax(top, bottom, middle - half, middle + half)


def walk_over(warp: Warp, body: Thorax, donor: Thorax) -> Warp:
    """The same view of the donor, bent so that the donor's lungs fill the outline of the body's."""
    share = (warp.rows - np.float32(body.top)) / np.float32(body.bottom - body.top)
    rows = np.float32(donor.top) + share * np.float32(donor.bottom - donor.top)
    at = np.clip(share, 0, 1)
    knots = np.linspace(0, 1, HEIGHTS)
    edges = [np.interp(at, knots, e).astype(np.float32) for e in (body.left, body.right, donor.left, donor.right)]
    across = (warp.columns - edges[0]) / (edges[1] - edges[0])
    return Warp(rows.astype(np.float32), (edges[2] + across * (edges[3] - edges[2])).astype(np.float32))
