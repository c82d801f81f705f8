"""The shoulder girdle: clavicles, scapulae and the upper ends of the humeri."""

import numpy as np

from training.simulate.canvas import Cloud, FloatArray, join
from training.simulate.habitus import Habitus
from training.simulate.solids import Section, plate, tube

__all__ = ["draw_girdle"]

BACK = np.array([0, 0, 1], np.float32)
DOWN = np.array([0, 1, 0], np.float32)


def draw_girdle(rng: np.random.Generator, who: Habitus) -> Cloud:
    """Both shoulders of one person, and the jaw above them."""
    raised = float(rng.normal(0, 0.5))
    parts = [part for side in (-1.0, 1.0) for part in _shoulder(rng, who, side, raised + float(rng.normal(0, 0.3)))]
    return join([*parts, *_mandible(rng, who)])


def _mandible(rng: np.random.Generator, who: Habitus) -> list[Cloud]:
    """The lower jaw, which hangs into the picture where the head was not held up; its body and the two rami."""
    k = who.scale
    chin = np.array([float(rng.normal(0, 0.8)), float(rng.uniform(-9.5, -6.0)), -8.0], np.float32) * np.float32(k)
    corner = np.array([4.8, -1.2 + float(rng.normal(0, 0.4)), 6.0], np.float32) * np.float32(k)
    t = np.linspace(-1, 1, 40)
    arch = chin + np.stack([corner[0] * np.sign(t) * np.abs(t) ** 0.7, corner[1] * t**2, corner[2] * t**2], axis=1)
    section = Section(1.3 * k, 0.5 * k, 0.2 * who.bone_density, np.array([0, 0, 1], np.float32), core=0.15)
    parts = [tube(rng, arch.astype(np.float32), section)]
    for end in (arch[0], arch[-1]):
        ramus = np.stack([end, end + np.array([0.2 * np.sign(end[0]), -5.0, 1.0]) * k]).astype(np.float32)
        parts.append(tube(rng, ramus, Section(1.5 * k, 0.35 * k, 0.15 * who.bone_density, BACK, core=0.1)))
    return parts


def _shoulder(rng: np.random.Generator, who: Habitus, side: float, raised: float) -> list[Cloud]:
    k = who.scale
    joint = np.array(
        [
            (14.6 + 1.7 * who.protraction + rng.normal(0, 0.5)) * k,
            2.6 * k + who.shoulder_drop - raised + 0.6 * who.protraction,
            3.5 - 3.0 * who.protraction,
        ],
        np.float32,
    )
    turn = 0.28 * who.protraction + float(rng.normal(0.05, 0.08))
    scapula = _scapula(rng, who, joint, turn)
    clavicle = _clavicle(rng, who, joint)
    humerus = _humerus(rng, who, joint)
    mirror = np.array([side, 1, 1], np.float32)
    return [Cloud(c.points * mirror, c.mass) for c in (*scapula, clavicle, *humerus)]


def _scapula(rng: np.random.Generator, who: Habitus, joint: FloatArray, turn: float) -> list[Cloud]:
    k = who.scale
    c, s = np.cos(turn), np.sin(turn)

    def place(x: float, y: float, z: float) -> FloatArray:
        """From the scapula's own axes (x towards the spine) to the body's."""
        return joint + np.array([-(x * c + y * s * -1), y * c - x * s * 0.6, z], np.float32) * np.float32(k)

    glenoid, superior, inferior = place(0.9, 0.6, 1), place(8.2, -2.2, 3.2), place(5.6, 12.4, 3.4)
    medial = place(9.0, 2.2, 3.6)
    stout = float(rng.normal(1, 0.1)) * who.bone_density
    parts = [
        plate(rng, np.stack([glenoid, medial, inferior]), 0.30 * stout, 0.8),
        plate(rng, np.stack([glenoid, superior, medial]), 0.26 * stout, 0.5),
    ]
    lines: list[tuple[list[FloatArray], tuple[float, ...], float]] = [
        ([glenoid, place(2.8, 6.0, 2.2), inferior], (0.75, 0.5, 0.42, 0.4), 0.12),  # lateral border
        ([superior, medial, place(7.6, 8.0, 3.8), inferior], (0.28, 0.24, 0.26, 0.3), 0.08),
        ([superior, place(4.5, -1.9, 2.0), place(1.8, -1.2, 1.0)], (0.2, 0.18, 0.3), 0.06),
        ([medial, place(4.6, -0.6, 4.6), place(1.0, -2.4, 4.8), place(-1.6, -2.8, 2.5)], (0.3, 0.45, 0.5, 0.75), 0.09),
        ([place(1.6, -0.6, 0.6), place(1.8, -1.8, -1.2), place(0.4, -1.2, -2.8)], (0.6, 0.5, 0.5), 0.09),  # coracoid
        ([place(0.5, -1.1, 0.6), place(0.2, 0.6, 0.6), place(0.6, 2.3, 0.6)], (0.5, 0.75, 0.5), 0.11),  # glenoid
    ]
    for way, girth, shell in lines:
        g = np.array(girth, np.float32) * np.float32(k)
        parts.append(tube(rng, _smooth(way), Section(g, g * 0.7, shell * stout, BACK)))
    return parts


def _clavicle(rng: np.random.Generator, who: Habitus, joint: FloatArray) -> Cloud:
    k = who.scale
    inner = np.array([1.9 * k, who.vertebra(2)[0] + 1.3 * k + 0.35 * who.shoulder_drop, -0.62 * who.cage_half_depth])
    outer = joint + np.array([-0.6, -2.3 * k, 0.8])
    t = np.linspace(0, 1, 60)[:, None]
    line = inner + (outer - inner) * t
    bow = float(rng.normal(0.7, 0.35))
    line[:, 1] += -bow * np.sin(np.pi * t[:, 0]) + float(rng.normal(0, 0.3)) * np.sin(2 * np.pi * t[:, 0])
    line[:, 2] += -1.6 * np.sin(2 * np.pi * t[:, 0])
    s = np.linspace(0, 1, 9)
    stout = k * float(rng.normal(1, 0.08)) * (0.9 if who.female else 1.03)
    girth = np.interp(s, [0, 0.1, 0.3, 0.6, 0.85, 1], [1.15, 1.05, 0.74, 0.66, 0.72, 0.9]) * stout
    flat = np.interp(s, [0, 0.5, 1], [0.85, 0.6, 0.55]) * stout
    shell = np.interp(s, [0, 0.15, 0.5, 0.85, 1], [0.05, 0.14, 0.2, 0.12, 0.05]) * who.bone_density
    return tube(rng, line.astype(np.float32), Section(girth, flat, shell, BACK, core=0.1))


def _humerus(rng: np.random.Generator, who: Habitus, joint: FloatArray) -> list[Cloud]:
    k = who.scale
    centre = joint + np.array([2.3 * k, 0.3, 0], np.float32)
    spread = float(rng.normal(0.12 if who.supine else 0.25, 0.12))
    shaft = np.array([spread, 1.0, 0.05], np.float32)
    r = 2.25 * k
    s = np.linspace(-1, 1, 21)
    ball = centre + (s * r)[:, None] * np.array([-0.5, -0.75, 0], np.float32) / 0.9
    girth = np.sqrt(np.maximum(1 - s**2, 0.02)) * r
    start = centre + np.array([0.5 * k, 0.8 * k, 0], np.float32)
    line = np.stack([start + t * shaft for t in np.linspace(0, 33, 13)])
    width = np.interp(np.linspace(0, 1, 25), [0, 0.08, 0.2, 1], [2.1, 1.8, 1.2, 1.05]) * k
    cortex = np.interp(np.linspace(0, 1, 25), [0, 0.1, 0.25, 1], [0.06, 0.12, 0.32, 0.42]) * who.bone_density
    return [
        tube(rng, ball.astype(np.float32), Section(girth, girth, 0.07, BACK)),
        tube(rng, line.astype(np.float32), Section(width, width, cortex, BACK, core=0.05)),
    ]


def _smooth(way: list[FloatArray]) -> FloatArray:
    knots = np.stack(way)
    t = np.linspace(0, len(knots) - 1, 40)
    line = np.stack([np.interp(t, np.arange(len(knots)), knots[:, c]) for c in range(3)], axis=1)
    padded = np.pad(line, ((4, 4), (0, 0)), mode="edge")
    kernel = np.hanning(11)[1:-1] / np.hanning(11).sum()
    return np.stack([np.convolve(padded[:, c], kernel, "valid") for c in range(3)], axis=1).astype(np.float32)
