"""Bring the twin onto the radiograph's own pixels, once, and keep what both cover."""

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from pacs_node.imaging.fit import Placement
from pacs_node.records import FloatImage, MaskImage, Radiograph
from training.ingest.register import Motion

__all__ = ["common_part", "onto"]

FINER = 1.05  # a twin with this much finer px is smoothed first, else it would alias


def onto(twin: Radiograph, motion: Motion, placements: tuple[Placement, Placement]) -> tuple[FloatImage, MaskImage]:
    """Resample a twin at the pixels of its radiograph by cubic splines.

    Parameters
    ----------
    motion : from the radiograph's square to the twin's.
    placements : of the radiograph and of the twin on these squares.

    Returns
    -------
    pixels, known : (rows, columns) of the radiograph; ``known`` is False where the twin has no pixel.
    """
    target, source = placements
    rows, columns = (np.arange(side) + 0.5 for side in (target.rows, target.columns))
    points = np.stack(
        np.meshgrid(rows / target.scale + target.top, columns / target.scale + target.left, indexing="ij")
    )
    moved = motion.moved(points)
    places = np.stack([(moved[0] - source.top) * source.scale, (moved[1] - source.left) * source.scale]) - 0.5
    finer = source.scale / target.scale
    pixels = twin.pixels
    if finer > FINER:
        pixels = gaussian_filter(pixels, 0.5 * float(np.sqrt(finer**2 - 1)))
    resampled: FloatImage = np.clip(map_coordinates(pixels, places, order=3, mode="nearest"), 0, 1)
    tolerance = 0.5 + 1e-3  # the outer half of a border px
    known = np.ones(resampled.shape, dtype=bool)
    for axis, side in enumerate(pixels.shape):
        known &= (places[axis] >= -tolerance) & (places[axis] <= side - 1 + tolerance)
    if twin.padding is not None:
        known &= map_coordinates(twin.padding.astype(np.float32), places, order=1, mode="nearest") < 0.5
    return resampled.astype(np.float32), known


def common_part(known: MaskImage) -> tuple[slice, slice]:
    """The box that is left when the border with the most unknown pixels is cut off until none is unknown."""
    top, bottom, left, right = 0, known.shape[0], 0, known.shape[1]
    while top < bottom and left < right:
        box = known[top:bottom, left:right]
        share = [float(np.mean(line)) for line in (box[0], box[-1], box[:, 0], box[:, -1])]
        worst = int(np.argmin(share))
        if share[worst] == 1.0:
            break
        top, bottom, left, right = (
            top + (worst == 0),
            bottom - (worst == 1),
            left + (worst == 2),
            right - (worst == 3),
        )
    return slice(top, bottom), slice(left, right)
