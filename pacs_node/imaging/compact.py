"""What is compact in a bone layer is no bone, and stays in the companion.

Where a nodule fills a gap between ribs, or lies on a rib, a network that looks for ribs takes a part of it for bone.
Bone in the lungs is long. So a layer is taken for what one or two long things can explain, one of them across the
other; what stands out above that, shorter than a rib in every direction, is left out:

    min(layer, first + second - low)

``first`` is the largest, over directions, of the openings of the layer by a line (Soille & Talbot, 2001): what holds a
line of the length in some direction stays as it is. ``second`` is the same over directions far from that of the first,
so that where two ribs cross both stay; ``low`` is the level of the gaps around.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter, uniform_filter

from pacs_node.records import FloatImage

__all__ = ["halved", "openings", "without_compact"]

DIRECTIONS, APART = 16, 3  # of the lines over half a turn; how many of them lie between two ribs that cross
ALONG = 5  # half pixels of the mean along a line, before its opening: noise would lower every rib
AROUND_PX = 48  # side of the window that says what is low and high, px of the grid: some two ribs and two gaps
SPREAD = 1.2  # deviations from the mean, where low and high are
GAP, RIB = 0.35, 0.7  # share of the way from low to high: below there is no rib, above there is one
CROSSED = 0.5, 0.8  # the same, for a rib that another one may cross
WIDENED = 3  # half pixels, so that the flank of a rib counts as rib
LEAST_RANGE = 0.02  # of the network's units between low and high: fainter bone is none
Extreme = Callable[[FloatImage, FloatImage], FloatImage]


def without_compact(layer: FloatImage, length_px: float) -> tuple[FloatImage, FloatImage]:
    """The part of a layer that is long.

    Parameters
    ----------
    layer : (rows, columns) float32, a bone layer on the grid in the network's units, its low frequencies included.
    length_px : of the line; longer than what is to be spared, shorter than ribs are straight.

    Returns
    -------
    layer : the same shape; nowhere higher than before, and 0 where it was 0.
    ribs : (rows, columns) in [0, 1], 1 on long bone.
    """
    rows, columns = layer.shape
    small = np.maximum(gaussian_filter(halved(layer), 0.5), 0)
    first, second = _two_lines(openings(small, max(3, round(length_px / 2) | 1)))
    mean, spread = _statistics(first)
    low = np.maximum(mean - SPREAD * spread, 0)
    level = (first - mean + SPREAD * spread) / (2 * SPREAD * spread + LEAST_RANGE)
    crossed = np.clip((level - CROSSED[0]) / (CROSSED[1] - CROSSED[0]), 0, 1)
    compact = _doubled(np.maximum(small - first - crossed * np.maximum(second - low, 0), 0))[:rows, :columns]
    ribs = maximum_filter(np.clip((level - GAP) / (RIB - GAP), 0, 1), WIDENED)
    return layer - compact, _doubled(gaussian_filter(ribs, 1.5))[:rows, :columns]


def _two_lines(along: FloatImage) -> tuple[FloatImage, FloatImage]:
    """The largest of the openings (directions, rows, columns), and the largest far from its direction."""
    best, first = along.argmax(axis=0), along.max(axis=0)
    second = np.zeros_like(first)
    for number, opening in enumerate(along):
        apart = np.abs(best - number)
        far = np.minimum(apart, DIRECTIONS - apart) >= APART
        np.maximum(second, opening, out=second, where=far)
    return first, second


def openings(image: FloatImage, length: int) -> FloatImage:
    """Openings by lines of ``length`` px, of the mean along each: (directions, rows, columns), the first along rows."""
    border = length + ALONG
    padded = np.pad(image, border, mode="edge")
    inside = slice(border, -border)
    found = np.empty((DIRECTIONS, *image.shape), np.float32)
    for number in range(DIRECTIONS):
        angle = math.pi * number / DIRECTIONS
        down, right = math.sin(angle), math.cos(angle)
        eroded = _extreme(_mean_along(padded, (down, right)), length, (down, right), np.minimum)
        found[number] = _extreme(eroded, length, (-down, -right), np.maximum)[inside, inside]
    return found


def _mean_along(image: FloatImage, step: tuple[float, float]) -> FloatImage:
    """Mean over `ALONG` pixels; wrong near the border, which is cut off."""
    total = image.copy()
    for far in range(1, ALONG // 2 + 1):
        by = [round(part * far) for part in step]
        total += np.roll(image, by, (0, 1)) + np.roll(image, [-part for part in by], (0, 1))
    return total / np.float32(ALONG)


def _extreme(image: FloatImage, length: int, step: tuple[float, float], pick: Extreme) -> FloatImage:
    """The extreme of ``length`` pixels from each one on along ``step``, by doubling; fewer at the border."""
    found, covered = image, 1
    while covered < length:
        further = min(covered, length - covered)
        there = _windows(image.shape, tuple(round(part * further) for part in step))
        grown = found.copy()
        grown[there[0]] = pick(found[there[0]], found[there[1]])
        found, covered = grown, covered + further
    return found


Window = tuple[slice, ...]


def _windows(shape: tuple[int, ...], by: tuple[int, ...]) -> tuple[Window, Window]:
    """The pixels that have a neighbour ``by`` pixels away, and those neighbours."""
    ends = [(size - max(move, 0), size + min(move, 0)) for size, move in zip(shape, by, strict=True)]
    here = tuple(slice(max(-move, 0), end) for move, (end, _) in zip(by, ends, strict=True))
    there = tuple(slice(max(move, 0), end) for move, (_, end) in zip(by, ends, strict=True))
    return here, there


def _statistics(image: FloatImage) -> tuple[FloatImage, FloatImage]:
    """Mean and standard deviation around each pixel of an image at half the grid's size."""
    coarse, side = halved(image), AROUND_PX // 4
    mean = uniform_filter(coarse, side, mode="nearest")
    square = uniform_filter(coarse * coarse, side, mode="nearest") - mean * mean
    rows, columns = image.shape
    smooth = (gaussian_filter(part, 2) for part in (mean, np.sqrt(np.maximum(square, 0))))
    mean, spread = (_doubled(part)[:rows, :columns] for part in smooth)
    return mean, spread


def halved(image: NDArray[np.float32]) -> FloatImage:
    """Means of two by two pixels; an odd last row or column is repeated."""
    padded = np.pad(image, [(0, size % 2) for size in image.shape], mode="edge")
    quarters = (padded[row::2, column::2] for row in (0, 1) for column in (0, 1))
    return np.asarray(sum(quarters) * np.float32(0.25), dtype=np.float32)


def _doubled(image: FloatImage) -> FloatImage:
    """Twice the rows and columns, linear between the centres of pixels."""
    for axis in (0, 1):
        first = np.swapaxes(image, 0, axis)
        padded = np.concatenate([first[:1], first, first[-1:]])
        near = np.float32(0.75) * first
        pair = np.stack([near + np.float32(0.25) * padded[:-2], near + np.float32(0.25) * padded[2:]], axis=1)
        image = np.swapaxes(pair.reshape(-1, *first.shape[1:]), 0, axis)
    return np.ascontiguousarray(image)
