"""Real radiographs without a twin: what the autoencoder sees beside the simulated pairs."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

__all__ = ["HELD_OUT", "Radiographs", "load_square"]

HELD_OUT = 30  # the last ones by name are never trained on
STORED_SIZE = 640  # px; a crop of the 512 px grid is cut from this, so that zooming in stays sharp
SUFFIXES = {".png", ".jpg", ".jpeg"}


def load_square(path: Path, size: int) -> Tensor:
    """One 8- or 16-bit grey image as the network sees it: stretched between its 0.5 and 99.5 percentile, letterboxed.

    Returns
    -------
    (size, size) float32 in [-1, 1]; black beside a picture that is not square.
    """
    with Image.open(path) as image:
        picture = image if image.mode.startswith("I") else image.convert("L")
        values = np.asarray(picture, dtype=np.float32)
    low, high = np.percentile(values, [0.5, 99.5])
    values = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
    scale = size / max(values.shape)
    rows, columns = (max(1, round(side * scale)) for side in values.shape)
    resized = np.asarray(Image.fromarray(values).resize((columns, rows), Image.Resampling.BOX))
    square = np.zeros((size, size), dtype=np.float32)
    top, left = (size - rows) // 2, (size - columns) // 2
    square[top : top + rows, left : left + columns] = resized
    return torch.from_numpy(square * 2 - 1)


class Radiographs:
    """All images of a folder but the held-out ones, in memory at 8 bit."""

    def __init__(self, folder: Path, size: int = STORED_SIZE, held_out: int = HELD_OUT) -> None:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        if len(paths) <= held_out:
            raise FileNotFoundError(f"{folder} holds no more than the {held_out} images that are held out")
        kept = paths[: len(paths) - held_out]
        self.images = torch.stack([_to_bytes(load_square(path, size)) for path in kept])
        self.held_out = torch.stack([_to_bytes(load_square(path, size)) for path in paths[len(kept) :]])

    def __len__(self) -> int:
        return len(self.images)

    def draw(self, rng: np.random.Generator) -> Tensor:
        """One image, (size, size) float32 in [-1, 1]."""
        return from_bytes(self.images[int(rng.integers(len(self.images)))])


def _to_bytes(image: Tensor) -> Tensor:
    return ((image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def from_bytes(image: Tensor) -> Tensor:
    """Undo the 8-bit storage: uint8 to float32 in [-1, 1]."""
    return image.float() / 127.5 - 1
