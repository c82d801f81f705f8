"""Where do small pieces of one picture lie in another that shows the same with a different tone?

Both pictures are reduced to their local structure (edges and texture divided by their local strength), which a monotone
tone curve or a local contrast enhancement hardly changes; a piece is then found by normalised cross-correlation. What
bone suppression removed matches nowhere; most of a chest matches well.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2
from scipy.ndimage import gaussian_filter, uniform_filter

from pacs_node.records import FloatImage

__all__ = ["Matches", "match_tiles", "structure"]

FINE, COARSE = 1.0, 6.0  # px: the two Gaussians of the band
AROUND = 31  # px: side of the box, applied twice, that its strength is measured in
FAINT = 0.05  # of the strongest place; below this, noise is not blown up
MATCHED = 0.5  # normalised correlation from which a piece counts as found
TEXTURED = 0.3  # of the median; a piece with less structure has nothing to find


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Tiles of the fixed picture and where they lie in the moving one.

    Attributes
    ----------
    centres : (N, 2) row and column of each tile's middle, px.
    shifts : (N, 2) what to add to find it in the moving picture, px, with fractions.
    weights : (N,) normalised correlation at the best place, 0 where the tile is not found.
    lattice : rows and columns of tiles, N = lattice[0] * lattice[1].
    """

    centres: NDArray[np.float64]
    shifts: NDArray[np.float64]
    weights: NDArray[np.float64]
    lattice: tuple[int, int]

    @property
    def share(self) -> float:
        """Share of the tiles that were found."""
        return float(np.mean(self.weights > 0))

    def residual(self) -> float:
        """Median length of the shifts of the tiles that were found, px; infinite where none was."""
        found = self.weights > 0
        return float(np.median(np.hypot(*self.shifts[found].T))) if found.any() else float("inf")


def structure(image: FloatImage) -> FloatImage:
    """Local structure of (rows, columns) float32: a band of frequencies over its local strength, about -3 to 3."""
    band = gaussian_filter(image, FINE) - gaussian_filter(image, COARSE)
    strength = np.sqrt(np.maximum(uniform_filter(uniform_filter(band * band, AROUND), AROUND), 0))
    normalised: FloatImage = band / (strength + FAINT * strength.max() + np.float32(1e-6))
    return normalised


def match_tiles(fixed: FloatImage, moving: FloatImage, *, tile: int = 64, step: int = 32, reach: int = 16) -> Matches:
    """Find the tiles of ``fixed`` in ``moving``.

    Parameters
    ----------
    fixed, moving : (rows, columns) of `structure`, of one shape.
    tile, step : side of a tile and distance between tiles, px.
    reach : largest shift that is looked for, px; below ``tile / 2``.
    """
    window = np.hanning(tile)[:, None] * np.hanning(tile)
    (first, first_norm), (second, second_norm) = (_tiles(image, window, step) for image in (fixed, moving))
    rows, columns = ((side - tile) // step + 1 for side in fixed.shape)
    spectrum = rfft2(first).conj() * rfft2(second)
    surface = np.roll(irfft2(spectrum, s=(tile, tile)), (reach, reach), axis=(1, 2))[
        :, : 2 * reach + 1, : 2 * reach + 1
    ]
    surface = surface / (first_norm * second_norm + 1e-9)[:, None, None]
    shifts, peak, inside = _peaks(surface, reach)
    found = inside & (peak > MATCHED) & (first_norm > TEXTURED * np.median(first_norm))
    lattice = np.mgrid[0:rows, 0:columns].reshape(2, -1).T
    centres = lattice * float(step) + (tile - 1) / 2
    return Matches(centres, shifts, np.where(found, peak, 0.0), (rows, columns))


def _tiles(
    image: FloatImage, window: NDArray[np.float64], step: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """(N, tile, tile) windowed pieces without their mean, and the norm of each."""
    side = len(window)
    pieces = np.lib.stride_tricks.sliding_window_view(image, (side, side))[::step, ::step].reshape(-1, side, side)
    means = (pieces * window).sum(axis=(1, 2), keepdims=True) / window.sum()
    windowed = ((pieces - means) * window).astype(np.float32)
    return windowed, np.sqrt((windowed.astype(np.float64) ** 2).sum(axis=(1, 2)))


def _peaks(
    surface: NDArray[np.float64], reach: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Place of each surface's maximum to a fraction of a px (a parabola through three), its height, and if inside."""
    which = np.arange(len(surface))
    best = surface.reshape(len(surface), -1).argmax(axis=1)
    place = np.stack(np.divmod(best, 2 * reach + 1), axis=1)
    inside = np.asarray(((place > 0) & (place < 2 * reach)).all(axis=1), dtype=bool)
    row, column = np.clip(place, 1, 2 * reach - 1).T
    middle = surface[which, row, column]
    fractions = [
        _vertex(surface[which, row - 1, column], middle, surface[which, row + 1, column]),
        _vertex(surface[which, row, column - 1], middle, surface[which, row, column + 1]),
    ]
    shifts = np.stack([row, column], axis=1) - reach + np.stack(fractions, axis=1)
    return shifts, surface[which, place[:, 0], place[:, 1]], inside


def _vertex(
    before: NDArray[np.float64], middle: NDArray[np.float64], after: NDArray[np.float64]
) -> NDArray[np.float64]:
    bend = before - 2 * middle + after
    flat = np.abs(bend) < 1e-9
    return np.where(flat, 0.0, 0.5 * (before - after) / np.where(flat, 1.0, bend))
