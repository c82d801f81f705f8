"""The vessels of the lung: two trees on each side, branching from the hilum down to a fraction of a millimetre."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.simulate.canvas import Canvas, FloatArray, RealArray
from training.simulate.habitus import Habitus
from training.simulate.lungs import Lungs, cavity_half_depth

__all__ = ["draw_airways", "draw_vessels"]

TISSUE, PARENCHYMA = 1.06, 0.25  # g/cm3
LUMEN = 0.8  # inner over outer radius of a bronchus
MURRAY = 1 / 2.7  # r0**2.7 = r1**2.7 + r2**2.7, between Murray's 3 and what is measured in lungs


@dataclass(frozen=True, slots=True)
class _Twigs:
    """The living ends of a tree: position (N, 3) cm, direction (N, 3), radius (N,) cm."""

    at: FloatArray
    towards: FloatArray
    radius: FloatArray


@dataclass(frozen=True, slots=True)
class _Room:
    """Where vessels may go: the outline of one lung on the detector and the depth of the rib cage."""

    who: Habitus
    canvas: Canvas
    outline: NDArray[np.bool_]

    def holds(self, tip: FloatArray) -> NDArray[np.bool_]:
        """Which of the points (N, 3) in cm lie in the lung: (N,) bool."""
        column, row, _ = self.canvas.project(tip)
        j = np.clip(column.astype(np.int32), 0, self.canvas.size - 1)
        i = np.clip(row.astype(np.int32), 0, self.canvas.size - 1)
        wide = np.maximum(self.who.half_width(tip[:, 1]), 0.1)
        deep = cavity_half_depth(self.who, tip[:, 1]) * np.sqrt(np.maximum(1 - (tip[:, 0] / wide) ** 2, 0))
        return np.asarray(self.outline[i, j] & (np.abs(tip[:, 2]) < deep))


def draw_vessels(rng: np.random.Generator, who: Habitus, canvas: Canvas, lungs: Lungs) -> FloatArray:
    """Path length (size, size) in cm through the blood vessels of both lungs."""
    wealth = float(rng.uniform(0.7, 1.1))
    points, radii, lengths = [], [], []
    for side, mask in ((-1.0, lungs.mask[0]), (1.0, lungs.mask[1])):
        room = _Room(who, canvas, ndimage.binary_dilation(mask, iterations=2))
        for roots in (_arteries(rng, who, side, wealth), _veins(rng, who, side, wealth)):
            for p, r, d in _grow(rng, room, roots):
                points.append(p)
                radii.append(r)
                lengths.append(d)
    return canvas.tubes(np.concatenate(points), np.concatenate(radii), np.concatenate(lengths))


def draw_airways(rng: np.random.Generator, who: Habitus, canvas: Canvas, lungs: Lungs) -> FloatArray:
    """Areal density (size, size) in g/cm2 that the walls of the bronchi add to the lungs, less their lumen's.

    Bronchi go with the arteries; only the walls near the hilum are seen, as rings and tram lines.
    """
    outer = []
    for side, mask in ((-1.0, lungs.mask[0]), (1.0, lungs.mask[1])):
        roots = _arteries(rng, who, side, 0.85)
        room = _Room(who, canvas, ndimage.binary_dilation(mask, iterations=2))
        outer.extend(_grow(rng, room, roots, thinnest=0.11))
    points, radii, lengths = (np.concatenate([part[k] for part in outer]) for k in range(3))
    wall, lumen = canvas.tubes(points, radii, lengths), canvas.tubes(points, radii * LUMEN, lengths)
    return np.asarray((TISSUE - PARENCHYMA) * wall - TISSUE * lumen, dtype=np.float32)


def _arteries(rng: np.random.Generator, who: Habitus, side: float, wealth: float) -> _Twigs:
    k = who.scale
    hilum = np.array([side * 3.7, 9.3 + (0.5 if side < 0 else -0.4), 0.5]) * k + rng.normal(0, 0.25, 3)
    towards = [-1.35, -0.9, -0.3, 0.25, 0.7, 1.0, 1.2, 1.4, 1.0, 0.85, 1.1, 1.3, 0.55]  # most go to the lower lobe
    girth = [0.27, 0.3, 0.24, 0.27, 0.36, 0.42, 0.46, 0.42, 0.34, 0.34, 0.38, 0.36, 0.3]
    angles = np.array(towards) + rng.normal(0, 0.14, len(towards))
    sizes = np.array(girth) * wealth * k * rng.uniform(0.8, 1.15, len(girth))
    return _spray(rng, hilum, angles, sizes, side)


def _veins(rng: np.random.Generator, who: Habitus, side: float, wealth: float) -> _Twigs:
    k = who.scale
    atrium = np.array([side * 3.3, 11.8, 1.5]) * k + rng.normal(0, 0.25, 3)
    angles = np.array([-1.25, -0.85, -0.4, 0.1, 0.45, 0.7, 0.95]) + rng.normal(0, 0.15, 7)
    sizes = np.array([0.26, 0.28, 0.25, 0.27, 0.32, 0.35, 0.3]) * wealth * k * rng.uniform(0.8, 1.15, 7)
    return _spray(rng, atrium, angles, sizes, side)


def _spray(rng: np.random.Generator, at: RealArray, angles: RealArray, sizes: RealArray, side: float) -> _Twigs:
    """Main branches that leave one point at angles in the image plane (0 outwards, positive down)."""
    z = rng.uniform(-0.58, 0.58, len(angles))
    towards = np.stack([side * np.cos(angles), np.sin(angles), z], axis=1)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    start = at + 0.5 * rng.normal(0, 0.4, (len(angles), 3)) + 0.3 * towards
    return _Twigs(start.astype(np.float32), towards.astype(np.float32), sizes.astype(np.float32))


def _grow(
    rng: np.random.Generator, room: _Room, twigs: _Twigs, thinnest: float = 0.014
) -> list[tuple[RealArray, RealArray, RealArray]]:
    """Branch after branch until the twigs leave the lung or grow too thin; points, radii and lengths per generation."""
    laid: list[tuple[RealArray, RealArray, RealArray]] = []
    steps = 6
    for generation in range(22):
        n = len(twigs.radius)
        if n == 0 or n > 60000:
            break
        length = twigs.radius * rng.uniform(4.5, 11.0, n).astype(np.float32) + np.float32(0.12)
        sway = rng.normal(0, 0.11 if generation else 0.06, (n, 3)).astype(np.float32)
        t = (np.arange(steps, dtype=np.float32) + 0.5)[None, :, None] / steps
        path = twigs.at[:, None, :] + length[:, None, None] * t * (twigs.towards[:, None, :] + sway[:, None, :] * t)
        radius = np.repeat(twigs.radius, steps) * (1 - 0.12 * np.tile(t[0, :, 0], n))
        laid.append((path.reshape(-1, 3), radius.astype(np.float32), np.repeat(length / steps, steps)))
        tip = twigs.at + length[:, None] * (twigs.towards + sway)
        towards = twigs.towards + 2 * sway
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        alive = (room.holds(tip) | (generation < 2)) & (twigs.radius > thinnest)
        twigs = _split(rng, _Twigs(tip[alive], towards[alive], twigs.radius[alive]))
    return laid


def _split(rng: np.random.Generator, parents: _Twigs) -> _Twigs:
    """Two children each, by Murray's law, the thinner one turned away more."""
    n = len(parents.radius)
    share = rng.beta(2.2, 2.2, n).astype(np.float32) * np.float32(0.8) + np.float32(0.1)
    turn = rng.normal(0, 1, (n, 3)).astype(np.float32)
    turn[:, 2] *= 0.8
    turn -= (turn * parents.towards).sum(axis=1, keepdims=True) * parents.towards
    turn /= np.linalg.norm(turn, axis=1, keepdims=True) + 1e-6
    children = []
    for part, sign in ((share, 1.0), (1 - share, -1.0)):
        angle = (0.2 + 0.75 * (1 - part)) * rng.uniform(0.6, 1.2, n).astype(np.float32)
        towards = parents.towards * np.cos(angle)[:, None] + sign * turn * np.sin(angle)[:, None]
        children.append((towards.astype(np.float32), parents.radius * part ** np.float32(MURRAY)))
    return _Twigs(
        np.concatenate([parents.at, parents.at]),
        np.concatenate([c[0] for c in children]),
        np.concatenate([c[1] for c in children]),
    )
