"""A radiograph -> the small square on which the gate looks at it, and what its tones say before any classifier.

Everything here is written for one purpose: two pictures of one chest, taken by two scanners and shown through two
windows, should give nearly the same thumbnail. So margins without image are cut off, the rest is stretched to a square,
and beside the tones themselves their ranks are kept, which no window and no gamma changes.
"""

from dataclasses import dataclass

import numpy as np

from pacs_node.imaging.fit import letterbox, place
from pacs_node.records import FloatImage, MaskImage

__all__ = ["SIDE", "Look", "look_at", "with_ranks"]

SIDE = 64  # px of the thumbnail: ribs are one pixel wide there, lungs, heart and diaphragm are all there
_WORKING = 192  # px at which margins are found
_FLAT = 0.03  # share of the range: a line that varies less carries no image
_PERCENTILES = (1.0, 99.0)


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What the gate sees of one radiograph.

    Attributes
    ----------
    tones : (SIDE, SIDE) float32, P-values from 0 (darkest 1 % inside the margins) to 1 (brightest 1 %).
    spread : standard deviation of the thumbnail before that stretch, in P-values.
    grain : standard deviation of what is finer than the thumbnail, in P-values.
    burnt : share of the pixels inside the margins that are black or white, whichever is more.
    middle : share of the pixels inside the margins that are neither.
    """

    tones: FloatImage
    spread: float
    grain: float
    burnt: float
    middle: float


def look_at(pixels: FloatImage, padding: MaskImage | None = None) -> Look:
    """Reduce a radiograph to what the gate needs.

    Parameters
    ----------
    pixels : (rows, columns) float32 P-values in [0, 1].
    padding : (rows, columns) bool, True where there is no image; ``pixels`` are 0 there.
    """
    placement = place(*pixels.shape, _WORKING)
    image = letterbox(pixels, placement)[placement.covered()]
    rows, columns = _without_margins(image)
    inside = image[rows, columns]
    thumbnail = _averages(SIDE, inside.shape[0]) @ inside @ _averages(SIDE, inside.shape[1]).T
    native = _native(pixels, image.shape, rows, columns)
    seen = native if padding is None else native[~_native(padding, image.shape, rows, columns)]
    values = seen if seen.size else native
    black, white = float((values < 0.01).mean()), float((values > 0.99).mean())
    spread = float(thumbnail.std())
    return Look(
        tones=_stretched(thumbnail),
        spread=spread,
        grain=float(np.sqrt(max(float(values.astype(np.float64).var()) - spread**2, 0.0))),
        burnt=max(black, white),
        middle=1.0 - black - white,
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
    flat = tones.reshape(len(tones), -1)
    ranks = np.empty_like(flat)
    for index, values in enumerate(flat):
        ordered = np.sort(values)
        below, upto = np.searchsorted(ordered, values), np.searchsorted(ordered, values, side="right")
        ranks[index] = (below + upto) / (2 * values.size)
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


def _native(
    image: FloatImage | MaskImage, small: tuple[int, ...], rows: slice, columns: slice
) -> FloatImage | MaskImage:
    """About ``_WORKING`` pixels of the native image along each direction: single ones, not averages."""
    (top, bottom), (left, right) = (
        (slice_.start * size // side, slice_.stop * size // side)
        for slice_, size, side in zip((rows, columns), image.shape, small, strict=True)
    )
    part = image[top:bottom, left:right]
    return part[:: max(1, part.shape[0] // _WORKING), :: max(1, part.shape[1] // _WORKING)]


def _averages(outputs: int, inputs: int) -> FloatImage:
    """(outputs, inputs) averages over equal parts; where parts are narrower than an input, linear interpolation."""
    step = inputs / outputs
    half = max(step, 1.0) / 2
    center = (np.arange(outputs) + 0.5)[:, None] * step
    cell = np.arange(inputs)[None, :]
    shares = np.clip(np.minimum(center + half, cell + 1) - np.maximum(center - half, cell), 0.0, None)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float32)


def _stretched(thumbnail: FloatImage) -> FloatImage:
    low, high = (float(value) for value in np.percentile(thumbnail, _PERCENTILES))
    return np.asarray(np.clip((thumbnail - low) / max(high - low, 1e-6), 0.0, 1.0), dtype=np.float32)
