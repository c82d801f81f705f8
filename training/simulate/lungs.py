"""Where the air is: lungs between rib cage, diaphragm and mediastinum, trachea and gas in the bowel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.simulate.canvas import Canvas, FloatArray, fractal_noise
from training.simulate.habitus import Habitus

__all__ = ["Lungs", "cavity_half_depth", "draw_gas", "draw_lungs"]


@dataclass(frozen=True, slots=True)
class Lungs:
    """Path length through both lungs (size, size) in cm, their mean density in g/cm3, and each lung's outline."""

    path: FloatArray
    density: FloatArray
    mask: tuple[NDArray[np.bool_], NDArray[np.bool_]]  # right, left


def draw_lungs(rng: np.random.Generator, who: Habitus, canvas: Canvas) -> Lungs:
    """The lungs of one person, healthy."""
    x, y = canvas.grid()
    x = x - who.bend(y)
    cut = _mediastinum(rng, who, canvas, x, y)
    paths = []
    for side, dome in ((-1.0, who.dome_right), (1.0, who.dome_left)):
        whole = _one_lung(rng, who, side * x, y, dome)
        paths.append(np.maximum(whole - cut, 0))
    path = (paths[0] + paths[1]).astype(np.float32)
    base = float(rng.uniform(0.15, 0.29))
    gradient = float(rng.uniform(0.0, 0.006)) * (y - 10)
    mottle = fractal_noise(rng, canvas.size, 2.4, 7 / canvas.pixel_cm) * float(rng.uniform(0.002, 0.008))
    grain = fractal_noise(rng, canvas.size, 0.9, 1.0 / canvas.pixel_cm) * float(rng.uniform(0.002, 0.009))
    density = np.clip(base + gradient + base * mottle * 2 + grain, 0.08, 0.9).astype(np.float32)
    return Lungs(path, density, (paths[0] > 0.8, paths[1] > 0.8))


def cavity_half_depth(who: Habitus, y: FloatArray) -> FloatArray:
    """Half the depth of the cavity at the height y, cm."""
    return np.asarray(np.maximum(who.half_depth(y) - 0.5, 0), dtype=np.float32)


def _one_lung(rng: np.random.Generator, who: Habitus, x: FloatArray, y: FloatArray, dome: float) -> FloatArray:
    outer = np.maximum(who.half_width(y) - float(rng.uniform(0.25, 0.55)), 0.01)
    half = cavity_half_depth(who, y) * np.maximum(1 - np.abs(x / outer) ** 2.3, 0) ** (1 / 2.3)
    middle = (0.46 + 0.05 * rng.random()) * who.cage_half_width
    lateral, medial = float(rng.uniform(3.0, 5.2)), float(rng.uniform(0.3, 1.2))
    u = (x - middle) / (0.5 * who.cage_half_width)
    top = dome + np.where(u > 0, lateral, medial) * u**2
    top = top + float(rng.normal(0, 0.25)) * np.sin(2.5 * u + float(rng.uniform(0, 6)))
    below = np.maximum(y - top, 0)
    crest = -1.5
    back = half - crest - np.sqrt(below / float(rng.uniform(0.02, 0.05)))
    front = half + crest - np.sqrt(below / float(rng.uniform(0.015, 0.04)))
    recess = np.clip(back, 0, 2 * half) + np.clip(front, 0, 2 * half) * 0.8
    recess = recess * np.clip((x - 3.4) / 4.5, 0, 1)  # towards the spine the lung ends higher
    under = 1 / (1 + np.exp(np.clip(-(y - top) / 0.06, -30, 30)))
    path = 2 * half * (1 - under) + np.minimum(recess, 2 * half) * under
    return np.asarray(np.where(x > 0, np.minimum(path, 2 * half), 0), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class _Bulge:
    """A chamber or a vessel seen from the front: an ellipse turned by ``turn`` rad, ``depth`` half its depth, cm."""

    x: float
    y: float
    half_width: float
    half_height: float
    turn: float
    depth: float

    def path(self, x: FloatArray, y: FloatArray) -> FloatArray:
        u, v = x - self.x, y - self.y
        c, s = np.cos(self.turn), np.sin(self.turn)
        q = ((u * c + v * s) / self.half_width) ** 2 + ((v * c - u * s) / self.half_height) ** 2
        return np.asarray(2 * self.depth * np.maximum(1 - q, 0) ** 0.55, dtype=np.float32)


def _mediastinum(rng: np.random.Generator, who: Habitus, canvas: Canvas, x: FloatArray, y: FloatArray) -> FloatArray:
    """Depth in cm that heart, vessels and spine take from the lungs."""
    k, h = who.scale, who.heart
    shift = -who.lean_cm(canvas.yaw_rad)
    dome = 0.5 * (who.dome_right + who.dome_left)
    waves = [
        0.35 * np.sin(y / 2.9 + float(rng.uniform(0, 6))) + 0.15 * np.sin(y / 1.1 + float(rng.uniform(0, 6)))
        for _ in range(2)
    ]  # the two borders are not each other's mirror image
    wavy = np.where(x < 0, waves[0], waves[1]).astype(np.float32)
    narrow, wide = float(rng.uniform(1.7, 2.5)), float(rng.uniform(2.0, 3.1))
    half = np.interp(y, np.array([-2, 2, 6, 10, 16, 26]) * k, [2.6, wide, wide, narrow + 0.6, narrow, narrow])
    half = half.astype(np.float32) * k + wavy
    deep = 2 * cavity_half_depth(who, y) + 0.5
    column = 0.97 * deep * np.maximum(1 - np.abs((x - shift * 0.5) / half) ** 3, 0) ** float(rng.uniform(0.7, 1.1))
    cut = column
    size = 1 + 0.12 * float(rng.normal())
    lie = float(rng.normal(0.7, 0.12))
    parts = [
        _Bulge(2.7 * k + shift, dome - 1.5 * k, 6.6 * k * h, 4.1 * k * h * size, lie, 7.2).path(x, y),  # ventricles
        _Bulge(2.7 * k + shift, dome - 5.0 * k, 3.6 * k * h, 6.0 * k, -0.42, 6.8).path(x, y),  # the left border
        _Bulge(1.5 * k + shift, dome - 6.6 * k, 2.9 * k * h, 4.6 * k, -0.25, 6.5).path(
            x, y
        ),  # left atrium, its appendage
        _Bulge(-0.8 * k + shift, dome - 3.4 * k, 2.8 * k * h, 5.2 * k * h, 0.1, 6.4).path(x, y),  # right atrium
        _Bulge(2.1 * k + shift, dome - 9.4 * k, 2.2 * k, 3.0 * k, 0.2, 4.6).path(x, y),  # pulmonary trunk
        _Bulge(2.0 * k + shift, 6.4 * k, (1.6 + 0.9 * who.age) * k, (1.7 + 0.6 * who.age) * k, 0, 3.2).path(
            x, y
        ),  # arch
        _Bulge(-1.9 * k + shift, 6.8 * k, 1.3 * k, 5.5 * k, -0.03, 1.6).path(x, y),  # superior vena cava
    ]
    lean = float(rng.normal(0, 0.3))
    aorta = (1.15 + 0.4 * who.age) * k
    middle = 1.5 * k + lean * who.age + 0.7 * who.age * np.sin(y / 6)
    parts.append(2 * np.sqrt(np.maximum(aorta**2 - (x - middle) ** 2, 0)) * (y > 6 * k))
    stack = np.stack([np.broadcast_to(p, cut.shape) for p in parts])
    heart = (stack**2.5).sum(axis=0) ** 0.4
    heart = heart / (1 + np.exp((y - dome - 3.0) / 0.9))  # the heart lies on the diaphragm
    whole = np.maximum(cut, heart)
    # Fat, vessels and folds of the pleura: what fills the mediastinum is uneven, and the heart beats while it is taken.
    uneven = fractal_noise(rng, canvas.size, 2.6, 4 / canvas.pixel_cm) * float(rng.uniform(0.25, 0.6))
    whole = whole + uneven * np.clip(whole / 4, 0, 1)
    soft_edge = ndimage.gaussian_filter(whole, float(rng.uniform(0.06, 0.22)) / canvas.pixel_cm)
    return np.asarray(soft_edge, dtype=np.float32)


def draw_gas(rng: np.random.Generator, who: Habitus, canvas: Canvas) -> FloatArray:
    """Path length (size, size) in cm of the air in trachea, main bronchi, stomach and colon."""
    x, y = canvas.grid()
    k = who.scale
    line = who.bend(y) + 0.35 * np.clip((y - 2) / 6, 0, 1) * float(rng.uniform(-0.4, 1.2)) * -1
    end = 8.6 * k
    radius = 0.95 * k * float(rng.normal(1, 0.1)) * (1 + 0.04 * np.sin(y * 8))
    gas = 2 * np.sqrt(np.maximum(radius**2 - (x - line) ** 2, 0)) / (1 + np.exp((y - end) / 0.35))
    for side, slope, reach in ((-1.0, 1.6, 3.4), (1.0, 1.05, 4.6)):
        u, v = side * (x - line), y - end + 0.7
        along = (u + slope * v) / np.hypot(1, slope)
        across = (slope * u - v) / np.hypot(1, slope)
        tube = 2 * np.sqrt(np.maximum((0.62 * k) ** 2 - across**2, 0))
        gas = np.maximum(gas, tube / (1 + np.exp(-(along - 0.2) / 0.2)) / (1 + np.exp((along - reach * k) / 0.5)))
    if rng.random() < 0.75:
        gas = gas + _bubble(
            rng, canvas, (5.5 + rng.normal(0, 1.2)) * k, who.dome_left + float(rng.uniform(1.8, 3.5)), 2.6
        )
    for _ in range(int(rng.poisson(2.2))):
        at = float(rng.uniform(-11, 13)), who.dome_left + float(rng.uniform(3.5, 11))
        gas = gas + _bubble(rng, canvas, at[0], at[1], float(rng.uniform(0.7, 2.2)))
    return np.asarray(gas, dtype=np.float32)


def _bubble(rng: np.random.Generator, canvas: Canvas, cx: float, cy: float, radius: float) -> FloatArray:
    x, y = canvas.grid()
    u, v = x - cx, y - cy
    angle = np.arctan2(v, u)
    edge = radius * (
        1 + sum(float(rng.normal(0, 0.06)) * np.cos(m * angle + float(rng.uniform(0, 6))) for m in range(2, 6))
    )
    q = (u / (edge * float(rng.uniform(0.9, 1.6)))) ** 2 + (v / (edge * float(rng.uniform(0.6, 1.0)))) ** 2
    return np.asarray(float(rng.uniform(0.5, 2.8)) * np.maximum(1 - q, 0) ** 0.5, dtype=np.float32)
