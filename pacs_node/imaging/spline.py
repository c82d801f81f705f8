"""From averages over cells to averages over smaller pixels: the cubic spline that has the averages.

Cell values of an antialiased image are averages. Interpolating them as if they were samples blurs by a cell once more,
and a layer that is blurred leaves a bright and a dark line along every edge it is subtracted from.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.ndimage import correlate1d

from pacs_node.records import FloatImage

__all__ = ["REACH", "Weights", "halved", "inverse", "spline_weights", "weight_matrix"]

Weights: TypeAlias = "sparse.csr_array[np.float32, tuple[int, int]]"

# Cells on each side that a coefficient depends on: the inverse falls by .36 a cell, so that what is cut off is below
# 1e-3; and a layer that is 0 has coefficients of exactly 0 beyond.
REACH = 6
MOST_GAIN = 10.0  # sum of the magnitudes of a row: 4.4 to 6.3 inside of an image, 10 on most borders


def weight_matrix(
    weights: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]
) -> Weights:
    """Sparse float32 matrix of these entries; entries of the same place are added."""
    return sparse.coo_array((weights.astype(np.float32), (rows, columns)), shape=shape).tocsr()


def inverse(averages: Weights) -> Weights:
    """What undoes averaging over cells: a band of REACH on each side, each row from the inverse of its neighbourhood.

    Parameters
    ----------
    averages : (cells, cells), from coefficients to averages over cells; its band is three wide on each side at most.
    """
    count, width = averages.shape[0], 4 * REACH + 1
    ahead = 2 * REACH
    bands = np.zeros((count + 2 * ahead, 7))
    bands[:, 3] = 1.0  # beyond the border nothing is averaged
    for k in range(-3, 4):
        rows = np.arange(max(0, -k), count - max(0, k))
        bands[rows + ahead, 3 + k] = averages.diagonal(k)
    blocks = np.zeros((count, width, width))
    for row in range(width):
        for k in range(max(-3, -row), min(4, width - row)):
            blocks[:, row, row + k] = bands[row : row + count, 3 + k]
    unit = np.zeros((width, 1))
    unit[ahead] = 1.0
    solved = np.linalg.solve(blocks.transpose(0, 2, 1), unit[None]).astype(np.float64, copy=False)
    found = solved[:, REACH : 3 * REACH + 1, 0]
    found /= found.sum(axis=1, keepdims=True)
    found = _tamed(found)
    columns = np.clip(np.arange(count)[:, None] + np.arange(-REACH, REACH + 1), 0, count - 1)
    return weight_matrix(found.ravel(), np.repeat(np.arange(count), 2 * REACH + 1), columns.ravel(), (count, count))


def _tamed(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of an inverse, drawn towards leaving the cell as it is where they would amplify more than MOST_GAIN.

    Cells of hardly more than a pixel, and those on the border that the image touches by a sliver, have averages that
    cannot be undone: their rows would have entries of millions, and lay a black and white line along the border.
    """
    unit = np.zeros(rows.shape[1])
    unit[REACH] = 1.0
    share = np.minimum(1.0, (MOST_GAIN - 1) / (np.abs(rows).sum(axis=1, keepdims=True) + 1))
    tamed: NDArray[np.float64] = unit + share * (rows - unit)
    return tamed


def halved(cells: FloatImage) -> FloatImage:
    """The cubic spline with these averages, averaged over half cells: (2 rows, 2 columns); beyond the border level."""
    rows, columns = (spline_weights(2 * size, slice(0, size), 0.5, 0.0, size) for size in cells.shape)
    halfway = correlate1d(cells, EXACT, axis=0, mode="nearest", output=np.float32)
    filtered = correlate1d(halfway, EXACT, axis=1, mode="nearest", output=np.float32)
    finer: FloatImage = rows @ np.ascontiguousarray((columns @ filtered.T).T)
    return finer


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cubic B-spline (Unser 1999, eq. 5)."""
    x = np.abs(distance)
    return np.where(x <= 1, 2 / 3 + (x / 2 - 1) * x * x, np.maximum(2 - x, 0.0) ** 3 / 6)


def spline_weights(outputs: int, inputs: slice, step: float, start: float, width: int) -> Weights:
    """(outputs, width) values of the spline at the centres of pixels, from its coefficients; rows sum to 1.

    Parameters
    ----------
    outputs : pixels; number ``o`` lies on ``start + step * [o, o + 1]`` in cells, ``step`` at most 1.
    inputs : coefficients that are read; beyond them the nearest one stands in, so that no letterbox bleeds in.
    """
    centre = (start + step * (np.arange(outputs) + 0.5) - 0.5)[:, None]
    nearest = np.floor(centre).astype(int) + np.arange(-1, 3)
    columns = np.clip(nearest, inputs.start, inputs.stop - 1)
    rows = np.repeat(np.arange(outputs), 4)
    return weight_matrix(_cubic(centre - nearest).ravel(), rows, columns.ravel(), (outputs, width))


def _exact() -> NDArray[np.float64]:
    """(2 REACH + 1,) inverse of averaging two half cells, far from the border."""
    count = 4 * REACH + 9
    halves = spline_weights(2 * count, slice(0, count), 0.5, 0.0, count)
    averages: Weights = (0.5 * (halves[::2] + halves[1::2])).tocsr()
    middle = inverse(averages)[count // 2].toarray().ravel()
    return np.asarray(middle[count // 2 - REACH : count // 2 + REACH + 1], dtype=np.float64)


EXACT = _exact()
