"""A whole person as maps of areal density: what the X-rays go through, kept before any image is formed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.simulate.body import MUSCLE_DENSITY, draw_body
from training.simulate.canvas import Canvas, FloatArray
from training.simulate.devices import draw_devices
from training.simulate.disease import fall_ill
from training.simulate.girdle import draw_girdle
from training.simulate.habitus import Habitus, draw_habitus
from training.simulate.lungs import Lungs, draw_gas, draw_lungs
from training.simulate.ribs import draw_ribs
from training.simulate.spine import draw_spine
from training.simulate.vessels import draw_airways, draw_vessels

__all__ = ["BONE_LAYERS", "Anatomy", "draw_anatomy", "load_anatomy", "save_anatomy"]

BONE_LAYERS = ("ribs", "spine", "girdle")
STEPS = 65535  # of the stored 16-bit maps
AIR_STEPS = 1000  # a cm


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """Maps of one person.

    Attributes
    ----------
    soft : (size, size) float32, g/cm2 of soft tissue, with soft tissue where the bones are.
    bones : (3, size, size) float32, g/cm2 of mineralised bone: ribs with sternum, spine, shoulder girdle.
    lungs : (size, size) bool, the lungs not covered by heart or diaphragm.
    seed : what it was drawn from.
    air : (size, size) float32, cm of lung along the ray, where disease and devices are still to be drawn (`dress`);
        None where they are there already.
    """

    soft: FloatArray
    bones: FloatArray
    lungs: NDArray[np.bool_]
    seed: int
    air: FloatArray | None = None

    @property
    def size(self) -> int:
        """Rows and columns, px."""
        return int(self.soft.shape[0])


def draw_anatomy(seed: int, size: int = 512) -> Anatomy:
    """Draw a person; the same seed and size give the same maps on every machine with the same NumPy."""
    rng = np.random.default_rng([seed, 0xC4E57])
    who = draw_habitus(rng)
    canvas = _stand(rng, who, size)
    bones = np.stack([canvas.splat(draw(rng, who)) for draw in (draw_ribs, draw_spine, draw_girdle)])
    lungs = draw_lungs(rng, who, canvas)
    vessels, airways = draw_vessels(rng, who, canvas, lungs), draw_airways(rng, who, canvas, lungs)
    lungs, growth = fall_ill(rng, who, canvas, lungs)
    body = draw_body(rng, who, canvas)
    soft = _fill(body, lungs, vessels, draw_gas(rng, who, canvas)) + (growth + airways) * (lungs.path > 0)
    soft = np.maximum(soft, 0) + draw_devices(rng, who, canvas)
    bones *= body[None] > 0.3  # no bone outside the skin
    return Anatomy(soft.astype(np.float32), bones.astype(np.float32), (lungs.path > 1.5) & (body > 2), seed)


def _stand(rng: np.random.Generator, who: Habitus, size: int) -> Canvas:
    """The patient in front of the detector."""
    source = float(rng.uniform(90, 140)) * -1 if who.supine else float(rng.uniform(165, 190))
    return Canvas(
        size=size,
        fov_cm=float(rng.uniform(38.0, 44.0)) * max(who.scale, 0.95),
        centre_cm=(float(rng.normal(0, 0.8)), 11.5 * who.scale + float(rng.normal(0, 1.0))),
        yaw_rad=float(rng.normal(0, 0.08 if who.supine else 0.035)),
        lordosis=float(rng.normal(0.08 if who.supine else 0.0, 0.07)),
        source_cm=source,
    )


def _fill(body: FloatArray, lungs: Lungs, vessels: FloatArray, gas: FloatArray) -> FloatArray:
    """Soft tissue with lungs, their vessels and gas in it, g/cm2."""
    room = np.maximum(body / MUSCLE_DENSITY - 2.0, 0)  # the chest wall keeps 2 cm
    path = np.minimum(lungs.path, room)
    blood = np.minimum(vessels, np.maximum(path, 0.35 * vessels))
    air = path * (MUSCLE_DENSITY - lungs.density) - blood * (MUSCLE_DENSITY - lungs.density)
    return np.asarray(body - air - np.minimum(gas, room * 0.6) * MUSCLE_DENSITY, dtype=np.float32)


def save_anatomy(anatomy: Anatomy, path: Path) -> None:
    """Write an anatomy as ``.npz`` with 16-bit maps; a reader never sees half a file."""
    top_soft, top_bone = float(anatomy.soft.max()) + 1e-6, float(anatomy.bones.max()) + 1e-6
    temporary = path.with_name(path.name + ".part")
    maps: dict[str, Any] = {} if anatomy.air is None else {"air": np.round(anatomy.air * AIR_STEPS).astype(np.uint16)}
    with temporary.open("wb") as file:
        np.savez(
            file,
            soft=np.round(anatomy.soft * (STEPS / top_soft)).astype(np.uint16),
            bones=np.round(anatomy.bones * (STEPS / top_bone)).astype(np.uint16),
            lungs=np.packbits(anatomy.lungs, axis=1),
            scale=np.array([top_soft, top_bone]),
            seed=np.array(anatomy.seed),
            **maps,
        )
    temporary.replace(path)


def load_anatomy(path: Path) -> Anatomy:
    """Read what `save_anatomy` wrote; raises OSError, KeyError or ValueError when the file is something else."""
    with np.load(path, allow_pickle=False) as stored:
        scale = stored["scale"].astype(np.float32) / np.float32(STEPS)
        soft = stored["soft"].astype(np.float32) * scale[0]
        bones = stored["bones"].astype(np.float32) * scale[1]
        lungs = np.unpackbits(stored["lungs"], axis=1, count=soft.shape[1]).astype(bool)
        air = stored["air"].astype(np.float32) / np.float32(AIR_STEPS) if "air" in stored else None
        return Anatomy(soft, bones, lungs, int(stored["seed"]), air)
