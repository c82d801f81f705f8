"""Compact bumps of a bone layer in the gaps between ribs: they are no bone, and stay in the companion.

Where a nodule fills a gap, a network that looks for ribs takes a part of it for bone. Bone in the lungs is long, so a
bump that is shorter than a rib in every direction is taken out of the layer, unless it lies on something long: there it
may be where two ribs cross.

    layer - gate * (layer - opening(layer))

The opening is the largest, over directions, of the openings by a line (Soille & Talbot, 2001): what holds a line of the
length in some direction stays as it is. The gate is 1 where the opening is as low as the gaps around it, and 0 where it
is as high as the ribs around it.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter

from pacs_node.records import FloatImage

__all__ = ["halved", "opened", "without_compact"]

DIRECTIONS = 16
AROUND_PX = 48  # side of the window that says what is low and high, px of the grid: some two ribs and two gaps
SPREAD = 1.2  # deviations from the mean, where low and high are
GAP, RIB = 0.35, 0.7  # share of the way from low to high: below, all that is compact goes; above, nothing does
LEAST_RANGE = 0.02  # of the network's units between low and high: fainter bone is none
Extreme = Callable[[FloatImage, FloatImage], FloatImage]


def without_compact(layer: FloatImage, length_px: float) -> tuple[FloatImage, FloatImage]:
    """The layer without what is compact and lies between ribs, and where something long is.

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
    long = opened(small, max(3, round(length_px / 2) | 1))
    mean, spread = _statistics(long)
    level = (long - mean + SPREAD * spread) / (2 * SPREAD * spread + LEAST_RANGE)
    ribs = np.clip((level - GAP) / (RIB - GAP), 0, 1).astype(np.float32)
    compact = _doubled((small - long) * (1 - ribs))[:rows, :columns]
    return layer - compact, _doubled(gaussian_filter(ribs, 1.5))[:rows, :columns]


def opened(image: FloatImage, length: int) -> FloatImage:
    """The largest of the openings by lines of ``length`` px in all directions; nowhere above the image."""
    padded = np.pad(image, length, mode="edge")
    best = np.full_like(padded, -np.inf)
    for number in range(DIRECTIONS):
        angle = math.pi * number / DIRECTIONS
        down, right = math.sin(angle), math.cos(angle)
        eroded = _extreme(padded, length, (down, right), np.minimum)
        np.maximum(best, _extreme(eroded, length, (-down, -right), np.maximum), out=best)
    inside = slice(length, -length)
    result: FloatImage = np.minimum(best[inside, inside], image)
    return result


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
