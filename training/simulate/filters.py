"""The arithmetic of wide Gaussian blurs at the price of narrow ones."""

from collections.abc import Sequence

import numpy as np

from training.simulate.canvas import FloatArray

__all__ = ["hat", "reduction"]


def reduction(shape: Sequence[int], sigma_px: float) -> int:
    """By how much an image (rows, columns) may be reduced before a blur: two pixels of deviation are left."""
    factor = 1
    while sigma_px / (2 * factor) >= 2 and shape[0] % (2 * factor) == 0 and shape[1] % (2 * factor) == 0:
        factor *= 2
    return factor


def hat(n: int, factor: int) -> FloatArray:
    """Linear interpolation from block centres to pixels, a matrix (n, n / factor)."""
    at = np.clip((np.arange(n) + 0.5) / factor - 0.5, 0, n // factor - 1)
    low = np.minimum(at.astype(np.int32), n // factor - 2)
    matrix = np.zeros((n, n // factor), np.float32)
    matrix[np.arange(n), low] = 1 - (at - low)
    matrix[np.arange(n), low + 1] = at - low
    return matrix
