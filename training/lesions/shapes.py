"""What is put in: nodules from 3 to 30 mm, consolidations, the edge of a pneumothorax, catheters; as grams a cm2."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter

from pacs_node.records import FloatImage, MaskImage
from training.lesions.attenuation import box_slices
from training.simulate.canvas import Canvas, fractal_noise
from training.simulate.devices import draw_line
from training.simulate.disease import CALCIUM, lobed_ball

__all__ = [
    "LINES",
    "NODULES",
    "SIZES_MM",
    "Kind",
    "Shadow",
    "Sheet",
    "catheter",
    "consolidation",
    "nodule",
    "pneumothorax",
]

Kind = Literal["solid", "sub-solid", "calcified", "consolidation", "pneumothorax edge", "catheter"]
NODULES: tuple[Kind, ...] = ("solid", "sub-solid", "calcified")
LINES: tuple[Kind, ...] = ("pneumothorax edge", "catheter")
SIZES_MM: dict[Kind, tuple[float, ...]] = {
    "solid": (3, 5, 8, 12, 20, 30),
    "sub-solid": (3, 5, 8, 12, 20, 30),
    "calcified": (3, 5, 8, 12),
}
LUNG, SOLID = 0.26, 1.06  # g/cm3
GROUND_GLASS = (0.22, 0.42)  # g/cm3 more than lung
BLUR_MM = 0.25  # of detector and focal spot
PLEURA = 0.16  # g/cm2 of two layers of pleura seen on edge, as of a fissure in the simulation
CATHETER_CM, CATHETER = 0.1, (2.0, 6.0)  # radius; g/cm3 of soft tissue that weakens the beam as much


@dataclass(frozen=True, slots=True, eq=False)
class Shadow:
    """Areal density that comes in, on a window of the radiograph.

    Attributes
    ----------
    top, left : of the window, px; all of it lies in the image.
    grams : (h, w) float32, g/cm2, more or less than before.
    mark : (h, w) float32 >= 0: what is to be seen, where it is not all of ``grams``: the line, not the air beside it.
    is_compact : a nodule, which has surroundings of its own kind.
    beside : (h, w), where the mark is to be compared with: the air of a pneumothorax; None for all around.
    """

    top: int
    left: int
    grams: FloatImage
    mark: FloatImage
    is_compact: bool = False
    beside: MaskImage | None = None

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the image."""
        rows, columns = self.grams.shape
        return slice(self.top, self.top + rows), slice(self.left, self.left + columns)


@dataclass(frozen=True, slots=True)
class Sheet:
    """The image that is drawn for: rows and columns, and the side of a pixel in mm."""

    shape: tuple[int, ...]
    mm: float


def nodule(rng: np.random.Generator, kind: Kind, size_mm: float, at: tuple[int, int], sheet: Sheet) -> Shadow:
    """A lobed ball in the place of lung.

    Parameters
    ----------
    size_mm : mean diameter.
    at : row and column of its centre.
    """
    mm = sheet.mm
    gained = {"solid": SOLID - LUNG, "sub-solid": float(rng.uniform(*GROUND_GLASS)), "calcified": CALCIUM - LUNG}[kind]
    top, left, y, x = _window(at, 1.6 * size_mm / mm + 4, sheet.shape)
    ball = lobed_ball(rng, x * np.float32(mm / 10), y * np.float32(mm / 10), size_mm / 20)
    grams = gaussian_filter(np.float32(gained) * ball, BLUR_MM / mm)
    return Shadow(top, left, grams, grams, is_compact=True)


def consolidation(rng: np.random.Generator, size_mm: float, at: tuple[int, int], sheet: Sheet) -> Shadow:
    """Airspace filled unevenly, without an edge, about ``size_mm`` wide at half of its height."""
    mm = sheet.mm
    top, left, y, x = _window(at, 1.3 * size_mm / mm, sheet.shape)
    sigma, aspect = size_mm / mm / 2.355, float(np.exp(rng.normal(0, 0.2)))
    place = np.exp(-0.5 * ((x * aspect / sigma) ** 2 + (y / aspect / sigma) ** 2))
    cells = 2 * int(np.ceil(max(place.shape) / 2))
    texture = fractal_noise(rng, cells, 4.2, 40 / mm, 5 / mm)[: place.shape[0], : place.shape[1]]
    grams = np.float32(rng.uniform(0.1, 0.35) * rng.uniform(4, 10)) * np.clip(place * (1 + 0.3 * texture), 0, 1)
    return Shadow(top, left, grams.astype(np.float32), grams.astype(np.float32))


def pneumothorax(rng: np.random.Generator, lung: MaskImage, mm: float) -> Shadow | None:
    """The visceral pleura some way inside of the upper, outer lung, and air instead of lung beyond it.

    Parameters
    ----------
    lung : (rows, columns), one lung.

    Returns
    -------
    None where the lung is too narrow for it.
    """
    window = box_slices(lung)
    part = lung[window]
    depth = distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1] * mm
    away = float(rng.uniform(8, 18))
    if depth.max() < 1.4 * away:
        return None
    middle = box_slices(np.ones_like(lung))[1].stop / 2
    outward = np.linspace(0, 1, part.shape[1]) * np.where((window[1].start + window[1].stop) / 2 < middle, -1, 1)
    side = np.clip((outward - outward.mean()) * 6 + 0.5, 0, 1)[None, :]
    upper = np.clip(4 * (0.55 - np.linspace(0, 1, part.shape[0])), 0, 1)[:, None]
    where = gaussian_filter((side * upper * part).astype(np.float32), 4 / mm)
    line = (PLEURA * np.exp(-(((depth - away) / 0.6) ** 2)) * where).astype(np.float32)
    air = (
        gaussian_filter(np.clip((away - depth) / 0.8, 0, 1) * part, 0.5 / mm) * where * LUNG * float(rng.uniform(2, 4))
    )
    return Shadow(window[0].start, window[1].start, (line - air).astype(np.float32), line, beside=depth < away)


def catheter(rng: np.random.Generator, lung: MaskImage, mm: float) -> Shadow:
    """A thin catheter that runs through one lung (rows, columns) from near its apex downwards."""
    window = box_slices(lung)
    rows, columns = lung[window].shape
    size = 64 * int(np.ceil(max(rows, columns) / 64))
    canvas = Canvas(size, size * mm / 10, (size * mm / 20, size * mm / 20), source_cm=1e9)  # a point lies where it is
    length, width = rows * mm / 10, columns * mm / 10
    stops = np.linspace(0.1, 0.8, 5)
    knots = [(float(width * rng.uniform(0.3, 0.7)), float(length * stop)) for stop in stops]
    grams = draw_line(canvas, knots, CATHETER_CM, float(rng.uniform(*CATHETER)))[:rows, :columns]
    inside = gaussian_filter(lung[window].astype(np.float32), 3 / mm)
    grams = gaussian_filter(np.ascontiguousarray(grams), BLUR_MM / mm) * inside
    return Shadow(window[0].start, window[1].start, grams, grams)


def _window(at: tuple[int, int], reach_px: float, shape: tuple[int, ...]) -> tuple[int, int, FloatImage, FloatImage]:
    """Top, left, and offsets (h, 1), (1, w) in px from the centre, of a square cut off at the image's edges."""
    reach = int(np.ceil(reach_px))
    spans = [(max(c - reach, 0), min(c + reach + 1, size)) for c, size in zip(at, shape, strict=True)]
    y, x = (np.arange(*span, dtype=np.float32) - c for span, c in zip(spans, at, strict=True))
    return spans[0][0], spans[1][0], y[:, None], x[None, :]
