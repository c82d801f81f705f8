"""A radiograph -> the small square on which the gate looks at it, and what its tones say before any classifier.

Everything here is written for one purpose: two pictures of one chest, taken by two scanners and shown through two
windows, should give nearly the same thumbnail. So margins without image are cut off, the rest is stretched to a square,
and beside the tones themselves their ranks are kept, which no window and no gamma changes.
"""

from dataclasses import dataclass

import numpy as np

from pacs_node.imaging.fit import letterbox, place
from pacs_node.records import FloatImage, MaskImage

__all__ = ["SIDE", "Glance", "glance_at", "with_ranks"]

SIDE = 64  # px of the thumbnail: ribs are one pixel wide there, lungs, heart and diaphragm are all there
_WORKING = 192  # px at which margins are found
_FLAT = 0.03  # share of the range: a line that varies less carries no image
_PERCENTILES = (1.0, 99.0)
_BLACK, _WHITE = 0.01, 0.99  # P-values that a person cannot tell from the ends of the scale
_LEVELS = 1024  # tones closer than that share a rank


@dataclass(frozen=True, slots=True, eq=False)
class Glance:
    """What the gate sees of one radiograph.

    Attributes
    ----------
    tones : (SIDE, SIDE) float32, P-values from 0 (darkest 1 % inside the margins) to 1 (brightest 1 %).
    spread : standard deviation of the thumbnail before that stretch, in P-values.
    grain : standard deviation of what is finer than the thumbnail, in P-values.
    middle : share of the pixels inside the margins that are neither black nor white.
    tails : kurtosis of the differences between neighbours in ``tones`` that are neither 0 nor 1, along rows or columns,
        whichever is larger. Noise has about 3, whatever its spectrum: its phases are random, so its differences are
        bell-shaped. What has edges has more.
    """

    tones: FloatImage
    spread: float
    grain: float
    middle: float
    tails: float


def glance_at(pixels: FloatImage, padding: MaskImage | None = None) -> Glance:
    """Reduce a radiograph to what the gate needs.

    Parameters
    ----------
    pixels : (rows, columns) float32 P-values in [0, 1].
    padding : (rows, columns) bool, True where there is no image; ``pixels`` are 0 there.
    """
    placement = place(pixels.shape[0], pixels.shape[1], _WORKING)
    image = letterbox(pixels, placement)[placement.covered()]
    rows, columns = _without_margins(image)
    inside = image[rows, columns]
    thumbnail = np.asarray(_averages(SIDE, inside.shape[0]) @ inside @ _averages(SIDE, inside.shape[1]).T, np.float32)
    native = _native(pixels.shape, image.shape, rows, columns)
    values = pixels[native].ravel() if padding is None else pixels[native][~padding[native]]
    values = values if values.size else pixels.ravel()
    spread, tones = float(thumbnail.std()), _stretched(thumbnail)
    return Glance(
        tones=tones,
        spread=spread,
        grain=float(np.sqrt(max(float(values.astype(np.float64).var()) - spread**2, 0.0))),
        middle=float(((values > _BLACK) & (values < _WHITE)).mean()),
        tails=max(_kurtosis(_differences(each)) for each in (tones, tones.T)),
    )


def with_ranks(tones: FloatImage) -> FloatImage:
    """The two channels of the classifier: tones, and their ranks; equal tones share a rank.

    Parameters
    ----------
    tones : (n, SIDE, SIDE) float32 in [0, 1].

    Returns
    -------
    (n, 2, SIDE, SIDE) float32 in [-1, 1].
    """
    levels = np.rint(tones.reshape(len(tones), -1) * (_LEVELS - 1)).astype(np.int64)
    ranks = np.empty(levels.shape, np.float32)
    for index, values in enumerate(levels):
        counts = np.bincount(values, minlength=_LEVELS)
        ranks[index] = ((np.cumsum(counts) - counts / 2) / values.size)[values]
    channels = np.stack([tones, ranks.reshape(tones.shape)], axis=1)
    return np.asarray(2 * channels - 1, dtype=np.float32)


def _without_margins(image: FloatImage) -> tuple[slice, slice]:
    """Rows and columns between collimators and frames; a printed marker in a margin does not keep it."""
    low, high = np.percentile(image, _PERCENTILES)
    rows = _textured(image, 1, _FLAT * float(high - low))
    return rows, _textured(image[rows], 0, _FLAT * float(high - low))


def _textured(image: FloatImage, axis: int, spread: float) -> slice:
    low, high = np.percentile(image, (8, 92), axis=axis)
    lines = np.flatnonzero(high - low > spread)
    wide_enough = lines.size and lines[-1] - lines[0] >= 7
    return slice(int(lines[0]), int(lines[-1]) + 1) if wide_enough else slice(0, image.shape[1 - axis])


def _native(shape: tuple[int, ...], small: tuple[int, ...], rows: slice, columns: slice) -> tuple[slice, ...]:
    """About ``_WORKING`` native pixels along each direction: single ones, not averages."""
    ends = [
        (part.start * size // side, part.stop * size // side)
        for part, size, side in zip((rows, columns), shape, small, strict=True)
    ]
    return tuple(slice(start, stop, max(1, (stop - start) // _WORKING)) for start, stop in ends)


def _averages(outputs: int, inputs: int) -> FloatImage:
    """(outputs, inputs) averages over equal parts; where parts are narrower than an input, linear interpolation."""
    step = inputs / outputs
    half = max(step, 1.0) / 2
    center = (np.arange(outputs) + 0.5)[:, None] * step
    cell = np.arange(inputs)[None, :]
    shares = np.clip(np.minimum(center + half, cell + 1) - np.maximum(center - half, cell), 0.0, None)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float32)


def _differences(tones: FloatImage) -> FloatImage:
    """Between neighbours of a row, (n,); where the stretch cut a tone off there is no difference to be known."""
    known = (tones > 0) & (tones < 1)
    return np.asarray(np.diff(tones)[known[:, 1:] & known[:, :-1]], dtype=np.float32)


def _kurtosis(values: FloatImage) -> float:
    """Fourth moment by the square of the second: 3 for a normal distribution; 0 where no two values differ."""
    if values.size == 0:
        return 0.0
    squares = (values.astype(np.float64) - values.mean(dtype=np.float64)) ** 2
    return float((squares**2).mean() / max(float(squares.mean()) ** 2, 1e-20))


def _stretched(thumbnail: FloatImage) -> FloatImage:
    low, high = (float(value) for value in np.percentile(thumbnail, _PERCENTILES))
    return np.asarray(np.clip((thumbnail - low) / max(high - low, 1e-6), 0.0, 1.0), dtype=np.float32)
