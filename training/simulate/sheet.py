"""A page to look at: simulated radiographs, their twins and the bone between them."""

from pathlib import Path

import numpy as np
from PIL import Image

from training.simulate.pair import SimulatedPair, simulate_pair

__all__ = ["preview_sheet", "tile"]


def tile(pair: SimulatedPair) -> np.ndarray:
    """Radiograph, twin and three times their difference over grey, side by side (size, 3 size) uint8."""
    bone = np.clip(0.3 + 3 * (pair.cxr - pair.soft), 0, 1)
    return np.asarray(np.round(np.hstack([pair.cxr, pair.soft, bone]) * 255), dtype=np.uint8)


def preview_sheet(n: int, path: Path, size: int = 384, first_seed: int = 0) -> None:
    """Write a PNG with ``n`` pairs, two a row."""
    tiles = [tile(simulate_pair(first_seed + k, size)) for k in range(n)]
    if len(tiles) % 2:
        tiles.append(np.zeros_like(tiles[0]))
    rows = [np.hstack(tiles[k : k + 2]) for k in range(0, len(tiles), 2)]
    Image.fromarray(np.vstack(rows)).save(path)
