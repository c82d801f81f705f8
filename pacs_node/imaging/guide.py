"""The detail of a bone layer that is finer than the model's grid, found in the radiograph itself.

The cortex of a rib is thinner than a cell. What the radiograph shows there beyond the grid is bone, noise and vessels
together; bone is what runs along the layer's own edges, and of which the layer explains the next coarser detail too.
So on a lattice of half cells, whatever the native size:

    layer = spline(layer) + share * trust * mean along the edge of (radiograph - spline(radiograph))

``share`` is the coefficient of a guided filter (He, Sun & Tang 2013, eq. 5), taken of the finest detail on the grid:
1 where that of the radiograph is all bone, 0 beside bone. Averaged along the edge, noise falls and a vessel that
crosses is spread out; ``trust`` is how much of what is left is more than that noise.
"""

import numpy as np
from numpy.typing import NDArray

from pacs_node.imaging.edges import smooth, tangents
from pacs_node.imaging.fit import Placement, letterbox, place
from pacs_node.imaging.spline import halved
from pacs_node.records import FloatImage

__all__ = ["FINER", "detailed"]

FINER = 2  # half cells: of the ghost of plain interpolation, 95 % lie within the next octave
DETAIL_CELLS = 1.0  # deviation of the Gaussian whose difference is the finest detail on the grid
WINDOW_CELLS = 2.0  # deviation of the window in which share is found
EDGE_CELLS = 1.0  # of the one in which direction and trust are
ALONG = 3  # half cells to each side along an edge
TAPS = np.exp(-0.5 * (np.arange(-ALONG, ALONG + 1) / 2.0) ** 2)
TAPS /= TAPS.sum()
LEFT_OF_NOISE = float(np.sum(TAPS**2))  # its variance after averaging
LEAST_DETAIL = 3e-4  # of the anatomy's range: less is rounding
LEAST_SHARE = 0.05  # less is not worth the work


def detailed(
    layer: FloatImage, pixels: FloatImage, placement: Placement, spread: float
) -> tuple[FloatImage, Placement]:
    """A layer on the lattice of half cells, with the detail that the radiograph shows of it.

    Parameters
    ----------
    layer : (grid, grid) float32 in P-values, as it is to be subtracted.
    pixels : (rows, columns) float32, the radiograph's P-values.
    placement : of the radiograph; its ``scale`` is 2 at least.
    spread : range of the anatomy, P-values.

    Returns
    -------
    layer : (2 grid, 2 grid) float32, exactly 0 where the grid's is 0 for fifteen cells around.
    placement : of the same radiograph on the lattice.
    """
    lattice = place(placement.rows, placement.columns, FINER * placement.grid)
    rows, columns = placement.covered()
    fine = slice(FINER * rows.start, FINER * rows.stop), slice(FINER * columns.start, FINER * columns.stop)
    seen = _without_rim(letterbox(pixels, lattice), lattice)[fine]
    bone = np.ascontiguousarray(layer[rows, columns])
    coarse = _pooled(seen)
    share = _share(bone, coarse, spread)
    smooth = halved(bone)
    if float(share.max(initial=0.0)) > LEAST_SHARE:
        detail = seen - halved(coarse)
        along = _mean_along_edges(detail, bone, share > LEAST_SHARE)
        smooth += _finer_share(share * _trust(detail, along)) * along
    whole = np.zeros((lattice.grid, lattice.grid), np.float32)
    whole[fine] = smooth
    return whole, lattice


def _without_rim(image: FloatImage, lattice: Placement) -> FloatImage:
    """The image with its outermost lines repeated: the image may touch a cell on its border with one half only."""
    rows, columns = lattice.covered()
    for lines, covered in ((image, rows), (image.T, columns)):
        lines[: covered.start] = lines[covered.start]
        lines[covered.stop :] = lines[covered.stop - 1]
    return image


def _pooled(fine: FloatImage) -> FloatImage:
    """Averages over cells of what is known of their halves."""
    return (fine[::2, ::2] + fine[::2, 1::2] + fine[1::2, ::2] + fine[1::2, 1::2]) * np.float32(0.25)


def _finer_share(share: FloatImage) -> FloatImage:
    """Shares between the cells; each half cell lies a quarter of a cell off its own."""
    for axis in (0, 1):
        padded = np.pad(share, [(1, 1) if axis == each else (0, 0) for each in (0, 1)], mode="edge")
        before, middle, after = (np.take(padded, range(k, k + share.shape[axis]), axis) for k in range(3))
        halves = np.stack([0.75 * middle + 0.25 * before, 0.75 * middle + 0.25 * after], axis=axis + 1)
        share = halves.reshape(*(size * (2 if axis == each else 1) for each, size in enumerate(share.shape)))
    return share


def _share(bone: FloatImage, seen: FloatImage, spread: float) -> FloatImage:
    """Which part of the radiograph's finest detail on the grid the layer explains, 0 to 1."""
    of_bone, of_all = (image - smooth(image, DETAIL_CELLS) for image in (bone, seen))
    common, whole = (smooth(of_all * part, WINDOW_CELLS) for part in (of_bone, of_all))
    return np.clip(common / (whole + np.float32((LEAST_DETAIL * spread) ** 2)), 0, 1)


def _mean_along_edges(detail: FloatImage, bone: FloatImage, where: NDArray[np.bool_]) -> FloatImage:
    """Weighted mean of ``detail`` along the layer's edges; 0 but in the cells ``where``."""
    padded = np.pad(detail, ALONG, mode="edge")  # so that no step leaves it
    width, flat = np.int32(padded.shape[1]), padded.ravel()
    rows, columns = (cells.astype(np.int32) * FINER + ALONG for cells in np.nonzero(where))
    corner = rows * width + columns
    steps = [tangent[where] for tangent in tangents(bone, EDGE_CELLS)]
    total = np.zeros((FINER, FINER, len(corner)), np.float32)
    for far, tap in zip(range(-ALONG, ALONG + 1), TAPS.astype(np.float32), strict=True):
        down, right = (np.rint(far * step).astype(np.int32) for step in steps)
        there = corner + down * width + right
        for y, x in np.ndindex(FINER, FINER):
            total[y, x] += tap * flat[there + (y * width + x)]
    found = np.zeros_like(detail)
    for y, x in np.ndindex(FINER, FINER):
        found[y::FINER, x::FINER][where] = total[y, x]
    return found


def _trust(detail: FloatImage, along: FloatImage) -> FloatImage:
    """Which part of the energy of the mean along edges is more than what is left of noise, 0 to 1, for each cell."""
    noise, energy = (
        smooth(_pooled(image * image), EDGE_CELLS)
        for image in (np.where(along == 0, np.float32(0), detail - along), along)
    )
    left = np.float32(LEFT_OF_NOISE / (1 - LEFT_OF_NOISE))
    return np.clip(1 - left * noise / np.maximum(energy, np.float32(1e-12)), 0, 1)
