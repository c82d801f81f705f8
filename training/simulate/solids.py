"""Bones as clouds of points: hollow tubes, solid slabs and thin plates."""

from dataclasses import dataclass

import numpy as np

from training.simulate.canvas import Cloud, FloatArray, RealArray

__all__ = ["BONE_DENSITY", "Section", "plate", "resample", "tube"]

BONE_DENSITY = 1.92  # g/cm3, cortical bone (ICRU 44)


def resample(curve: RealArray, spacing_cm: float) -> tuple[FloatArray, FloatArray, float]:
    """Points (N, 3) along a polyline at even arc length, their fraction (N,) in [0, 1] and the step, cm."""
    steps = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    arc = np.concatenate([[0.0], np.cumsum(steps)])
    n = max(int(arc[-1] / spacing_cm), 2)
    fraction = (np.arange(n) + 0.5) / n
    points = np.stack([np.interp(fraction * arc[-1], arc, curve[:, k]) for k in range(3)], axis=1)
    return points.astype(np.float32), fraction.astype(np.float32), float(arc[-1] / n)


@dataclass(frozen=True, slots=True)
class Section:
    """The cross-section of a bone.

    Attributes
    ----------
    half_height_cm, half_width_cm : semi-axes, constant or sampled evenly along the curve.
    shell_cm : thickness of the cortical shell, constant or sampled evenly along the curve.
    width_axis : (3,) or (M, 3), the direction of the half width (made orthogonal to the curve).
    core : volume fraction of mineralised bone in the core.
    squareness : exponent on sine and cosine; 1 an ellipse, less is boxier.
    shell_ripple : how much thinner the shell is on one side (-1 to 1), as on the lower border of a rib.
    """

    half_height_cm: RealArray | float
    half_width_cm: RealArray | float
    shell_cm: RealArray | float
    width_axis: RealArray
    core: float = 0.12
    squareness: float = 1.0
    shell_ripple: float = 0.0


def tube(rng: np.random.Generator, curve: RealArray, section: Section, spacing_cm: float = 0.045) -> Cloud:
    """A bone with a cortical shell and a cancellous core along a polyline (M, 3) in cm."""
    centre, fraction, step = resample(curve, spacing_cm)
    sizes = (section.half_height_cm, section.half_width_cm, section.shell_cm)
    hh, hw, shell = (_along(v, fraction) for v in sizes)
    frame = _frame(centre, _along_axis(section.width_axis, fraction))
    n_around = max(int(np.pi * (float(hh.max()) + float(hw.max())) / spacing_cm), 8)
    middle = (hh - shell / 2)[:, None], (hw - shell / 2)[:, None]
    wall, angle = _ring(rng, frame, middle, n_around, section.squareness)
    girth = np.pi * (hh + hw) * (1.08 if section.squareness < 1 else 1.0)
    wall_mass = BONE_DENSITY * step / n_around * (shell * girth)[:, None] * (1 - section.shell_ripple * np.cos(angle))
    core_points, core_mass = _core(rng, frame, (hh - shell, hw - shell), 2 * n_around, section)
    points = np.concatenate([wall.reshape(-1, 3), core_points.reshape(-1, 3)])
    mass = np.concatenate([wall_mass.reshape(-1), step * core_mass.reshape(-1)])
    return Cloud(points.astype(np.float32), np.maximum(mass, 0).astype(np.float32))


def _core(
    rng: np.random.Generator,
    frame: tuple[FloatArray, FloatArray, FloatArray],
    half: tuple[RealArray, RealArray],
    n: int,
    section: Section,
) -> tuple[FloatArray, RealArray]:
    """Points (N, n, 3) spread evenly over the cross-sections, and their mass (N, n) in g per cm of length."""
    hh, hw = (np.maximum(h, 0.01)[:, None] for h in half)
    # The golden ratio spreads the radii: rings of points would print lines along the bone.
    radius = np.sqrt((np.arange(n) * 0.6180339887 + rng.random((len(hh), 1))) % 1)
    points, _ = _ring(rng, frame, (hh * radius, hw * radius), n, section.squareness)
    return points, np.broadcast_to(BONE_DENSITY * section.core * np.pi * hh * hw / n, (len(hh), n))


def plate(
    rng: np.random.Generator, corners: FloatArray, g_per_cm2: float, bulge_cm: float, spacing_cm: float = 0.025
) -> Cloud:
    """A thin triangular blade (3, 3) in cm, bent backwards by ``bulge_cm`` in its middle, thicker towards its edges."""
    a, b, c = corners
    area = 0.5 * float(np.linalg.norm(np.cross(b - a, c - a)))
    n = max(int(area / spacing_cm**2), 16)
    # The R2 sequence (Roberts 2018): random points would print grain, a lattice would print moire.
    k = np.arange(n) + float(rng.random())
    u, v = ((k * r % 1).astype(np.float32) for r in (0.7548776662466927, 0.5698402909980532))
    over = u + v > 1
    u[over], v[over] = 1 - u[over], 1 - v[over]
    w = 1 - u - v
    middle = 27 * u * v * w
    points = w[:, None] * a + u[:, None] * b + v[:, None] * c
    points[:, 2] += bulge_cm * middle
    edge = np.exp(-np.minimum(np.minimum(u, v), w) / 0.05)
    mass = g_per_cm2 * area / n * (0.75 + 0.5 * edge)
    return Cloud(points.astype(np.float32), mass.astype(np.float32))


def _along(value: RealArray | float, fraction: FloatArray) -> FloatArray:
    samples = np.atleast_1d(np.asarray(value, dtype=np.float32))
    return np.interp(fraction, np.linspace(0, 1, len(samples)), samples).astype(np.float32)


def _along_axis(axis: RealArray, fraction: FloatArray) -> FloatArray:
    axes = np.atleast_2d(np.asarray(axis, dtype=np.float32))
    at = np.linspace(0, 1, len(axes))
    return np.stack([np.interp(fraction, at, axes[:, k]) for k in range(3)], axis=1).astype(np.float32)


def _frame(centre: FloatArray, wanted: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The centre line with the directions of height and width, each (N, 3)."""
    tangent = np.gradient(centre, axis=0) if len(centre) > 1 else np.array([[0, 1, 0]], np.float32)
    tangent = tangent / (np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9)
    width = wanted - (wanted * tangent).sum(axis=1, keepdims=True) * tangent
    width = width / (np.linalg.norm(width, axis=1, keepdims=True) + 1e-9)
    return centre, np.cross(tangent, width).astype(np.float32), width.astype(np.float32)


def _ring(
    rng: np.random.Generator,
    frame: tuple[FloatArray, FloatArray, FloatArray],
    half: tuple[RealArray, RealArray],
    n: int,
    squareness: float,
) -> tuple[FloatArray, FloatArray]:
    """Points (N, n, 3) around the centre line at semi-axes (N, 1) or (N, n), and their angles (N, n)."""
    centre, height, width = frame
    angle = np.arange(n, dtype=np.float32) + rng.random((len(centre), 1), dtype=np.float32)
    angle *= np.float32(2 * np.pi / n)
    c, s = np.cos(angle), np.sin(angle)
    if squareness < 1:
        c, s = np.sign(c) * np.abs(c) ** squareness, np.sign(s) * np.abs(s) ** squareness
    up = (half[0] * c)[..., None] * height[:, None, :]
    out = (half[1] * s)[..., None] * width[:, None, :]
    # Rings at even steps would print a grid: every point slides along the curve by up to half a step.
    step = np.gradient(centre, axis=0)[:, None, :]
    slide = (rng.random((len(centre), n, 1), dtype=np.float32) - np.float32(0.5)) * step
    return (centre[:, None, :] + up + out + slide).astype(np.float32), angle
