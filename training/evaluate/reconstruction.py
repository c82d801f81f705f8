"""What the autoencoder alone loses: radiographs it never saw, encoded and decoded."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pacs_node.engine import Engine
from pacs_node.errors import ConfigError
from pacs_node.imaging.fit import to_grid
from training.evaluate.cases import read_positive
from training.radiographs import HELD_OUT, SUFFIXES

__all__ = ["SIZES", "Reconstruction", "held_out", "reconstruct"]

SIZES = (512, 1024)  # px, sides of the square that a radiograph is fitted to


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """PSNR of each held-out radiograph at one size, in dB."""

    size: int
    psnr_db: tuple[float, ...]

    @property
    def mean_db(self) -> float:
        """Mean of the figures in dB."""
        return float(np.mean(self.psnr_db))


def held_out(folder: Path) -> list[Path]:
    """The last 30 pictures of a folder by name: what no training sees.

    Raises
    ------
    ConfigError
        There is no picture.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ConfigError(f"{folder} holds no PNG or JPEG radiograph")
    return paths[-HELD_OUT:]


def reconstruct(engine: Engine, path: Path, size: int) -> float:
    """PSNR in dB of one radiograph after the autoencoder, for the grey range that the network sees.

    The letterbox is left out: it is black on both sides, and would flatter.
    """
    grid_image = to_grid(read_positive(path), size)
    decoded = np.clip(engine.decode(engine.encode(grid_image.pixels)), -1, 1)
    rows, columns = grid_image.placement.covered()
    error = (decoded - grid_image.pixels)[0, 0, rows, columns].astype(np.float64)
    return float(10 * np.log10(4 / max(float(np.mean(error**2)), 1e-12)))
