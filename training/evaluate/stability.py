"""What needs no truth: does another noise seed make another image, and does a nodule stay?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacs_node.engine import Engine
from pacs_node.pipeline import run_network
from pacs_node.records import MaskImage, Radiograph
from training.metrics import lung_mask

__all__ = ["NODULE_SIGMAS", "NoduleContrast", "SeedSpread", "nodule_contrast", "seed_spread"]

# Deviations of the Gaussian shadows as shares of the longer side: about 4 and 7 mm in an adult.
NODULE_SIGMAS = (5 / 512, 9 / 512)
NODULES = 4  # of each size in one radiograph
NODULE_HEIGHT = 0.1  # of the grey range
APART = 6.0  # deviations between two of them


@dataclass(frozen=True, slots=True)
class NoduleContrast:
    """Share of the contrast of inserted nodules that the companion keeps, one figure each.

    Attributes
    ----------
    sigma : of the shadows, as a share of the longer side.
    kept : 1 is all of it.
    """

    sigma: float
    kept: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """Root mean squares on one pair, in P-values: of the difference that another seed makes, and of the layer."""

    name: str
    spread: float
    layer: float


def seed_spread(radiograph: Radiograph, engine: Engine, steps: int) -> tuple[float, float]:
    """Root mean square of the difference that another seed makes to the layer, and of the layer, in P-values."""
    first, second = (run_network(radiograph, engine, steps, seed).bone_layer for seed in (1, 2))
    return float(np.sqrt(np.mean((first - second) ** 2))), float(np.sqrt(np.mean(first**2)))


def nodule_contrast(radiograph: Radiograph, engine: Engine, steps: int, sigma: float) -> tuple[float, ...]:
    """Insert Gaussian nodules into the lungs and find how much of each comes through.

    Parameters
    ----------
    sigma : deviation of the shadows as a share of the longer side.

    Returns
    -------
    One figure a nodule: the projection of the companion's change onto the shadow. Empty where no lungs are found.
    """
    pixels = radiograph.pixels
    lungs = lung_mask(pixels, np.ones(pixels.shape, dtype=bool))
    width = sigma * max(pixels.shape)
    shadows = [_shadow(pixels.shape, centre, width) for centre in _centres(lungs, width)]
    if not shadows:
        return ()
    inserted = (NODULE_HEIGHT * np.sum(shadows, axis=0)).astype(np.float32)
    # what would be cut off at white is no loss of the network's
    inserted = np.minimum(inserted, np.maximum(1 - pixels, 0))
    marked = Radiograph(pixels + inserted, radiograph.padding, radiograph.bits_stored, radiograph.ds)
    before, after = (run_network(image, engine, steps, seed=1).bone_layer for image in (radiograph, marked))
    change = inserted - (after - before)
    return tuple(float(np.sum(change * shadow) / np.sum(inserted * shadow)) for shadow in shadows)


def _centres(lungs: MaskImage, width: float) -> list[tuple[int, int]]:
    """Up to four places in the lungs that are apart, the same for the same mask."""
    rows, columns = np.nonzero(lungs)
    order = np.random.default_rng(0).permutation(len(rows))
    chosen: list[tuple[int, int]] = []
    for index in order[:1000]:
        place = int(rows[index]), int(columns[index])
        if all(np.hypot(place[0] - r, place[1] - c) > APART * width for r, c in chosen):
            chosen.append(place)
        if len(chosen) == NODULES:
            break
    return chosen


def _shadow(shape: tuple[int, ...], centre: tuple[int, int], width: float) -> NDArray[np.float32]:
    profiles = [np.exp(-0.5 * ((np.arange(size) - at) / width) ** 2) for size, at in zip(shape, centre, strict=True)]
    return np.outer(*profiles).astype(np.float32)
