"""What is not the patient: leads, tubes, catheters, wires, a pacemaker, jewellery. It stays in both twins."""

import numpy as np

from training.simulate.canvas import Canvas, FloatArray
from training.simulate.habitus import Habitus

__all__ = ["draw_devices", "draw_line"]

# Soft tissue in g/cm3 that weakens the beam as much as the material, about 70 keV.
METAL, STEEL_WIRE, PLASTIC, STRIPE = 18.0, 30.0, 1.0, 9.0


def draw_devices(rng: np.random.Generator, who: Habitus, canvas: Canvas) -> FloatArray:
    """Areal density (size, size) in g/cm2, as soft tissue that weakens the beam as much."""
    total = np.zeros((canvas.size, canvas.size), np.float32)
    busy = 0.7 if who.supine else 0.12
    if rng.random() < busy:
        for _ in range(int(rng.integers(1, 5))):
            total += _lead(rng, canvas)
    if rng.random() < busy * 0.8:
        total += _catheter(rng, who, canvas)
    if rng.random() < busy * 0.6:
        total += _airway_tube(rng, who, canvas)
    if rng.random() < busy * 0.3:
        total += _drain(rng, canvas)
    if rng.random() < 0.07:
        total += _pacemaker(rng, who, canvas)
    if rng.random() < 0.06:
        total += _sternal_wires(rng, who, canvas)
    for _ in range(int(rng.poisson(0.5))):
        total += _trinket(rng, canvas)
    return total


def draw_line(
    canvas: Canvas,
    knots: list[tuple[float, float]],
    radius: float,
    density: float,
    rng: np.random.Generator | None = None,
) -> FloatArray:
    """A round rod along a smooth curve through knots (x, y) in cm."""
    path = np.array(knots, dtype=np.float32)
    t = np.linspace(0, len(path) - 1, 1400)
    curve = np.stack([np.interp(t, np.arange(len(path)), path[:, c]) for c in range(2)], axis=1)
    width = 1400 // max(len(path) - 1, 1) | 1
    kernel = np.hanning(width + 2)[1:-1]
    padded = np.pad(curve, ((width // 2, width // 2), (0, 0)), mode="edge")
    curve = np.stack([np.convolve(padded[:, c], kernel / kernel.sum(), "valid") for c in range(2)], axis=1)
    length = np.append(np.hypot(*np.diff(curve, axis=0).T), 0)
    points = np.concatenate([curve, np.zeros((len(curve), 1))], axis=1).astype(np.float32)
    radii = np.full(len(points), radius, np.float32)
    return canvas.tubes(points, radii, length.astype(np.float32), buckets=1) * np.float32(density)


def _tube(canvas: Canvas, knots: list[tuple[float, float]], radius: float, striped: bool) -> FloatArray:
    """A hollow plastic tube, some with a radiopaque line."""
    outer = draw_line(canvas, knots, radius, PLASTIC)
    hollow = outer - draw_line(canvas, knots, radius * 0.68, PLASTIC)
    if striped:
        hollow = hollow + draw_line(canvas, [(x + radius * 0.5, y) for x, y in knots], radius * 0.16, STRIPE)
    return np.asarray(np.maximum(hollow, 0), dtype=np.float32)


def _walk(
    rng: np.random.Generator, start: tuple[float, float], end: tuple[float, float], n: int, sway: float
) -> list[tuple[float, float]]:
    t = np.linspace(0, 1, n)
    drift = np.cumsum(rng.normal(0, sway, (n, 2)), axis=0)
    drift -= t[:, None] * drift[-1] + (1 - t[:, None]) * drift[0]
    line = np.array(start) + (np.array(end) - np.array(start)) * t[:, None] + drift
    return [(float(a), float(b)) for a, b in line]


def _lead(rng: np.random.Generator, canvas: Canvas) -> FloatArray:
    """An ECG electrode with its cable."""
    at = float(rng.uniform(-13, 13)), float(rng.uniform(2, 24))
    away = float(rng.choice([-22, 22])), float(rng.uniform(-8, 32))
    way = _walk(rng, at, away, 7, 1.2)
    cable = draw_line(canvas, way, float(rng.uniform(0.04, 0.09)), float(rng.uniform(2.0, 8.0)))
    x, y = canvas.grid()
    far = np.hypot(x - at[0], y - at[1])
    return np.asarray(
        cable + 0.25 * (far < 1.6) + METAL * 0.12 * (far < 0.45) + METAL * 0.1 * (np.abs(far - 0.75) < 0.12),
        dtype=np.float32,
    )


def _catheter(rng: np.random.Generator, who: Habitus, canvas: Canvas) -> FloatArray:
    k = who.scale
    side = float(rng.choice([-1, 1]))
    tip = -1.8 * k + float(rng.normal(0, 0.4)), float(rng.uniform(8, 13)) * k
    entry = (side * 4.5 * k, -5.0) if rng.random() < 0.5 else (side * 14.0 * k, 5.0)
    knots = [entry, (side * 5.0 * k, 2.5 * k), (side * 1.5 * k, 5.2 * k), (-1.8 * k, 6.8 * k), tip]
    dense = float(rng.uniform(2.0, 7.0))
    port = _ring(canvas, (side * 8.5, 7.0), 1.1, 0.25) * METAL * 0.15 if rng.random() < 0.3 else np.float32(0)
    return np.asarray(draw_line(canvas, knots, 0.1, dense) + port, dtype=np.float32)


def _airway_tube(rng: np.random.Generator, who: Habitus, canvas: Canvas) -> FloatArray:
    k = who.scale
    end = float(rng.uniform(4, 7.5)) * k
    total = _tube(canvas, [(float(rng.normal(0, 1.5)), -9), (0.2, -3), (0, end)], 0.5, True)
    if rng.random() < 0.6:
        stomach = (4.0 + float(rng.normal(0, 1)), who.dome_left + 5)
        total = total + _tube(canvas, [(0.8, -9), (0.5, 4), (0.9, 16), (2.0, who.dome_left + 1), stomach], 0.25, True)
    return total


def _drain(rng: np.random.Generator, canvas: Canvas) -> FloatArray:
    side = float(rng.choice([-1, 1]))
    knots = _walk(rng, (side * 20, float(rng.uniform(14, 22))), (side * 7, float(rng.uniform(3, 16))), 6, 0.7)
    return _tube(canvas, knots, 0.45, True)


def _ring(canvas: Canvas, at: tuple[float, float], radius: float, width: float) -> FloatArray:
    x, y = canvas.grid()
    return np.asarray(np.abs(np.hypot(x - at[0], y - at[1]) - radius) < width / 2, dtype=np.float32)


def _pacemaker(rng: np.random.Generator, who: Habitus, canvas: Canvas) -> FloatArray:
    x, y = canvas.grid()
    side = 1.0 if rng.random() < 0.8 else -1.0
    at = side * 9.0 * who.scale + float(rng.normal(0, 0.7)), 5.0 + float(rng.normal(0, 0.8))
    box = (np.abs((x - at[0]) / 2.4) ** 3 + np.abs((y - at[1]) / 2.1) ** 3 < 1) * METAL * 0.35
    inner = (np.abs((x - at[0]) / 1.5) ** 4 + np.abs((y - at[1] - 0.3) / 1.1) ** 4 < 1) * METAL * 0.3
    total = box + inner
    for tip in ((2.5, 18.0), (-2.0, 13.0))[: int(rng.integers(1, 3))]:
        way = [at, (side * 5, 3.2), (-1.6, 6.5), (-2.2, 11.0), (tip[0] * 0.3 - 1, tip[1] - 1), tip]
        total = total + draw_line(canvas, way, 0.09, METAL)
    return np.asarray(total, dtype=np.float32)


def _sternal_wires(rng: np.random.Generator, who: Habitus, canvas: Canvas) -> FloatArray:
    total = np.zeros((canvas.size, canvas.size), np.float32)
    for k in range(int(rng.integers(4, 8))):
        y = (5.5 + 2.1 * k) * who.scale + float(rng.normal(0, 0.2))
        w, h = float(rng.uniform(0.6, 1.3)), float(rng.uniform(0.2, 0.5))
        loop = [(w * np.cos(a), y + h * np.sin(a)) for a in np.linspace(0, 6.3, 12) + rng.uniform(0, 6)]
        total += draw_line(canvas, loop, 0.045, STEEL_WIRE)
    return total


def _trinket(rng: np.random.Generator, canvas: Canvas) -> FloatArray:
    """A ring, a clip, a button, a short wire: small, sharp, anywhere."""
    at = float(rng.uniform(-16, 16)), float(rng.uniform(-4, 28))
    kind = int(rng.integers(4))
    if kind == 0:
        return _ring(canvas, at, float(rng.uniform(0.3, 1.0)), float(rng.uniform(0.1, 0.2))) * np.float32(METAL * 0.08)
    if kind == 1:
        x, y = canvas.grid()
        return np.asarray(
            (np.hypot(x - at[0], y - at[1]) < rng.uniform(0.2, 0.6)) * rng.uniform(0.3, 3.0), dtype=np.float32
        )
    away = at[0] + float(rng.normal(0, 3)), at[1] + float(rng.normal(0, 3))
    return draw_line(canvas, _walk(rng, at, away, 5, 0.6), float(rng.uniform(0.03, 0.08)), float(rng.uniform(4, 25)))
