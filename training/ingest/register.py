"""Lay the soft-tissue twin onto its radiograph: an affine map by block matching, coarse to fine, then a smooth warp.

Block matching with a robust fit (Ourselin et al. 2001) suits these pairs: bone, which only one twin shows, misleads the
tiles that it fills and no others, and what displacement is left at the end is measured by the same tiles.

Coordinates are continuous (the outer edge of the first px is 0), (row, column), on the letterboxed squares that are
given; a motion leads from a place on the radiograph to the place in the twin that shows the same.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2
from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates, median_filter

from pacs_node.imaging.fit import Placement, letterbox, place
from pacs_node.records import FloatImage
from training.ingest.matching import Matches, match_tiles, structure

__all__ = ["GRID", "NEGLIGIBLE", "Motion", "Registration", "coarse_shift", "grid_for", "register"]

Matrix = NDArray[np.float64]
GRID = 1024  # px; lengths are told in px of such a square, whatever the size of the two that are compared
SMALLEST_GRID = 256
LEVELS = (4, 2, 1, 1)  # shrinking of the grid; twice at full size, where the parabola's bias is gone the second time
TILE, STEP = 64, 32
FEWEST_TILES = 12  # for six parameters with outliers among them
OUTLIER = 4.0  # robust standard deviations (Tukey's biweight)
LARGEST_SHIFT = 0.2  # of the side, for the first guess
ROUNDS = 3  # of the smooth warp
SMOOTH_TILES = 1.5  # Gaussian that the warp is smoothed with, tiles
JUMP = 2.0  # px; a tile that differs more from its neighbours' median is an outlier
NEGLIGIBLE = 0.25  # px of mean displacement, below which resampling would cost more than it mends


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """From the radiograph's square to the twin's.

    Attributes
    ----------
    matrix : (3, 3) affine map of (row, column, 1).
    warp : (2, rows, columns) displacement at the middles of tiles, added before ``matrix``; None for none.
    origin : middle of the first tile.
    """

    matrix: Matrix = field(default_factory=lambda: np.eye(3))
    warp: NDArray[np.float64] | None = None
    origin: tuple[float, float] = (0.0, 0.0)

    def moved(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map (2, ...) places."""
        if self.warp is not None:
            at = [(axis - start) / STEP for axis, start in zip(points, self.origin, strict=True)]
            points = points + np.stack([map_coordinates(part, at, order=3, mode="nearest") for part in self.warp])
        linear, offset = self.matrix[:2, :2], self.matrix[:2, 2]
        moved: NDArray[np.float64] = np.tensordot(linear, points, 1) + offset.reshape(2, *[1] * (points.ndim - 1))
        return moved

    def displacement(self, covered: tuple[slice, slice]) -> float:
        """Mean length of the displacement over the picture, px."""
        points = np.stack(np.meshgrid(*[np.linspace(s.start, s.stop, 17) for s in covered], indexing="ij"))
        return float(np.mean(np.hypot(*(self.moved(points) - points))))


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """A motion and what it achieves, in px of a square of `GRID`; `similarity` is the structures' correlation."""

    motion: Motion
    shift_px: float
    residual_before_px: float
    residual_px: float
    matched_share: float
    similarity: float


def register(
    fixed: FloatImage, moving: FloatImage, picture: Placement, *, search: bool = True, deform: bool = False
) -> Registration:
    """Find the motion from a radiograph to its twin.

    Parameters
    ----------
    fixed, moving : (side, side) float32 letterboxed squares of the same polarity; `grid_for` says how large.
    picture : where the radiograph lies on its square; the twin is looked for there.
    search : False only measures what displacement there is.
    deform : whether a smooth warp follows the affine map, for hearts and breath that moved between two exposures.
    """
    covered = picture.covered()
    wanted = structure(fixed[covered])
    before = _compared(wanted, moving, Motion(), covered)
    motion = Motion(_affine(fixed, moving, covered, wanted)) if search else Motion()
    if search and deform:
        motion = _deformed(wanted, moving, motion, covered)
    after = _compared(wanted, moving, motion, covered) if search else before
    if after[0].residual() >= before[0].residual():  # nothing to gain: the pixels stay what they are
        motion, after = Motion(), before
    unit = GRID / len(fixed)
    shift, old, new = (unit * px for px in (motion.displacement(covered), before[0].residual(), after[0].residual()))
    return Registration(motion, shift, old, new, after[0].share, after[1])


def grid_for(longest: int) -> int:
    """The smallest square, in steps of two up to `GRID`, that keeps all detail of a picture this long."""
    grid = SMALLEST_GRID
    while grid < min(longest, GRID):
        grid *= 2
    return grid


def _affine(fixed: FloatImage, moving: FloatImage, covered: tuple[slice, slice], wanted: FloatImage) -> Matrix:
    """The affine map, from the coarsest level to the grid; ``wanted`` is the structure there."""
    matrix = np.eye(3)
    for level, factor in enumerate(LEVELS):
        window = tuple(slice(-(-side.start // factor), side.stop // factor) for side in covered)
        small = _shrunk(moving, factor)
        if level == 0:
            matrix[:2, 2] = factor * coarse_shift(_shrunk(fixed, factor)[window], small[window])[0]
        pattern = wanted if factor == 1 else structure(_shrunk(fixed, factor)[window])
        matrix = matrix @ _step(pattern, small, _at_scale(matrix, factor), window, factor)
    return matrix


def coarse_shift(fixed: FloatImage, moving: FloatImage) -> tuple[NDArray[np.float64], float]:
    """The whole-picture shift, in px, and the correlation there: negative when one of the two is a negative."""
    window = np.outer(*[np.hanning(side) for side in fixed.shape])
    first, second = (structure(image) * window for image in (fixed, moving))
    surface = irfft2(rfft2(first).conj() * rfft2(second), s=first.shape)
    surface /= np.sqrt(np.sum(first**2) * np.sum(second**2)) + 1e-9
    shifts = [np.fft.fftfreq(side, 1 / side) for side in first.shape]
    near = [np.abs(shift) <= LARGEST_SHIFT * len(shift) for shift in shifts]
    looked = np.where(np.outer(*near), surface, 0.0)
    row, column = np.unravel_index(np.abs(looked).argmax(), looked.shape)
    return np.array([shifts[0][row], shifts[1][column]]), float(looked[row, column])


def _shrunk(image: FloatImage, factor: int) -> FloatImage:
    side = len(image)
    return image if factor == 1 else letterbox(image, place(side, side, side // factor))


def _at_scale(matrix: Matrix, factor: int) -> Matrix:
    scaled = matrix.copy()
    scaled[:2, 2] /= factor
    return scaled


def _affinely_moved(moving: FloatImage, matrix: Matrix) -> FloatImage:
    linear = matrix[:2, :2]
    offset = linear @ [0.5, 0.5] + matrix[:2, 2] - 0.5  # from px indices to places and back
    moved: FloatImage = affine_transform(moving, linear, offset, order=3, mode="nearest")
    return moved


def _step(wanted: FloatImage, moving: FloatImage, matrix: Matrix, window: tuple[slice, ...], factor: int) -> Matrix:
    """A better matrix is ``matrix @ step``, with the step told in px of the full grid."""
    moved = _affinely_moved(moving, matrix)
    matches = match_tiles(wanted, structure(moved[window]), tile=TILE, step=STEP)
    if np.count_nonzero(matches.weights) < FEWEST_TILES:
        return np.eye(3)
    start = np.array([side.start for side in window]) + 0.5
    return _fitted(factor * (matches.centres + start), factor * matches.shifts, matches.weights)


def _fitted(places: Matrix, shifts: Matrix, weights: NDArray[np.float64]) -> Matrix:
    """The affine map ``place -> place + shift`` by iteratively reweighted least squares."""
    terms = np.column_stack([places / GRID - 0.5, np.ones(len(places))])
    robust = weights.copy()
    solution = np.zeros((3, 2))
    for _ in range(10):
        root = np.sqrt(robust)[:, None]
        solution = np.linalg.lstsq(terms * root, shifts * root, rcond=None)[0]
        errors = np.hypot(*(shifts - terms @ solution).T)
        spread = max(1.4826 * float(np.median(errors[weights > 0])), 0.1)
        robust = weights * np.clip(1 - (errors / (OUTLIER * spread)) ** 2, 0, 1) ** 2
    step = np.eye(3)
    step[:2, :2] += solution[:2].T / GRID
    step[:2, 2] = solution[2] - 0.5 * solution[:2].sum(axis=0)
    return step


def _moved_picture(moving: FloatImage, motion: Motion) -> FloatImage:
    if motion.warp is None:
        return _affinely_moved(moving, motion.matrix)
    points = np.stack(np.meshgrid(*[np.arange(side) + 0.5 for side in moving.shape], indexing="ij"))
    moved: FloatImage = map_coordinates(moving, motion.moved(points) - 0.5, order=3, mode="nearest")
    return moved


def _compared(
    wanted: FloatImage, moving: FloatImage, motion: Motion, covered: tuple[slice, slice]
) -> tuple[Matches, float]:
    """What the tiles find after a motion, and the correlation of the two structures."""
    seen = structure(_moved_picture(moving, motion)[covered])
    return match_tiles(wanted, seen, tile=TILE, step=STEP), float(np.corrcoef(wanted.ravel(), seen.ravel())[0, 1])


def _deformed(wanted: FloatImage, moving: FloatImage, motion: Motion, covered: tuple[slice, slice]) -> Motion:
    """Add the smooth warp that the tiles still ask for after the affine map."""
    origin = tuple(side.start + TILE / 2 for side in covered)
    for _ in range(ROUNDS):
        matches, _ = _compared(wanted, moving, motion, covered)
        asked = _smoothed(matches)
        warp = asked if motion.warp is None else motion.warp + asked
        motion = Motion(motion.matrix, warp, (origin[0], origin[1]))
    return motion


def _smoothed(matches: Matches) -> NDArray[np.float64]:
    """(2, rows, columns) shifts, smoothed over tiles that were found and agree with their neighbours."""
    weights = matches.weights.reshape(matches.lattice)
    shifts = np.where(weights > 0, matches.shifts.T.reshape(2, *matches.lattice), 0.0)
    lonely = np.hypot(*[part - median_filter(part, 5) for part in shifts]) > JUMP
    weights = np.where(lonely, 0.0, weights)
    total = gaussian_filter(weights, SMOOTH_TILES) + 0.05  # where nothing was found the warp fades to none
    return np.stack([gaussian_filter(part * weights, SMOOTH_TILES) / total for part in shifts])
