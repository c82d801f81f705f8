"""Disease of the lungs: all of it soft tissue, so that all of it must survive in the bone-free twin."""

import numpy as np
from scipy import ndimage

from training.simulate.canvas import Canvas, FloatArray, fractal_noise
from training.simulate.habitus import Habitus
from training.simulate.lungs import Lungs

__all__ = ["CALCIUM", "fall_ill", "lobed_ball"]

CALCIUM = 2.6  # g/cm3 of soft tissue that weakens the beam as much as a calcified granuloma


def fall_ill(rng: np.random.Generator, who: Habitus, canvas: Canvas, lungs: Lungs) -> tuple[Lungs, FloatArray]:
    """Lungs with some diseases, and the areal density (size, size) in g/cm2 of what grew in them."""
    extra = _nodules(rng, canvas, lungs)
    density = lungs.density
    if rng.random() < 0.25:
        density = density + _consolidation(rng, canvas, lungs)
    if rng.random() < 0.25:
        density = density + _interstitium(rng, canvas)
    if rng.random() < 0.12:
        density = density * float(rng.uniform(0.6, 0.85))  # emphysema
    if rng.random() < 0.35:
        extra = extra + _bands(rng, canvas, lungs)
    path = lungs.path
    for side, mask in enumerate(lungs.mask):
        if rng.random() < 0.14:
            path = path - np.minimum(_effusion(rng, canvas, mask, (-1.0, 1.0)[side]), path) * mask
    if rng.random() < 0.35:
        extra = extra + _fissures(rng, who, canvas, lungs)
    return Lungs(path.astype(np.float32), np.clip(density, 0.06, 1.02).astype(np.float32), lungs.mask), extra


def _somewhere(rng: np.random.Generator, canvas: Canvas, mask: np.ndarray) -> tuple[float, float]:
    """A point of the mask in cm; the middle of the canvas when it is empty."""
    rows, columns = np.nonzero(mask[::4, ::4])
    if len(rows) == 0:
        return canvas.centre_cm
    k = int(rng.integers(len(rows)))
    x, y = canvas.grid()
    return float(x[0, min(columns[k] * 4, canvas.size - 1)]), float(y[min(rows[k] * 4, canvas.size - 1), 0])


def _nodules(rng: np.random.Generator, canvas: Canvas, lungs: Lungs) -> FloatArray:
    x, y = canvas.grid()
    total = np.zeros((canvas.size, canvas.size), np.float32)
    mask = lungs.mask[0] | lungs.mask[1]
    many = int(rng.choice([0, 1, 2, 4, 12], p=[0.45, 0.25, 0.15, 0.1, 0.05]))
    for _ in range(many):
        cx, cy = _somewhere(rng, canvas, mask)
        mass = rng.random() < 0.06
        radius = float(rng.uniform(1.5, 3.2)) if mass else float(np.exp(rng.normal(np.log(0.55), 0.55)))
        hard = radius < 0.5 and rng.random() < 0.35
        ball = lobed_ball(rng, x - cx, y - cy, radius)
        total += ball * (CALCIUM if hard else float(rng.uniform(0.35, 0.8)))
    return total


def lobed_ball(rng: np.random.Generator, u: FloatArray, v: FloatArray, radius: float) -> FloatArray:
    """Path length (rows, columns) in cm through a nodule of uneven outline.

    Parameters
    ----------
    u, v : offsets from its centre, cm, of shapes that broadcast together.
    radius : cm.
    """
    angle = np.arctan2(v, u)
    lobes = sum(float(rng.normal(0, 0.07)) * np.cos(m * angle + float(rng.uniform(0, 6))) for m in range(2, 8))
    q = (u**2 + v**2) / (radius * (1 + lobes)) ** 2
    ball: FloatArray = 2 * radius * np.maximum(1 - q, 0) ** float(rng.uniform(0.5, 1.3))
    return ball


def _consolidation(rng: np.random.Generator, canvas: Canvas, lungs: Lungs) -> FloatArray:
    x, y = canvas.grid()
    per_cm = 1 / canvas.pixel_cm
    total = np.zeros((canvas.size, canvas.size), np.float32)
    texture = fractal_noise(rng, canvas.size, 4.2, 4 * per_cm, 0.5 * per_cm)
    for _ in range(int(rng.integers(1, 5))):
        cx, cy = _somewhere(rng, canvas, lungs.mask[int(rng.integers(2))])
        sx, sy = float(rng.uniform(1.2, 5)), float(rng.uniform(1.2, 5))
        place = np.exp(-0.5 * ((x - cx) / sx) ** 2 - 0.5 * ((y - cy) / sy) ** 2)
        total += float(rng.uniform(0.06, 0.4)) * np.clip(place * (1 + 0.3 * texture), 0, 1)
    return total


def _interstitium(rng: np.random.Generator, canvas: Canvas) -> FloatArray:
    """Reticular markings: ridges where noise crosses zero, strongest towards the bases."""
    _, y = canvas.grid()
    per_cm = 1 / canvas.pixel_cm
    ridges = np.zeros((canvas.size, canvas.size), np.float32)
    for cell_cm in (float(rng.uniform(0.5, 0.9)), float(rng.uniform(1.0, 2.0))):
        noise = fractal_noise(rng, canvas.size, 3.0, cell_cm * per_cm, 0.35 * cell_cm * per_cm)
        ridges += np.exp(-((noise / 0.22) ** 2))
    place = np.clip(
        0.6 + 0.5 * fractal_noise(rng, canvas.size, 3, 14 * per_cm) + float(rng.uniform(-0.02, 0.04)) * (y - 10), 0, 1
    )
    return np.asarray(float(rng.uniform(0.01, 0.06)) * ridges * place, dtype=np.float32)


def _bands(rng: np.random.Generator, canvas: Canvas, lungs: Lungs) -> FloatArray:
    """Plate atelectasis and scars: soft bands at any angle, some of them along a rib."""
    x, y = canvas.grid()
    total = np.zeros((canvas.size, canvas.size), np.float32)
    mask = lungs.mask[0] | lungs.mask[1]
    for _ in range(int(rng.integers(1, 6))):
        cx, cy = _somewhere(rng, canvas, mask)
        angle, bend = float(rng.normal(0, 0.5)), float(rng.normal(0, 0.05))
        u, v = x - cx, y - cy
        along = u * np.cos(angle) + v * np.sin(angle)
        across = v * np.cos(angle) - u * np.sin(angle) + bend * along**2
        width, reach = float(rng.uniform(0.06, 0.5)), float(rng.uniform(1.0, 4.0))
        total += float(rng.uniform(0.15, 0.8)) * np.exp(-((across / width) ** 2) - (along / reach) ** 4)
    return np.asarray(total * ndimage.gaussian_filter(mask.astype(np.float32), 2), dtype=np.float32)


def _effusion(rng: np.random.Generator, canvas: Canvas, mask: np.ndarray, side: float) -> FloatArray:
    """Fluid that fills the base and climbs the lateral wall (the meniscus); depth in cm of lung that it replaces."""
    x, y = canvas.grid()
    rows = np.nonzero(mask.any(axis=1))[0]
    if len(rows) == 0:
        return np.zeros_like(mask, dtype=np.float32)
    bottom = float(y[rows[-1], 0])
    level = bottom - float(rng.exponential(3.5)) - 0.5
    climb = np.clip((side * x - 5) / 8, 0, 1.2) ** 2 * float(rng.uniform(2, 5))
    return np.asarray(np.clip((y - level + climb) * float(rng.uniform(1.5, 6)), 0, 30), dtype=np.float32)


def _fissures(rng: np.random.Generator, who: Habitus, canvas: Canvas, lungs: Lungs) -> FloatArray:
    x, y = canvas.grid()
    line = 11.5 * who.scale + float(rng.normal(0, 0.7)) + float(rng.normal(0, 0.1)) * (x + 8) + 0.03 * (x + 8) ** 2
    thin = 0.16 * np.exp(-(((y - line) / 0.06) ** 2)) * (x < -3.5)
    return np.asarray(thin * lungs.mask[0], dtype=np.float32)
