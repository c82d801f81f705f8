"""Everything between the skin and the rib cage: trunk, neck, shoulders, arms, breasts, muscle and fat."""

import numpy as np

from training.simulate.canvas import Canvas, FloatArray, RealArray, fractal_noise
from training.simulate.habitus import Habitus

__all__ = ["draw_body", "draw_breasts", "draw_folds"]

MUSCLE_DENSITY, FAT_DENSITY = 1.06, 0.95  # g/cm3 (ICRU 44)


def draw_body(rng: np.random.Generator, who: Habitus, canvas: Canvas) -> FloatArray:
    """Areal density (size, size) in g/cm2 of a body without air in it; 0 outside the skin."""
    x, y = canvas.grid()
    trunk = _trunk(rng, who, x, y)
    solid = trunk**5
    for side in (-1.0, 1.0):
        solid += _shoulder(rng, who, side * x, y) ** 5
        solid += _arm(rng, who, side * x, y) ** 5
    thickness = solid ** np.float32(1 / 5)
    thickness += _pectorals(rng, who, x, y) * (thickness > 0.5)
    if who.female:
        thickness += draw_breasts(rng, who, x, y) * np.clip(thickness, 0, 1)
    thickness += draw_folds(rng, who, x, y) * (thickness > 0.5)
    per_cm = 1 / canvas.pixel_cm
    thickness += _neck(rng, who, x, y) * (thickness > 0.5)
    fat = np.clip(0.25 + 0.5 * who.fat + 0.05 * fractal_noise(rng, canvas.size, 3.8, 9 * per_cm), 0, 1)
    bundles = fractal_noise(rng, canvas.size, 2.2, 2.5 * per_cm) * 0.012 + _striae(rng, canvas) * 0.02
    wall = np.minimum(thickness, 5.0)
    density = MUSCLE_DENSITY - (MUSCLE_DENSITY - FAT_DENSITY) * fat
    return np.asarray(np.maximum(thickness * density + bundles * wall, 0), dtype=np.float32)


def _neck(rng: np.random.Generator, who: Habitus, x: FloatArray, y: FloatArray) -> FloatArray:
    """Muscles that run from the breastbone to behind the ears and from the neck to the shoulders; they end in edges."""
    k = who.scale
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    for side in (-1.0, 1.0):
        u = side * x - who.bend(y) * side
        middle = (1.6 + 0.42 * np.clip(2.5 * k - y, 0, 14)) * k + float(rng.normal(0, 0.2))
        band = np.maximum(1 - ((u - middle) / (1.1 * k)) ** 2, 0) ** 0.5 / (1 + np.exp((y - 2.5 * k) / 0.5))
        slope = 3.0 * k - 5.5 * k * np.exp(-np.maximum(u - 4 * k, 0) / (5.0 * k))  # the upper edge of the trapezius
        drop = np.clip((y - slope) / 0.6, 0, 1) * np.exp(-np.maximum(y - slope, 0) / 3.0) * (u > 3.5 * k)
        total += float(rng.uniform(0.8, 2.0)) * band + float(rng.uniform(0.5, 1.6)) * drop
    return total


def _super(q: RealArray, power: float) -> FloatArray:
    return np.asarray(np.maximum(1 - q, 0) ** (1 / power), dtype=np.float32)


def _trunk(rng: np.random.Generator, who: Habitus, x: FloatArray, y: FloatArray) -> FloatArray:
    neck = (5.8 + 1.8 * who.fat) * who.scale
    chest = who.cage_half_width + who.wall + 0.8
    hips = chest + float(rng.normal(-0.5, 1.0)) + 2.0 * who.fat
    knots = np.array([-12, -5, -2.5, -0.5, 2, 5, 10, 22, 34]) * who.scale
    slope = float(rng.uniform(-0.8, 0.8))
    wide = np.interp(y, knots, [neck, neck, neck + 1.8, 11 + slope, 16, 17.5, chest + 2.5, chest, hips])
    depth = who.cage_half_depth + 0.6 * who.wall + 0.6
    deep = np.interp(y, knots, [6.2, 6.8, 7.4, 8.6, 9.8, 0.97 * depth, depth, depth, depth + 1.5 * who.fat + 0.5])
    bend = who.bend(y)
    chord = 2 * deep * _super(np.abs((x - bend) / wide) ** 2.7, 2.4)
    return np.asarray(chord, dtype=np.float32)


def _shoulder(rng: np.random.Generator, who: Habitus, x: FloatArray, y: FloatArray) -> FloatArray:
    cx, cy = (13.6 + 0.6 * who.protraction) * who.scale, 5.6 + who.shoulder_drop + float(rng.normal(0, 0.3))
    ax, ay = (8.2 + 1.5 * who.fat) * who.scale, (6.4 + 1.4 * who.fat) * who.scale
    q = np.abs((x - cx) / ax) ** 2.3 + np.abs((y - cy - 0.25 * (x - cx)) / ay) ** 2.3
    return (13.5 + 4.0 * who.fat) * _super(q, 2.4)


def _arm(rng: np.random.Generator, who: Habitus, x: FloatArray, y: FloatArray) -> FloatArray:
    top = 3.5 + who.shoulder_drop
    spread = float(rng.normal(0.1 if who.supine else 0.27, 0.13))
    middle = (17.0 + 0.6 * who.protraction) * who.scale + spread * (y - top)
    radius = (4.3 + 1.8 * who.fat) * who.scale - 0.03 * (y - top)
    chord = 2 * np.sqrt(np.maximum(radius**2 - ((x - middle) * np.cos(np.arctan(spread))) ** 2, 0))
    return np.asarray(chord * (1 / (1 + np.exp(-(y - top) / 0.8))), dtype=np.float32)


def _pectorals(rng: np.random.Generator, who: Habitus, x: FloatArray, y: FloatArray) -> FloatArray:
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    thick = float(rng.uniform(0.2, 1.4)) * (0.7 if who.female else 1.0)
    for side in (-1.0, 1.0):
        cx, cy = 9.5 * who.scale + float(rng.normal(0, 0.6)), 6.5 * who.scale + float(rng.normal(0, 0.8))
        u, v = side * x - cx, y - cy
        tilt = float(rng.normal(-0.55, 0.12))
        along, across = u * np.cos(tilt) - v * np.sin(tilt), u * np.sin(tilt) + v * np.cos(tilt)
        total += thick * _super((along / 8.5) ** 2 + (across / 5.2) ** 2, 2.0)
    return total


def draw_breasts(rng: np.random.Generator, who: Habitus, x: FloatArray, y: FloatArray) -> FloatArray:
    """Thickness (size, size) in cm of both breasts."""
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    size = float(rng.uniform(0.75, 1.15)) + 0.35 * who.fat
    drop = float(rng.normal(16.5, 1.8)) * who.scale
    thick = float(rng.uniform(1.2, 3.8)) + 3.0 * who.fat
    for side in (-1.0, 1.0):
        cx, cy = (8.3 + rng.normal(0, 0.6)) * who.scale, drop + float(rng.normal(0, 0.4))
        v = y - cy
        q = (np.abs(side * x - cx - 0.12 * v) / (6.6 * size)) ** 2.2
        q = q + np.where(v > 0, v / (4.6 * size), v / (8.5 * size)) ** 2
        total += thick * _super(q, 1.7) * float(rng.normal(1, 0.06))
    return total


def draw_folds(rng: np.random.Generator, who: Habitus, x: FloatArray, y: FloatArray) -> FloatArray:
    """Skin folds: an edge on one side, fading on the other; more of them on a bedside radiograph; cm."""
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    for _ in range(int(rng.poisson(1.6 if who.supine else 0.6))):
        angle = float(rng.normal(np.pi / 2, 0.45)) * float(rng.choice([-1, 1]))
        px, py = float(rng.uniform(-13, 13)), float(rng.uniform(2, 24))
        u, v = x - px, y - py
        across = (
            u * np.sin(angle)
            - v * np.cos(angle)
            + 0.02 * float(rng.normal()) * (u * np.cos(angle) + v * np.sin(angle)) ** 2
        )
        along = u * np.cos(angle) + v * np.sin(angle)
        edge = np.where(across > 0, np.exp(-across / float(rng.uniform(0.8, 3))), 0.0)
        total += float(rng.uniform(0.1, 0.7)) * edge * np.exp(-((along / float(rng.uniform(3, 9))) ** 2))
    return total


def _striae(rng: np.random.Generator, canvas: Canvas) -> FloatArray:
    """Muscle bundles: noise that is long along the fibres, which fan out from the shoulder."""
    fine = fractal_noise(rng, canvas.size, 1.6, 1.2 / canvas.pixel_cm)
    x, y = canvas.grid()
    px = canvas.size / canvas.fov_cm
    angle = np.arctan2(y - 5, np.abs(x) - 18)
    radius = np.hypot(y - 5, np.abs(x) - 18)
    i = (angle * 6 * px + np.where(x > 0, 0, 137)).astype(np.int32) % canvas.size
    j = (radius * 0.22 * px).astype(np.int32) % canvas.size
    return np.asarray(fine[i, j], dtype=np.float32)
