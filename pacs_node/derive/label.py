"""The small burned-in label that no viewer can hide: what the image is, never who is on it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["LABEL_LINES", "LabelBox", "burn_label"]

LABEL_LINES = ("AI SOFT TISSUE", "DERIVED - RESEARCH USE")
FONT_SHARE = 1 / 64  # of the shorter side of the image
SMALLEST_FONT_PX = 8  # below this the letters of Pillow's font run together
WIDEST_SHARE = 0.5  # of the columns; an image too narrow for the smallest font stays without a label
MARKER_PERCENTILE = 99.5  # letters as small as these of the label cover more than half a percent of its box
STEPS = 64  # from a corner to the middle, in search of a place that no shutter hides
INK = 0.8  # of full scale: bright enough to read, below it so that automatic windowing is not driven by the label


@dataclass(frozen=True, slots=True)
class LabelBox:
    """Pixels that the label covers: rows ``top`` to ``bottom`` - 1, columns ``left`` to ``right`` - 1."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the box in a (rows, columns) array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def burn_label(
    pixels: NDArray[np.uint16],
    bits_stored: int,
    lines: Sequence[str] = LABEL_LINES,
    visible: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.uint16], LabelBox | None]:
    """A copy of the image with the label on a black plate in the corner that shows least.

    Parameters
    ----------
    pixels : (rows, columns) uint16, 0 .. 2**bits_stored - 1.
    bits_stored : int
    visible : (rows, columns) bool, False where a shutter hides the image; None where there is no shutter.

    Returns
    -------
    labelled : (rows, columns) uint16, equal to ``pixels`` outside the box.
    box : LabelBox or None
        None where the image is too small for readable letters; the copy is then unchanged.
    """
    labelled = pixels.copy()
    mask = _mask(pixels.shape[0], pixels.shape[1], tuple(lines))
    if mask is None:
        return labelled, None
    box = _quietest_corner(pixels, *mask.shape, visible=visible)
    full_scale = 2**bits_stored - 1
    labelled[box.slices] = np.rint(mask.astype(np.float64) / 255 * INK * full_scale).astype(np.uint16)
    return labelled, box


def _mask(rows: int, columns: int, lines: Sequence[str]) -> NDArray[np.uint8] | None:
    """The text as (height, width) coverage, 0 to 255, at the largest size that the image allows."""
    for size in range(max(SMALLEST_FONT_PX, round(min(rows, columns) * FONT_SHARE)), SMALLEST_FONT_PX - 1, -1):
        mask = _render(size, lines)
        if mask.shape[1] <= columns * WIDEST_SHARE and mask.shape[0] <= rows * WIDEST_SHARE:
            return mask
    return None


def _render(size_px: int, lines: Sequence[str]) -> NDArray[np.uint8]:
    """The two lines in Pillow's own font; its basic layout gives the same pixels with and without libraqm."""
    font = ImageFont.load_default(size_px)
    if isinstance(font, ImageFont.FreeTypeFont):
        font = font.font_variant(layout_engine=ImageFont.Layout.BASIC)
    pad = max(2, size_px // 3)
    text = "\n".join(lines)
    left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), text, font=font)
    width, height = int(np.ceil(right - left)) + 2 * pad, int(np.ceil(bottom - top)) + 2 * pad
    plate = Image.new("L", (width, height))
    ImageDraw.Draw(plate).multiline_text((pad - left, pad - top), text, fill=255, font=font)
    return np.asarray(plate, dtype=np.uint8)


def _quietest_corner(
    pixels: NDArray[np.uint16], height: int, width: int, *, visible: NDArray[np.bool_] | None
) -> LabelBox:
    """The corner with the least mean plus spread plus highlight: background, or at least no marker and little anatomy.

    The highlight is there because a side marker in a dark corner hardly moves mean and spread, and must not be covered.
    Equal corners are taken in a fixed order, so that equal images get equal labels. Under a shutter, a corner is where
    on its way to the middle the label is wholly seen.
    """
    rows, columns = pixels.shape
    boxes = [
        LabelBox(top, left, top + height, left + width) for top in (rows - height, 0) for left in (columns - width, 0)
    ]
    if visible is not None:
        # a shutter that leaves no room for the label is left alone: the corners will do
        boxes = [seen for box in boxes if (seen := _seen(box, visible)) is not None] or boxes
    return boxes[int(np.argmin([_unrest(pixels[box.slices]) for box in boxes]))]


def _seen(corner: LabelBox, visible: NDArray[np.bool_]) -> LabelBox | None:
    """The box moved from its corner towards the middle of what is visible until all of it is seen; None if never."""
    height, width = corner.bottom - corner.top, corner.right - corner.left
    rows, columns = (np.flatnonzero(visible.any(axis=axis)) for axis in (1, 0))
    highest, lowest = int(rows[0]), int(rows[-1]) + 1 - height  # of the rectangle around what is visible
    leftmost, rightmost = int(columns[0]), int(columns[-1]) + 1 - width
    if lowest < highest or rightmost < leftmost:
        return None
    start = (highest if corner.top == 0 else lowest, leftmost if corner.left == 0 else rightmost)
    middle = ((highest + lowest) // 2, (leftmost + rightmost) // 2)
    for step in range(STEPS + 1):
        top, left = (begin + (end - begin) * step // STEPS for begin, end in zip(start, middle, strict=True))
        box = LabelBox(top, left, top + height, left + width)
        if visible[box.slices].all():
            return box
    return None


def _unrest(corner: NDArray[np.uint16]) -> float:
    median, brightest = np.percentile(corner, (50, MARKER_PERCENTILE))
    return float(np.mean(corner) + np.std(corner) + brightest - median)
