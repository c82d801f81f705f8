"""The spine: vertebral bodies with end plates, pedicles, laminae, spinous and transverse processes."""

from dataclasses import dataclass

import numpy as np

from training.simulate.canvas import Cloud, FloatArray, join
from training.simulate.habitus import Habitus
from training.simulate.solids import Section, tube

__all__ = ["draw_spine"]

BACK = np.array([0, 0, 1], np.float32)
LEFT = np.array([1, 0, 0], np.float32)
DOWN = np.array([0, 1, 0], np.float32)


def draw_spine(rng: np.random.Generator, who: Habitus) -> Cloud:
    """Vertebrae C5 to L3 of one person."""
    wear = max(who.age - 0.5, 0) * float(rng.random())
    core = float(rng.uniform(0.08, 0.17)) * who.bone_density
    parts: list[Cloud] = []
    for index in range(-3, 16):
        parts.extend(_vertebra(rng, who, index, core, wear))
    whole = join(parts)
    # Marrow is fat in part and the arch is thin: a spine of full shells would outshine the ribs.
    return Cloud(whole.points, whole.mass * np.float32(rng.uniform(0.55, 0.9)))


@dataclass(frozen=True, slots=True)
class _Vertebra:
    """Where the body of a vertebra is, along what axis, and its half height, half width and half depth, cm."""

    at: FloatArray
    axis: FloatArray
    half: tuple[float, float, float]


def _vertebra(rng: np.random.Generator, who: Habitus, index: int, core: float, wear: float) -> list[Cloud]:
    y, pitch = who.vertebra(index)
    x = float(who.bend(np.full(1, y, np.float32))[0])
    z = 0.5 * who.cage_half_depth + (0.0 if index > 0 else -0.6 * (1 - index))
    half_w = (1.38 + 0.045 * abs(index - 1)) * who.scale * float(rng.normal(1, 0.03))
    half_d = (1.0 + 0.05 * max(index, 0)) * who.scale
    half_h = 0.5 * pitch * (0.76 - 0.12 * wear * float(rng.random())) * float(rng.normal(1, 0.02))
    axis = np.array([float(rng.normal(0, 0.03)) + _slope(who, y), 1, float(rng.normal(0, 0.05))], np.float32)
    vertebra = _Vertebra(np.array([x, y, z], np.float32), axis, (half_h, half_w, half_d))
    return [_body(rng, vertebra, core, wear), *_end_plates(rng, vertebra), *_arch(rng, who.scale, vertebra, index)]


def _slope(who: Habitus, y: float) -> float:
    ends = who.bend(np.array([y - 0.5, y + 0.5], np.float32))
    return float(ends[1] - ends[0])


def _body(rng: np.random.Generator, vertebra: _Vertebra, core: float, wear: float) -> Cloud:
    half_h, half_w, half_d = vertebra.half
    s = np.linspace(-1, 1, 17)
    waist = 1 - (0.09 + 0.05 * rng.random()) * np.cos(s * np.pi / 2) + wear * 0.25 * np.abs(s) ** 8
    curve = (vertebra.at + s[:, None] * half_h * vertebra.axis).astype(np.float32)
    shell = float(rng.uniform(0.035, 0.06))
    section = Section(half_d * waist, half_w * waist, shell, LEFT, core=core, squareness=0.75)
    return tube(rng, curve, section, spacing_cm=0.07)


def _end_plates(rng: np.random.Generator, vertebra: _Vertebra) -> list[Cloud]:
    half_h, half_w, half_d = vertebra.half
    section = Section(half_d * 0.97, half_w * 0.97, 0.03, LEFT, core=float(rng.uniform(0.2, 0.5)), squareness=0.75)
    plates = []
    for sign in (-1.0, 1.0):
        middle = vertebra.at + sign * half_h * vertebra.axis
        curve = np.stack([middle - 0.06 * DOWN, middle + 0.06 * DOWN]).astype(np.float32)
        plates.append(tube(rng, curve, section, spacing_cm=0.06))
    return plates


def _arch(rng: np.random.Generator, k: float, vertebra: _Vertebra, index: int) -> list[Cloud]:
    """Pedicles, transverse processes, laminae and the spinous process; ``k`` is the scale of the skeleton."""
    half_h, half_w, half_d = vertebra.half
    at = vertebra.at
    parts = []
    for side in (-1.0, 1.0):
        root = at + np.array([side * half_w * 0.66, -0.35 * half_h, half_d], np.float32)
        pedicle = np.stack([root, root + 0.9 * k * BACK])
        parts.append(tube(rng, pedicle, Section(0.5 * k, 0.3 * k, 0.06, LEFT, core=0.2)))
        if index > 0:
            reach = (2.9 - 0.09 * index) * k
            tip = root + np.array([side * (reach - half_w * 0.66), -0.4 * k, 1.6 * k], np.float32)
            across = np.stack([root + 0.7 * BACK, tip]).astype(np.float32)
            girth = np.array([0.42, 0.36, 0.45], np.float32) * k
            parts.append(tube(rng, across, Section(girth, girth * 0.8, 0.06, BACK)))
        lamina = np.stack([root + 0.8 * BACK, at + np.array([0, 0.35 * half_h, half_d + 1.9 * k], np.float32)])
        parts.append(tube(rng, lamina.astype(np.float32), Section(0.75 * half_h, 0.22 * k, 0.06, BACK)))
    base = at + np.array([0, 0.4 * half_h, half_d + 1.8 * k], np.float32)
    fall = (0.35 + 0.06 * min(max(index, 0), 8)) * 2.2 * k
    tip = base + np.array([float(rng.normal(0, 0.12)), fall, 2.2 * k], np.float32)
    girth = np.array([0.6, 0.45, 0.5], np.float32) * k
    parts.append(tube(rng, np.stack([base, tip]), Section(girth, girth * 0.45, 0.08, LEFT)))
    return parts
