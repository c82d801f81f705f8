"""Wide Gaussian blurs at the price of narrow ones."""

import numpy as np
from scipy import ndimage

from training.simulate.canvas import FloatArray

__all__ = ["smooth"]


def smooth(image: FloatArray, sigma_px: float) -> FloatArray:
    """Gaussian blur (rows, columns); a wide one runs on a reduced image and is brought back by linear interpolation."""
    factor = 1
    while sigma_px / (2 * factor) >= 2 and image.shape[0] % (2 * factor) == 0 and image.shape[1] % (2 * factor) == 0:
        factor *= 2
    if factor == 1:
        return np.asarray(ndimage.gaussian_filter(image, sigma_px, mode="nearest"), dtype=np.float32)
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    small = image.reshape(rows, factor, columns, factor).mean(axis=(1, 3))
    small = ndimage.gaussian_filter(small, sigma_px / factor, mode="nearest")
    return _hat(image.shape[0], factor) @ small.astype(np.float32) @ _hat(image.shape[1], factor).T


def _hat(n: int, factor: int) -> FloatArray:
    """Linear interpolation from block centres to pixels, a matrix (n, n / factor)."""
    at = np.clip((np.arange(n) + 0.5) / factor - 0.5, 0, n // factor - 1)
    low = np.minimum(at.astype(np.int32), n // factor - 2)
    matrix = np.zeros((n, n // factor), np.float32)
    matrix[np.arange(n), low] = 1 - (at - low)
    matrix[np.arange(n), low + 1] = at - low
    return matrix
