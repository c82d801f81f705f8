"""How the image is cut: zoom, turn and warp, collimator blades, letterbox bars and lead markers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from training.simulate.canvas import FloatArray, RealArray

__all__ = ["Box", "Warp", "add_marker", "black_borders", "box_of", "draw_warp", "heart_beat"]

Box = tuple[float, float, float, float]  # centre row, centre column, half height, half width, as shares of the side


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """Where each pixel of the output looks: rows and columns (size, size) float32, as shares of the source's side."""

    rows: RealArray
    columns: RealArray

    def inside(self) -> FloatArray:
        """1 where the source is, 0 beyond its edges (size, size)."""
        within = (self.rows > 0) & (self.rows < 1) & (self.columns > 0) & (self.columns < 1)
        return np.asarray(within, dtype=np.float32)


def draw_warp(rng: np.random.Generator, size: int, strength: float = 1.0, lungs: Box | None = None) -> Warp:
    """A random view: zoomed, stretched, turned, moved and gently bent; seldom mirrored, as one in fifty films is.

    ``lungs`` is the box that the picture is framed around: most radiographs show both lungs whole. ``strength`` below
    1 draws a slight change of the view instead.
    """
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size - 0.5).astype(np.float32)
    v, u = axis[:, None], axis[None, :]
    angle = float(rng.normal(0, 0.035)) * strength
    stretch = float(np.exp(rng.normal(0, 0.045)))
    zoom, middle = _framed(rng, lungs) if strength == 1 and lungs else _anywhere(rng, strength)
    flip = -1.0 if rng.random() < 0.02 and strength == 1 else 1.0
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    rows = np.float32(zoom * stretch) * (c * v - s * u) + np.float32(middle[0])
    columns = np.float32(zoom / stretch * flip) * (c * u + s * v) + np.float32(middle[1])
    return Warp(rows + _bend(rng, u, v, strength), columns + _bend(rng, u, v, strength))


def _anywhere(rng: np.random.Generator, strength: float) -> tuple[float, tuple[float, float]]:
    zoom = float(rng.uniform(0.64, 0.94)) if strength == 1 else float(np.exp(rng.normal(0, 0.05)))
    slack = max(1 - zoom, 0.02) / 2 * strength
    return zoom, (0.5 + float(rng.uniform(-0.9, 0.9)) * slack, 0.5 + float(rng.uniform(-0.9, 0.9)) * slack)


def _framed(rng: np.random.Generator, lungs: Box) -> tuple[float, tuple[float, float]]:
    """Share of the source's side that is seen, and its middle: the lungs fill 78 to 102 % of width or height."""
    row, column, half_height, half_width = lungs
    fills = float(rng.uniform(0.78, 1.02))
    zoom = float(np.clip(2 * max(half_height * 1.08, half_width) / fills, 0.45, 1.0))
    free = max(zoom / 2 - half_height, 0.0), max(zoom / 2 - half_width, 0.0)
    low = float(rng.normal(0.15, 0.4)) * free[0]  # more is seen below the lungs than above them
    room = max(0.5 - zoom / 2, 0.0)  # nothing is known beyond the source's edges
    aside = column + float(rng.normal(0, 0.3)) * free[1]
    return zoom, (float(np.clip(row + low, 0.5 - room, 0.5 + room)), float(np.clip(aside, 0.5 - room, 0.5 + room)))


def _bend(rng: np.random.Generator, u: FloatArray, v: FloatArray, strength: float) -> FloatArray:
    """A smooth displacement (size, size) of about half a percent of the side."""
    a, b, p, q = rng.uniform(0, 6.28, 4)
    k, m = rng.uniform(3, 9, 2)
    cells = np.sin(k * u + a) * np.sin(m * v + b) * (0.006 * strength * rng.normal())
    waves = np.sin((p + 4) * v + q) * (0.004 * strength * rng.normal())
    return np.asarray(cells + waves, dtype=np.float32)


def heart_beat(size: int, lungs: Box, shift: float) -> Warp:
    """A heart that contracts, or fills where ``shift`` is negative, in a still chest; a share of the side."""
    row, column, half_height, half_width = lungs
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size).astype(np.float32)
    v = (axis[:, None] - row - 0.3 * half_height) / half_height
    u = (axis[None, :] - column - 0.15 * half_width) / half_width
    near = np.exp(-((u / 0.55) ** 2) - (v / 0.55) ** 2) * np.float32(shift / 0.24)  # the peak
    return Warp(axis[:, None] + near * v * 0.55, axis[None, :] + near * u)


def box_of(mask: NDArray[np.bool_]) -> Box:
    """The box around a mask; the middle half of the image when the mask is empty."""
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    if len(rows) < 2 or len(columns) < 2:
        return 0.5, 0.5, 0.25, 0.25
    n = mask.shape[0]
    return (
        float(rows[0] + rows[-1] + 1) / 2 / n,
        float(columns[0] + columns[-1] + 1) / 2 / n,
        float(rows[-1] - rows[0]) / 2 / n,
        float(columns[-1] - columns[0]) / 2 / n,
    )


def black_borders(rng: np.random.Generator, size: int) -> FloatArray:
    """1 where the image is, 0 under letterbox bars and collimator blades (size, size)."""
    keep = np.ones((size, size), np.float32)
    if rng.random() < 0.2:
        bar = int(rng.uniform(0.0, 0.13) * size)
        where = [(slice(0, bar), slice(None)), (slice(size - bar, size), slice(None))]
        if rng.random() < 0.5:
            where = [(b, a) for a, b in where]
        for rows, columns in where[: 2 if rng.random() < 0.7 else 1]:
            keep[rows, columns] = 0
    if rng.random() < 0.2:
        axis = (np.arange(size, dtype=np.float32) + 0.5) / size
        edge, lean = float(rng.uniform(0.0, 0.06)), float(rng.normal(0, 0.02))
        blade = axis[None, :] - edge + lean * axis[:, None] > 0
        keep *= np.rot90(blade, int(rng.integers(4)))
    return keep


def add_marker(rng: np.random.Generator, size: int) -> FloatArray:
    """Opacity (size, size) in [0, 1] of a lead letter or printed text in a corner; often none."""
    image = Image.new("L", (size, size))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.45, 0.45, 0.1]))):
        text = str(rng.choice(["R", "L", "D", "PA", "AP", "R P", "SUPINE", "UPRIGHT", "PORT"]))
        font = ImageFont.load_default(size=float(rng.uniform(0.02, 0.055)) * size)
        x = float(rng.choice([rng.uniform(0.02, 0.16), rng.uniform(0.8, 0.94)])) * size
        draw.text((x, float(rng.uniform(0.02, 0.3)) * size), text, fill=255, font=font)
    return np.asarray(image, dtype=np.float32) / np.float32(255)
