"""Is a chest radiograph shown as a negative? Lungs are dark on a positive, whatever the tone curve."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from pacs_node.imaging.fit import intensity_range
from pacs_node.records import FloatImage, Radiograph

__all__ = ["NEGATIVE_BELOW", "chest_score", "turned"]

SIDE = 32  # px: two lungs and a mediastinum need no more
REACH = 4  # px of these: lungs are not always in the middle
SMOOTH = 6.4  # px: brightness that changes over more than this says nothing about lungs
# Of 150 mixed radiographs, positives all, one scores below 0 (-.36: a white lung under a black frame) and four below
# .33. A positive is what nearly every set holds, so only strong evidence turns a picture around.
NEGATIVE_BELOW = -0.4
FLAT_SPREAD = 0.02  # of the range; a margin that varies less is a frame


def _template() -> NDArray[np.float64]:
    rows, columns = (np.mgrid[0:SIDE, 0:SIDE] + 0.5) / SIDE
    lungs = [((columns - x) / 0.15) ** 2 + ((rows - 0.45) / 0.28) ** 2 for x in (0.29, 0.71)]
    return _detail(-sum((np.exp(-(lung**2)) for lung in lungs), np.zeros((SIDE, SIDE))))


def _detail(image: NDArray[np.float64]) -> NDArray[np.float64]:
    detail: NDArray[np.float64] = image - gaussian_filter(image, SMOOTH)
    return detail


def _without_frame(image: FloatImage) -> FloatImage:
    """Cut rows and columns that carry no picture off the four sides: bars of an export look like air."""
    spread = FLAT_SPREAD * float(np.ptp(np.percentile(image, (0.5, 99.5))))
    for axis in (1, 0):
        low, high = np.percentile(image, (5, 95), axis=axis)
        lines = np.flatnonzero(high - low > spread)
        if lines.size:
            kept = slice(int(lines[0]), int(lines[-1]) + 1)
            image = image[kept] if axis == 1 else image[:, kept]
    return image


def chest_score(image: FloatImage) -> float:
    """How much a picture looks like two dark lungs beside a bright mediastinum.

    Parameters
    ----------
    image : (rows, columns) float32, any range.

    Returns
    -------
    Correlation of its coarse structure with that of a chest, at the best of several places: about .3 to .9 for a
    positive, as much below 0 for a negative.
    """
    picture = _without_frame(image)
    low, high = intensity_range(picture)
    clipped = np.clip((picture - low) / (high - low), 0, 1).astype(np.float32)
    small = Image.fromarray(clipped).resize((SIDE, SIDE), Image.Resampling.BOX)
    inner = slice(REACH, SIDE - REACH)
    seen = _detail(np.asarray(small, dtype=np.float64))[inner, inner].ravel()
    places = np.lib.stride_tricks.sliding_window_view(_template(), (SIDE - 2 * REACH, SIDE - 2 * REACH))
    scores = [float(np.corrcoef(seen, place.ravel())[0, 1]) for row in places for place in row]
    return max(scores, key=abs) if np.ptp(seen) > 0 else 0.0


def turned(radiograph: Radiograph) -> Radiograph:
    """The same picture with black and white exchanged; padding stays black."""
    pixels = (1 - radiograph.pixels).astype(np.float32)
    if radiograph.padding is not None:
        pixels[radiograph.padding] = 0.0
    return Radiograph(pixels, radiograph.padding, radiograph.bits_stored, radiograph.ds)
