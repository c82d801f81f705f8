"""Real radiographs without a twin: what the autoencoder sees beside the simulated pairs."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pydicom import Dataset
from torch import Tensor

from pacs_node.errors import ConfigError
from pacs_node.imaging.fit import Placement, to_grid
from pacs_node.records import Radiograph

__all__ = ["HELD_OUT", "Radiographs", "from_bytes", "load_square"]

HELD_OUT = 30  # the last ones by name are never trained on
STORED_SIZE = 1024  # px, the largest at which the autoencoder has to return a radiograph
SUFFIXES = {".png", ".jpg", ".jpeg"}


def load_square(path: Path, size: int) -> tuple[Tensor, Placement]:
    """One 8- or 16-bit grey picture as the service would hand it to the network.

    Returns
    -------
    image : (size, size) float32 in [-1, 1]; black beside a picture that is not square.
    placement : where the picture lies on the square.

    Raises
    ------
    ConfigError
        The file cannot be decoded.
    """
    try:
        with Image.open(path) as picture:
            deep = picture.mode.startswith("I")
            values = np.asarray(picture if deep else picture.convert("L"), dtype=np.float32)
    except (OSError, SyntaxError, ValueError) as error:  # all that Pillow raises, seldom with the file's name
        told = "copy it again or take it out, the folders of pictures hold PNG and JPEG only"
        raise ConfigError(f"{path} cannot be decoded: {told}") from error
    radiograph = Radiograph(values / np.float32(65535 if deep else 255), None, 16 if deep else 8, Dataset())
    grid_image = to_grid(radiograph, size)
    return torch.from_numpy(grid_image.pixels[0, 0]), grid_image.placement


class Radiographs:
    """All images of a folder but the held-out ones, in memory at 8 bit."""

    def __init__(self, folder: Path, size: int = STORED_SIZE, held_out: int = HELD_OUT) -> None:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        if len(paths) <= held_out:
            raise FileNotFoundError(f"{folder} holds no more than the {held_out} images that are held out")
        kept = paths[: len(paths) - held_out]
        self.images = torch.stack([_to_bytes(load_square(path, size)[0]) for path in kept])
        self.held_out = torch.stack([_to_bytes(load_square(path, size)[0]) for path in paths[len(kept) :]])

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
