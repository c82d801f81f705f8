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

__all__ = ["REACH", "Weights", "coefficients", "spline_weights", "weight_matrix"]

Weights: TypeAlias = "sparse.csr_array[np.float32, tuple[int, int]]"

# Cells on each side that a coefficient depends on: the inverse falls by .36 a cell, so that what is cut off is below
# 1e-3; and a layer that is 0 has coefficients of exactly 0 beyond.
REACH = 6


def weight_matrix(
    weights: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]
) -> Weights:
    """Sparse float32 matrix of these entries; entries of the same place are added."""
    return sparse.coo_array((weights.astype(np.float32), (rows, columns)), shape=shape).tocsr()


def _inverse() -> NDArray[np.float64]:
    """(2 REACH + 1,) filter from cell averages to coefficients; sums to 1.

    A cubic spline averaged over the cells is its coefficients filtered with the quartic B-spline at the integers,
    (1, 76, 230, 76, 1) / 384 (Unser, Aldroubi & Eden 1993, table 1); this is the inverse, cut off.
    """
    count = 4 * REACH + 1
    averages = sum(
        np.diag(np.full(count - abs(k), w), k) for k, w in zip(range(-2, 3), (1, 76, 230, 76, 1), strict=True)
    )
    middle: NDArray[np.float64] = np.linalg.inv(np.asarray(averages))[2 * REACH, REACH : 3 * REACH + 1]
    return middle / middle.sum()


INVERSE = _inverse()


def coefficients(cells: FloatImage) -> FloatImage:
    """Coefficients (rows, columns) float32 of the cubic spline with these averages; beyond the border it is level."""
    halfway = correlate1d(cells, INVERSE, axis=0, mode="nearest", output=np.float32)
    return correlate1d(halfway, INVERSE, axis=1, mode="nearest", output=np.float32)


def _integral(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Integral of the cubic B-spline from -2 to ``x``, in truncated powers (Unser 1999, eq. 9, integrated)."""
    x = np.clip(x, -2.0, 2.0) + 2.0
    terms = zip((1, -4, 6, -4), range(4), strict=True)
    return sum((sign * np.maximum(x - k, 0.0) ** 4 for sign, k in terms), np.zeros_like(x)) / 24


def spline_weights(outputs: int, inputs: slice, step: float, start: float, width: int) -> Weights:
    """(outputs, width) averages of the spline over pixels, from its coefficients; rows sum to 1.

    Parameters
    ----------
    outputs : pixels; number ``o`` lies on ``start + step * [o, o + 1]`` in cells, ``step`` at most 1.
    inputs : coefficients that are read; beyond them the nearest one stands in, so that no letterbox bleeds in.
    """
    left = (start + step * np.arange(outputs) - 0.5)[:, None]
    nearest = np.floor(left).astype(int) + np.arange(-1, 4)
    weights = (_integral(left + step - nearest) - _integral(left - nearest)) / step
    columns = np.clip(nearest, inputs.start, inputs.stop - 1)
    return weight_matrix(weights.ravel(), np.repeat(np.arange(outputs), 5), columns.ravel(), (outputs, width))
