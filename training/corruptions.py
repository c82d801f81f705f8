"""Results that a radiologist must never see, made from good ones: what the guard is measured on.

Five kinds, each at strengths that would mislead a reader. Lengths are px of a grid of 512 px on the longer side of the
image (one is about 0.8 mm of a chest), strengths as shares of the robust range of the anatomy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pacs_node.records import FloatImage

__all__ = ["CORRUPTIONS", "Scene", "corrupted"]

REFERENCE_PX = 512
Change: TypeAlias = "Callable[[Scene, np.random.Generator], FloatImage]"


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A good result beside its source.

    Attributes
    ----------
    source, result : (rows, columns) float32 P-values in [0, 1].
    low, high : the robust range of the source's anatomy, as from `intensity_range`.
    """

    source: FloatImage
    result: FloatImage
    low: float
    high: float

    @property
    def unit(self) -> float:
        """Native px of one reference px."""
        return float(max(self.source.shape)) / REFERENCE_PX

    @property
    def range(self) -> float:
        return self.high - self.low


def corrupted(kind: str, scene: Scene, seed: int) -> FloatImage:
    """The result of a scene with one fault in it, P-values in [0, 1]; the same arguments give the same fault."""
    rng = np.random.default_rng([seed, sorted(CORRUPTIONS).index(kind)])
    return np.clip(CORRUPTIONS[kind](scene, rng), 0.0, 1.0).astype(np.float32)


def _invented_blob(scene: Scene, rng: np.random.Generator) -> FloatImage:
    """A round shadow of 10 to 25 mm in a lung, or a round piece of it that is gone, with a soft rim."""
    row, column = _in_lung(scene, rng)
    radius = scene.unit * rng.uniform(6, 15)
    strength = rng.choice((-1, 1), p=(0.3, 0.7)) * rng.uniform(0.08, 0.2) * scene.range
    rows, columns = np.ogrid[: scene.source.shape[0], : scene.source.shape[1]]
    distance = np.sqrt((rows - row) ** 2 + (columns - column) ** 2) / radius
    disc = 1 / (1 + np.exp((distance - 1) * 6))
    return np.asarray(scene.result + strength * disc, dtype=np.float32)


def _erased_vessel(scene: Scene, rng: np.random.Generator) -> FloatImage:
    """A lung vessel of 3 to 8 mm painted out over 25 to 45 px of its length: its own brightness is taken away."""
    unit = scene.unit
    smooth = ndimage.gaussian_filter(scene.result, 0.7 * unit)
    band = smooth - ndimage.gaussian_filter(scene.result, 6 * unit)
    row, column, angle = _steep_ridge(scene, band, rng)
    rows, columns = np.mgrid[: scene.source.shape[0], : scene.source.shape[1]]
    along = (columns - column) * np.cos(angle) + (rows - row) * np.sin(angle)
    across = -(columns - column) * np.sin(angle) + (rows - row) * np.cos(angle)
    half_length, half_width = rng.uniform(13, 22) * unit, rng.uniform(5, 7) * unit
    mask = _soft_step(half_length - np.abs(along), 3 * unit) * _soft_step(half_width - np.abs(across), 1.5 * unit)
    return (scene.result - mask * np.maximum(band, 0)).astype(np.float32)


def _shift(scene: Scene, rng: np.random.Generator) -> FloatImage:
    """The whole image moved by 1.5 to 6 px (1 to 5 mm) in any direction."""
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(1.5, 6) * scene.unit
    moved = ndimage.shift(scene.result, (length * np.sin(angle), length * np.cos(angle)), order=1, mode="nearest")
    return np.asarray(moved, dtype=np.float32)


def _tone_change(scene: Scene, rng: np.random.Generator) -> FloatImage:
    """Another grey scale: a gamma that moves the middle by .05 to .12, or another gain, both brighter and darker."""
    share = np.clip((scene.result - scene.low) / scene.range, 0, 1)
    change, sign = rng.uniform(0.05, 0.12), rng.choice((-1, 1))
    bent = share ** (np.log(0.5 + sign * change) / np.log(0.5)) if rng.random() < 0.6 else share * (1 - 2 * change)
    return np.asarray(scene.low + scene.range * bent, dtype=np.float32)


def _tile_noise(scene: Scene, rng: np.random.Generator) -> FloatImage:
    """Every tile of 8, 16, 32 or 64 px with an offset of its own, as of latents or patches that do not agree."""
    size, deviation = scene.unit * rng.choice((8, 16, 32, 64)), rng.uniform(0.015, 0.04) * scene.range
    rows, columns = (np.floor(np.arange(length) / size).astype(int) for length in scene.source.shape)
    offsets = rng.normal(0, deviation, (rows[-1] + 1, columns[-1] + 1))
    return np.asarray(scene.result + offsets[rows][:, columns], dtype=np.float32)


CORRUPTIONS: dict[str, Change] = {
    "invented blob": _invented_blob,
    "erased vessel": _erased_vessel,
    "shift": _shift,
    "tone change": _tone_change,
    "tile noise": _tile_noise,
}


def _soft_step(distance: NDArray[np.float64], softness: float) -> NDArray[np.float64]:
    return np.clip(distance / softness, 0, 1)


def _lung(scene: Scene) -> NDArray[np.bool_]:
    """Dark parts of the middle of the picture: where a reader looks for nodules and vessels."""
    share = (ndimage.gaussian_filter(scene.result, 6 * scene.unit) - scene.low) / scene.range
    rows, columns = share.shape
    middle = np.zeros(share.shape, bool)
    middle[int(0.2 * rows) : int(0.75 * rows), int(0.15 * columns) : int(0.85 * columns)] = True
    dark = share < np.quantile(share[middle], 0.45)
    return ndimage.binary_erosion(middle & dark, iterations=max(1, round(8 * scene.unit)))


def _in_lung(scene: Scene, rng: np.random.Generator) -> tuple[int, int]:
    places = np.argwhere(_lung(scene))
    row, column = places[rng.integers(len(places))] if len(places) else np.array(scene.source.shape) // 2
    return int(row), int(column)


def _steep_ridge(scene: Scene, band: FloatImage, rng: np.random.Generator) -> tuple[int, int, float]:
    """Position and direction (rad from the row direction) of one of the strongest steep bright lines of a lung.

    Ribs run across the lung, vessels out from its root: a line steeper than 35 degrees is taken for a vessel.
    """
    along_rows, along_columns = (ndimage.sobel(band, axis) for axis in (0, 1))
    products = (along_columns**2, along_rows**2, along_columns * along_rows)
    xx, yy, xy = (ndimage.gaussian_filter(product, 4 * scene.unit) for product in products)
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2  # along the line
    coherence = np.hypot(xx - yy, 2 * xy) / (xx + yy + 1e-12)
    steep = np.abs(np.sin(angle)) > np.sin(np.deg2rad(35))
    ridge = np.where(_lung(scene) & steep & (coherence > 0.4), band * coherence, 0)
    order = np.argsort(ridge, axis=None)[::-1][: max(1, int(0.0005 * ridge.size))]
    row, column = np.unravel_index(order[rng.integers(len(order))], ridge.shape)
    return int(row), int(column), float(angle[row, column])
