"""Between native resolution and the model's square grid: exact geometry there and back, and one intensity scale.

The image is letterboxed: scaled by one factor, centred, the rest black. Both directions are separable linear maps of
one continuous coordinate (the outer edge of the first pixel is 0): a point comes back where it was, whatever the sizes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pacs_node.imaging.spline import Weights, inverse, spline_weights, weight_matrix
from pacs_node.records import FloatImage, MaskImage, Radiograph

__all__ = [
    "GridImage",
    "Placement",
    "from_grid",
    "intensity_range",
    "letterbox",
    "native_strips",
    "place",
    "to_grid",
]

PERCENTILES = (0.5, 99.5)
# A margin whose rows (or columns) vary less than this share of the whole range is collimation or the frame around a
# digitised film. Real anatomy varies by tens of percent along a row; noise in an unexposed margin stays below one.
FLAT_SPREAD = 0.02
# An edge that lies on a grid line must not take in the next cell for a rounding error; in cells.
TOUCHING = 1e-6
SMALLEST_RANGE = 1e-3  # of P-values; a flatter image would be blown up to noise
STRIP = 128  # native rows at once: what is computed of them stays in a processor's cache


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a native image lies on the grid.

    Attributes
    ----------
    grid : rows = columns of the grid, px.
    scale : native px per grid px, the same in both directions.
    top, left : offset of the image on the grid, grid px, not rounded.
    """

    grid: int
    rows: int
    columns: int
    scale: float
    top: float
    left: float

    def covered(self) -> tuple[slice, slice]:
        """Rows and columns of the grid that the image touches."""
        last_row, last_column = self.top + self.rows / self.scale, self.left + self.columns / self.scale
        return (
            slice(int(np.floor(self.top + TOUCHING)), int(np.ceil(last_row - TOUCHING))),
            slice(int(np.floor(self.left + TOUCHING)), int(np.ceil(last_column - TOUCHING))),
        )


@dataclass(frozen=True, slots=True, eq=False)
class GridImage:
    """A radiograph as the network sees it.

    Attributes
    ----------
    pixels : (1, 1, grid, grid) float32 in [-1, 1]; the letterbox is -1.
    low, high : the P-values that became -1 and 1.
    """

    pixels: FloatImage
    placement: Placement
    low: float
    high: float


def place(rows: int, columns: int, grid: int) -> Placement:
    """Centre an image on the grid, its longer side filling it."""
    scale = max(rows, columns) / grid
    return Placement(grid, rows, columns, scale, (grid - rows / scale) / 2, (grid - columns / scale) / 2)


def _area_weights(outputs: int, inputs: int, step: float, start: float) -> Weights:
    """(outputs, inputs) average over a box of max(1, step) inputs around each output; rows sum to 1, or 0 outside.

    Output ``o`` lies on ``start + step * [o, o + 1]`` in input px. For ``step >= 1`` this is exact area averaging; for
    less it is linear interpolation. An output that lies half outside averages what lies inside: blended with the black
    around it, the border would come back as an edge.
    """
    center = start + step * (np.arange(outputs) + 0.5)
    half = max(1.0, step) / 2
    first = np.clip(np.floor(center - half), 0, inputs).astype(int)
    counts = np.maximum(np.clip(np.ceil(center + half), 0, inputs).astype(int) - first, 0)
    rows = np.repeat(np.arange(outputs), counts)
    columns = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    shares = np.minimum(center[rows] + half, columns + 1) - np.maximum(center[rows] - half, columns)
    shares = np.maximum(shares, 0.0)
    covered = np.minimum(center + step / 2, inputs) - np.maximum(center - step / 2, 0)
    total = np.bincount(rows, weights=shares, minlength=outputs)
    gain = np.divide(1.0, total, out=np.zeros_like(total), where=(total > 0) & (covered > TOUCHING * step))
    return weight_matrix(shares * gain[rows], rows, columns, (outputs, inputs))


def _native_weights(placement: Placement, size: int, offset: float, covered: slice) -> Weights:
    """(size, grid) weights from grid cells to native pixels along one direction."""
    step = 1 / placement.scale
    if step < 1:
        return spline_weights(size, covered, step, offset, placement.grid)
    return _area_weights(size, placement.grid, step, offset)  # an image smaller than the grid: averaging, no aliases


def _undoing(along: Weights, placement: Placement, offset: float, covered: slice) -> Weights:
    """(covered, covered) after which ``along`` and then `letterbox` give the grid back."""
    start = -offset * placement.scale
    averages = _area_weights(placement.grid, along.shape[0], placement.scale, start) @ along
    return inverse(averages[covered, covered])


def _separable(along_rows: Weights, image: FloatImage, along_columns: Weights) -> FloatImage:
    halfway = along_rows @ image
    return np.ascontiguousarray((along_columns @ halfway.T).T, dtype=np.float32)


def letterbox(image: FloatImage, placement: Placement) -> FloatImage:
    """Average a native image over the cells of the grid; (grid, grid) float32, 0 where the image is not."""
    grid, scale = placement.grid, placement.scale
    rows = _area_weights(grid, placement.rows, scale, -placement.top * scale)
    columns = _area_weights(grid, placement.columns, scale, -placement.left * scale)
    return _separable(rows, image, columns)


def _textured(image: FloatImage, axis: int, spread: float) -> slice:
    low, high = np.percentile(image, (5, 95), axis=axis)
    lines = np.flatnonzero(high - low > spread)
    return slice(int(lines[0]), int(lines[-1]) + 1) if lines.size else slice(None)


def _without_flat_margins(image: FloatImage) -> tuple[slice, slice]:
    """Rows and columns inside of margins that carry no image: collimation, frames, bars of an earlier export."""
    low, high = np.percentile(image, PERCENTILES)
    spread = FLAT_SPREAD * float(high - low)
    rows = _textured(image, 1, spread)
    return rows, _textured(image[rows], 0, spread)


def intensity_range(image: FloatImage, valid: MaskImage | None = None) -> tuple[float, float]:
    """Robust darkest and brightest P-value of the anatomy.

    Parameters
    ----------
    image : (h, w) float32 P-values in [0, 1], at any resolution.
    valid : (h, w) bool, False at padding; None where all is image.

    Returns
    -------
    low, high : percentiles 0.5 and 99.5 of what lies inside of flat margins and is no padding; (0, 1) where they are
        less than 1e-3 apart.
    """
    inside = _without_flat_margins(image)
    samples = image[inside] if valid is None else image[inside][valid[inside]]
    if samples.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(samples, PERCENTILES))
    return (low, high) if high - low >= SMALLEST_RANGE else (0.0, 1.0)


def to_grid(radiograph: Radiograph, grid: int) -> GridImage:
    """Bring a radiograph to the model's grid, antialiased, its robust range at [-1, 1]; what lies beyond is clipped.

    Parameters
    ----------
    grid : rows = columns of the model's input, px.
    """
    placement = place(radiograph.pixels.shape[0], radiograph.pixels.shape[1], grid)
    image = letterbox(radiograph.pixels, placement)
    rows, columns = placement.covered()
    valid = None
    if radiograph.padding is not None:
        valid = letterbox((~radiograph.padding).astype(np.float32), placement) > 0.5
    low, high = intensity_range(image[rows, columns], None if valid is None else valid[rows, columns])
    scaled = np.clip((image - low) * (2.0 / (high - low)) - 1.0, -1.0, 1.0)
    return GridImage(scaled.astype(np.float32)[None, None], placement, low, high)


def from_grid(layer: FloatImage, grid_image: GridImage, rows: int, columns: int) -> FloatImage:
    """Bring a difference layer from the grid back to native resolution, in P-values.

    Parameters
    ----------
    layer : (grid, grid) float32, a difference of two images in the network's units (2 is its whole range).
    rows, columns : of the native image that ``grid_image`` was made from.

    Returns
    -------
    (rows, columns) float32 in P-value units; see `native_strips`.
    """
    placement = grid_image.placement
    if (rows, columns) != (placement.rows, placement.columns):
        raise ValueError("the layer was not made from an image of this size")
    units = np.float32((grid_image.high - grid_image.low) / 2)
    native = np.empty((rows, columns), dtype=np.float32)
    for strip, values in native_strips(layer * units, placement):
        native[strip] = values
    return native


def native_strips(layer: FloatImage, placement: Placement) -> Iterator[tuple[slice, FloatImage]]:
    """A layer at native resolution, a strip of rows at a time.

    The result averages to the cells again, as `letterbox` averages, where cells hold three pixels or more. Beside a
    straight edge it leaves the range of the cells by up to a fifth of the step. An image that is not larger than the
    grid gets averages of the cells.

    Parameters
    ----------
    layer : (grid, grid) float32; only cells that the image touches are read.

    Yields
    ------
    Rows of the native image, and their values (strip, columns) float32, in the unit of the layer: exactly 0 where the
    layer is 0 for ten cells around.
    """
    if layer.shape != (placement.grid, placement.grid):
        raise ValueError("the layer was not made from an image of this size")
    inside = placement.covered()
    along_rows = _native_weights(placement, placement.rows, placement.top, inside[0])
    along_columns = _native_weights(placement, placement.columns, placement.left, inside[1])
    if placement.scale > 1:
        cells = np.zeros_like(layer)
        undone = _undoing(along_columns, placement, placement.left, inside[1]) @ layer[inside].T
        cells[inside] = _undoing(along_rows, placement, placement.top, inside[0]) @ np.ascontiguousarray(undone.T)
        layer = cells
    # columns first, while there are few rows: then every strip comes out as it lies in memory
    wide = np.ascontiguousarray((along_columns @ layer.T).T)
    for first in range(0, placement.rows, STRIP):
        strip = slice(first, min(first + STRIP, placement.rows))
        yield strip, along_rows[strip] @ wide
