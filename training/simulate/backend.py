"""What image formation needs of an array library: written once, it runs on NumPy and on torch (`training.gpu`)."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.simulate.canvas import FloatArray
from training.simulate.filters import hat, reduction

__all__ = ["NUMPY", "Array", "Backend", "smooth"]

Array = Any  # a float32 image (rows, columns) of the backend's library


class Backend(Protocol):
    """Elementwise functions, blurs and percentiles of float32 images."""

    def take(self, values: NDArray[Any]) -> Array:
        """Bring a NumPy array over."""

    def give(self, values: Array) -> NDArray[Any]:
        """Bring an array back to NumPy."""

    def exp(self, values: Array) -> Array:
        """Natural exponential."""

    def log(self, values: Array) -> Array:
        """Natural logarithm."""

    def clip(self, values: Array, low: float | None, high: float | None) -> Array:
        """Limit to [low, high]; None is no limit."""

    def where(self, condition: Array, yes: Array, no: Array) -> Array:
        """Choose pixel by pixel."""

    def round(self, values: Array) -> Array:
        """To the nearest integer, halves to the even one."""

    def percentile(self, values: Array, percent: float) -> float:
        """Of all values, interpolated linearly."""

    def blur(self, image: Array, sigma_px: float, truncate: float = 4.0) -> Array:
        """Gaussian, cut at ``truncate`` deviations, edges repeated."""

    def pool(self, image: Array, factor: int) -> Array:
        """Means of blocks of factor x factor."""

    def resample(self, image: Array, rows: FloatArray, columns: FloatArray) -> Array:
        """The image at coordinates (n, n) in shares of its side, linear, edges repeated."""


class _Numpy:
    def take(self, values: NDArray[Any]) -> Array:
        return values

    def give(self, values: Array) -> NDArray[Any]:
        return np.asarray(values)

    def exp(self, values: Array) -> Array:
        return np.exp(values)

    def log(self, values: Array) -> Array:
        return np.log(values)

    def clip(self, values: Array, low: float | None, high: float | None) -> Array:
        return np.clip(values, low, high)

    def where(self, condition: Array, yes: Array, no: Array) -> Array:
        return np.where(condition, yes, no)

    def round(self, values: Array) -> Array:
        return np.rint(values)

    def percentile(self, values: Array, percent: float) -> float:
        return float(np.percentile(values, percent))

    def blur(self, image: Array, sigma_px: float, truncate: float = 4.0) -> Array:
        return ndimage.gaussian_filter(image, sigma_px, mode="nearest", truncate=truncate)

    def pool(self, image: Array, factor: int) -> Array:
        rows, columns = image.shape
        return image.reshape(rows // factor, factor, columns // factor, factor).mean(axis=(1, 3))

    def resample(self, image: Array, rows: FloatArray, columns: FloatArray) -> Array:
        n = np.float32(image.shape[0])
        at = np.stack([rows * n - np.float32(0.5), columns * n - np.float32(0.5)])
        return ndimage.map_coordinates(image, at, order=1, mode="nearest")


NUMPY: Backend = _Numpy()


def smooth(image: Array, sigma_px: float, on: Backend = NUMPY) -> Array:
    """Gaussian blur (rows, columns); a wide one runs on a reduced image and is brought back by linear interpolation."""
    factor = reduction(image.shape, sigma_px)
    if factor == 1:
        return on.blur(image, sigma_px)
    small = on.blur(on.pool(image, factor), sigma_px / factor)
    rows, columns = (on.take(hat(n, factor)) for n in image.shape)
    return rows @ small @ columns.T
