"""A page to look at: simulated radiographs, their twins and the bone between them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from training.simulate.canvas import FloatArray

__all__ = ["preview_sheet", "tile"]


def tile(cxr: FloatArray, soft: FloatArray, side: int) -> Image.Image:
    """Radiograph, twin and three times their difference over grey, side by side: (side, 3 side), 8 bit."""
    bone = np.clip(0.3 + 3 * (cxr - soft), 0, 1)
    whole = Image.fromarray(np.round(np.hstack([cxr, soft, bone]) * 255).astype(np.uint8))
    return whole.resize((3 * side, side), Image.Resampling.BOX)


def preview_sheet(pairs: Sequence[tuple[FloatArray, FloatArray]], path: Path, side: int = 384) -> None:
    """Write a PNG with pairs (radiograph, twin), each (size, size) in [0, 1], two a row."""
    page = Image.new("L", (6 * side, side * -(-len(pairs) // 2)))
    for k, (cxr, soft) in enumerate(pairs):
        page.paste(tile(cxr, soft, side), ((k % 2) * 3 * side, (k // 2) * side))
    page.save(path)
