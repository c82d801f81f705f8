"""One patient's bones in another's body: the thoraces are brought to the same outline, height by height."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.simulate.canvas import RealArray
from training.simulate.frame import Warp, box_of

__all__ = ["Thorax", "outline", "walk_over"]

HEIGHTS = 33
NARROWEST = 0.55  # of the greatest width: the lungs' apex is narrower than the ribs around it


@dataclass(frozen=True, slots=True, eq=False)
class Thorax:
    """The lungs' outline as shares of the picture's side: top, bottom, left and right edge at 33 heights."""

    top: float
    bottom: float
    left: RealArray
    right: RealArray


def outline(lungs: NDArray[np.bool_]) -> Thorax:
    """Outline of a mask (size, size); a lung full of fluid is taken to be as wide as the other one."""
    row, column, half_height, half_width = box_of(lungs)
    n = len(lungs)
    top, bottom = row - half_height, row + half_height
    at = np.clip((np.linspace(top, bottom, HEIGHTS) * n).astype(int), 0, n - 1)
    filled = lungs[at] | lungs[np.clip(at + 1, 0, n - 1)]
    any_left, any_right = filled.argmax(axis=1) / n, 1 - filled[:, ::-1].argmax(axis=1) / n
    empty = ~filled.any(axis=1)
    any_left[empty], any_right[empty] = column - half_width, column + half_width
    left, right = (ndimage.gaussian_filter1d(edge, 3.0, mode="nearest") for edge in (any_left, any_right))
    middle, wide = (left + right) / 2, np.maximum(right - left, NARROWEST * 2 * half_width)
    return Thorax(top, bottom, middle - wide / 2, middle + wide / 2)


def walk_over(warp: Warp, body: Thorax, donor: Thorax) -> Warp:
    """The same view of the donor, bent so that the donor's lungs fill the outline of the body's."""
    share = (warp.rows - np.float32(body.top)) / np.float32(body.bottom - body.top)
    rows = np.float32(donor.top) + share * np.float32(donor.bottom - donor.top)
    at = np.clip(share, 0, 1)
    knots = np.linspace(0, 1, HEIGHTS)
    edges = [np.interp(at, knots, e).astype(np.float32) for e in (body.left, body.right, donor.left, donor.right)]
    across = (warp.columns - edges[0]) / (edges[1] - edges[0])
    return Warp(rows.astype(np.float32), (edges[2] + across * (edges[3] - edges[2])).astype(np.float32))
