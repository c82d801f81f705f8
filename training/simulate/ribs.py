"""Twelve pairs of ribs, their calcified cartilage, and the sternum."""

import numpy as np

from training.simulate.canvas import Cloud, FloatArray, join
from training.simulate.habitus import Habitus
from training.simulate.solids import Section, tube

__all__ = ["draw_ribs"]

ENDS_DEG = (152, 149, 146, 143, 139, 133, 126, 117, 109, 101, 72, 50)  # where bone gives way to cartilage
HALF_HEIGHT = (0.42, 0.50, 0.55, 0.58, 0.60, 0.62, 0.63, 0.63, 0.61, 0.57, 0.47, 0.38)
HALF_WIDTH = (0.50, 0.36, 0.35, 0.36, 0.37, 0.37, 0.37, 0.36, 0.35, 0.33, 0.29, 0.25)


def draw_ribs(rng: np.random.Generator, who: Habitus) -> Cloud:
    """All ribs and the sternum of one person."""
    stoutness = float(rng.normal(1.14, 0.1)) * (0.92 if who.female else 1.02)
    shell = float(rng.uniform(0.05, 0.11)) * who.bone_density
    tilts = who.rib_tilt * (1 + rng.normal(0, 0.03, 12).cumsum() * 0.4)
    parts: list[Cloud] = []
    for side in (-1.0, 1.0):
        skew = float(rng.normal(0, 0.02))
        for k in range(12):
            if k == 11 and rng.random() < 0.1:
                continue  # a missing twelfth rib is common
            tilt = float(tilts[k]) * (1 + skew) + float(rng.normal(0, 0.012))
            curve, normal = _rib_curve(rng, who, k, side, tilt)
            parts.append(tube(rng, curve, _rib_section(rng, k, stoutness * who.scale, shell, normal)))
            if who.age > 0.5 and k < 10 and rng.random() < who.age - 0.2:
                parts.append(_cartilage(rng, curve, k, who))
    parts.extend(_sternum(rng, who))
    return join(parts)


def _rib_curve(
    rng: np.random.Generator, who: Habitus, k: int, side: float, tilt: float
) -> tuple[FloatArray, FloatArray]:
    centre, height = who.vertebra(k + 1)
    head_y = centre - 0.35 * height + float(rng.normal(0, 0.06))
    depth = float(who.half_depth(head_y + 2.5))
    lateral_y = head_y + tilt * depth
    width = float(who.half_width(lateral_y)) * (0.84, 0.95, 0.99, 1, 1, 1, 1, 1, 0.99, 0.97, 0.93, 0.9)[k]
    start = np.arcsin(min(1.55 * who.scale / width, 0.9))
    end = np.deg2rad(ENDS_DEG[k] + rng.normal(0, 2.0))
    phi = np.linspace(start, end, 160)
    sin = np.abs(np.sin(phi)) ** 0.88
    x = width * sin
    z = depth * np.sign(np.cos(phi)) * np.abs(np.cos(phi)) ** 0.95
    y = head_y + tilt * (depth - z)
    y += -0.35 * who.scale * np.exp(-(((phi - 0.45) / 0.25) ** 2))  # the neck climbs before the angle
    y += float(rng.normal(0.4, 0.35)) * np.sin(phi) ** 2
    y += float(rng.normal(0, 0.15)) * np.sin(2 * phi + rng.uniform(0, 6))
    bend = who.bend(np.full(1, head_y, np.float32))[0]
    curve = np.stack([side * x + bend, y, z], axis=1).astype(np.float32)
    normal = np.stack([side * x / width**2, np.full_like(x, -0.02), z / depth**2], axis=1)
    if k == 0:  # the first rib lies flat
        normal = np.stack([side * 0.3 * x / width, np.ones_like(x), np.zeros_like(x)], axis=1)
        normal = np.cross(normal, np.gradient(curve, axis=0))
    return curve, normal.astype(np.float32)


def _rib_section(rng: np.random.Generator, k: int, stoutness: float, shell: float, normal: FloatArray) -> Section:
    s = np.linspace(0, 1, 24)
    ripple = 1 + 0.035 * np.convolve(rng.normal(0, 1, 26), (0.5, 1, 0.5), "valid")
    profile = (0.8 + 0.25 * np.minimum(s / 0.12, 1) - 0.08 * np.exp(-(((s - 0.55) / 0.2) ** 2)) + 0.12 * s**6) * ripple
    taper = shell * (1.2 - 0.55 * s) * np.minimum(1, (1.04 - s) / 0.12)
    return Section(
        HALF_HEIGHT[k] * stoutness * profile,
        HALF_WIDTH[k] * stoutness * (0.95 + 0.1 * ripple - 0.1 * s),
        shell_cm=np.maximum(taper, 0.02),
        width_axis=normal,
        core=float(rng.uniform(0.12, 0.25)),
        shell_ripple=float(rng.uniform(-0.25, 0.35)),
    )


def _cartilage(rng: np.random.Generator, curve: FloatArray, k: int, who: Habitus) -> Cloud:
    """Flecks and rails of calcium where the cartilage goes on towards the sternum."""
    end, direction = curve[-1], curve[-1] - curve[-12]
    direction = direction / np.linalg.norm(direction)
    reach = float(rng.uniform(1.0, 4.5)) * who.age
    n = int(rng.integers(30, 160) * who.age) + 8
    t = rng.random(n) ** 1.5 * reach
    side = -np.sign(end[0])
    bent = np.stack([side * t * 0.8 + direction[0] * t * 0.3, direction[1] * t * (1 - 0.12 * t), -0.2 * t], axis=1)
    rail = np.where(rng.random(n) < 0.6, np.sign(rng.normal(size=n)) * 0.5, rng.uniform(-0.5, 0.5, n))
    seeds = end + bent + rail[:, None] * np.array([0.15, 1.0, 0.2]) * HALF_HEIGHT[k] * 1.4
    grains = 60
    blob = rng.normal(0, 1, (n, grains, 3)) * (0.05 + 0.12 * rng.random((n, 1, 1)))
    mass = np.repeat(rng.gamma(1.0, 0.005, n) / grains, grains)
    return Cloud((seeds[:, None, :] + blob).reshape(-1, 3).astype(np.float32), mass.astype(np.float32))


def _sternum(rng: np.random.Generator, who: Habitus) -> list[Cloud]:
    top = who.vertebra(2)[0] + 1.6 * who.scale + float(rng.normal(0, 0.4))
    length = float(rng.normal(15.0, 1.0)) * who.scale
    y = np.linspace(top, top + length, 40)
    z = -who.half_depth(y.astype(np.float32)) * 0.95
    z[:6] = z[6]
    s = np.linspace(0, 1, 40)
    half = np.interp(s, [0, 0.08, 0.25, 0.32, 0.6, 0.85, 1], [2.0, 2.7, 1.7, 1.3, 1.8, 1.4, 0.5]) * who.scale * 0.95
    curve = np.stack([who.bend(y.astype(np.float32)), y, z], axis=1).astype(np.float32)
    across = np.array([0, 0, 1], np.float32)
    return [tube(rng, curve, Section(half, 0.5, 0.05, across, core=0.08), spacing_cm=0.06)]
