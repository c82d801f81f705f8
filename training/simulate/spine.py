"""The spine: vertebral bodies with end plates, pedicles, laminae, spinous and transverse processes."""

import numpy as np

from training.simulate.canvas import Cloud, FloatArray, join
from training.simulate.habitus import Habitus
from training.simulate.solids import tube

__all__ = ["draw_spine"]

BACK = np.array([0, 0, 1], np.float32)
LEFT = np.array([1, 0, 0], np.float32)
DOWN = np.array([0, 1, 0], np.float32)


def draw_spine(rng: np.random.Generator, who: Habitus) -> Cloud:
    """Vertebrae C5 to L3 of one person."""
    wear = max(who.age - 0.5, 0) * float(rng.random())
    core = float(rng.uniform(0.10, 0.19)) * who.bone_density
    parts: list[Cloud] = []
    for index in range(-3, 16):
        parts.extend(_vertebra(rng, who, index, core, wear))
    return join(parts)


def _vertebra(rng: np.random.Generator, who: Habitus, index: int, core: float, wear: float) -> list[Cloud]:
    y, pitch = who.vertebra(index)
    x = float(who.bend(np.full(1, y, np.float32))[0])
    z = 0.5 * who.cage_half_depth + (0.0 if index > 0 else -0.6 * (1 - index))
    half_w = (1.38 + 0.045 * abs(index - 1)) * who.scale * float(rng.normal(1, 0.03))
    half_d = (1.0 + 0.05 * max(index, 0)) * who.scale
    half_h = 0.5 * pitch * (0.76 - 0.12 * wear * float(rng.random())) * float(rng.normal(1, 0.02))
    at = np.array([x, y, z], np.float32)
    tilt = np.array([float(rng.normal(0, 0.03)) + _slope(who, y), 1, float(rng.normal(0, 0.05))], np.float32)
    parts = [_body(rng, at, tilt, half_h, half_w, half_d, core, wear)]
    parts.extend(_end_plates(rng, at, tilt, half_h, half_w, half_d))
    parts.extend(_arch(rng, who, at, half_h, half_w, half_d, index))
    return parts


def _slope(who: Habitus, y: float) -> float:
    ends = who.bend(np.array([y - 0.5, y + 0.5], np.float32))
    return float(ends[1] - ends[0])


def _body(
    rng: np.random.Generator,
    at: FloatArray,
    tilt: FloatArray,
    half_h: float,
    half_w: float,
    half_d: float,
    core: float,
    wear: float,
) -> Cloud:
    s = np.linspace(-1, 1, 17)
    waist = 1 - (0.09 + 0.05 * rng.random()) * np.cos(s * np.pi / 2) + wear * 0.25 * np.abs(s) ** 8
    curve = (at + s[:, None] * half_h * tilt).astype(np.float32)
    return tube(
        rng,
        curve,
        half_d * waist,
        half_w * waist,
        width_axis=LEFT,
        shell_cm=float(rng.uniform(0.035, 0.06)),
        core=core,
        spacing_cm=0.07,
        squareness=0.75,
    )


def _end_plates(
    rng: np.random.Generator, at: FloatArray, tilt: FloatArray, half_h: float, half_w: float, half_d: float
) -> list[Cloud]:
    dense = float(rng.uniform(0.2, 0.5))
    plates = []
    for sign in (-1.0, 1.0):
        middle = at + sign * half_h * tilt
        curve = np.stack([middle - 0.06 * DOWN, middle + 0.06 * DOWN]).astype(np.float32)
        plates.append(
            tube(
                rng,
                curve,
                half_d * 0.97,
                half_w * 0.97,
                width_axis=LEFT,
                shell_cm=0.03,
                core=dense,
                spacing_cm=0.06,
                squareness=0.75,
            )
        )
    return plates


def _arch(
    rng: np.random.Generator, who: Habitus, at: FloatArray, half_h: float, half_w: float, half_d: float, index: int
) -> list[Cloud]:
    k = who.scale
    parts = []
    for side in (-1.0, 1.0):
        root = at + np.array([side * half_w * 0.66, -0.35 * half_h, half_d], np.float32)
        pedicle = np.stack([root, root + 0.9 * k * BACK])
        parts.append(tube(rng, pedicle, 0.5 * k, 0.3 * k, width_axis=LEFT, shell_cm=0.06, core=0.2))
        if index > 0:
            reach = (2.9 - 0.09 * index) * k
            tip = root + np.array([side * (reach - half_w * 0.66), -0.4 * k, 1.6 * k], np.float32)
            across = np.stack([root + 0.7 * BACK, tip]).astype(np.float32)
            girth = np.array([0.42, 0.36, 0.45], np.float32) * k
            parts.append(tube(rng, across, girth, girth * 0.8, width_axis=BACK, shell_cm=0.06, core=0.12))
        lamina = np.stack([root + 0.8 * BACK, at + np.array([0, 0.35 * half_h, half_d + 1.9 * k], np.float32)])
        parts.append(tube(rng, lamina.astype(np.float32), 0.75 * half_h, 0.22 * k, width_axis=BACK, shell_cm=0.06))
    base = at + np.array([0, 0.4 * half_h, half_d + 1.8 * k], np.float32)
    fall = (0.35 + 0.06 * min(max(index, 0), 8)) * 2.2 * k
    tip = base + np.array([float(rng.normal(0, 0.12)), fall, 2.2 * k], np.float32)
    girth = np.array([0.6, 0.45, 0.5], np.float32) * k
    parts.append(tube(rng, np.stack([base, tip]), girth, girth * 0.45, width_axis=LEFT, shell_cm=0.08, core=0.12))
    return parts
