"""One person and how they stood: the numbers that every other part of the phantom shares."""

from dataclasses import dataclass

import numpy as np

from training.simulate.canvas import FloatArray, RealArray

__all__ = ["Habitus", "draw_habitus"]


@dataclass(frozen=True, slots=True)
class Habitus:
    """Lengths in cm; y is 0 at the upper end of the first thoracic vertebra and grows downwards, z grows to the back.

    ``age`` is 0 (young) to 1 (old); ``fat`` 0 to 1; ``supine`` is a bedside AP radiograph with the arms down.
    """

    female: bool
    age: float
    fat: float
    supine: bool
    scale: float  # of the skeleton, 1 is an average adult
    cage_half_width: float
    cage_half_depth: float
    cage_height: float
    cage_power: float  # how quickly the apex widens
    wall: float  # from the ribs to the skin
    rib_tilt: float  # tangent of the angle at which the ribs fall forwards
    dome_right: float
    dome_left: float
    spine_bend: tuple[float, float]  # amplitude cm, phase
    shoulder_drop: float
    protraction: float  # 0: scapulae over the lungs, 1: rolled off them
    heart: float  # 1 is normal size
    bone_density: float

    def bend(self, y: FloatArray) -> FloatArray:
        """Where the middle line lies at the height y: x in cm, the same shape."""
        amplitude, phase = self.spine_bend
        return np.asarray(amplitude * np.sin(y / 9.0 + phase), dtype=np.float32)

    def lean_cm(self, yaw_rad: float) -> float:
        """How far the front of the heart moves sideways when the patient is turned, cm."""
        return float(4.0 * np.sin(yaw_rad))

    def half_width(self, y: RealArray | float) -> FloatArray:
        """Half the width of the rib cage at the height y, cm; 0 above the apex."""
        u = np.clip((y + 1.0 * self.scale) / self.cage_height, 0, 1)
        dome = np.sqrt(np.minimum(u / 0.03, 1))  # the apex is round, not a point
        share = 0.2 + 0.8 * (1 - (1 - u) ** 2.5) ** self.cage_power
        return np.asarray(self.cage_half_width * share * dome, dtype=np.float32)

    def half_depth(self, y: RealArray | float) -> FloatArray:
        """Half the depth of the rib cage at the height y, cm; 0 above the apex."""
        u = np.clip((y + 1.0 * self.scale) / self.cage_height, 0, 1)
        return np.asarray(self.cage_half_depth * (1 - (1 - u) ** 2) ** 0.5, dtype=np.float32)

    def vertebra(self, index: float) -> tuple[float, float]:
        """Centre y and height, cm, of a vertebra; 1 is T1, 12 is T12, below 1 the neck, above 12 lumbar."""
        height = (1.75 + 0.068 * index) * self.scale
        centre = self.scale * (1.75 * (index - 0.5) + 0.034 * index * index)
        return centre, height


def draw_habitus(rng: np.random.Generator) -> Habitus:
    """Draw a person."""
    female = bool(rng.random() < 0.5)
    scale = float(rng.normal(0.94 if female else 1.03, 0.05))
    fat = float(rng.beta(1.6, 2.6))
    supine = bool(rng.random() < 0.3)
    inspiration = float(rng.normal(-1.5 if supine else 0.3, 1.3))
    dome_right = 19.8 * scale + inspiration
    return Habitus(
        female=female,
        age=float(rng.random()),
        fat=fat,
        supine=supine,
        scale=scale,
        cage_half_width=float(rng.normal(13.0, 0.7)) * scale + 0.12 * inspiration,
        cage_half_depth=float(rng.normal(9.0, 0.8)) * scale,
        cage_height=float(rng.uniform(16.5, 21.0)) * scale,
        cage_power=float(rng.uniform(0.55, 0.75)),
        wall=1.4 + 3.6 * fat,
        rib_tilt=float(np.clip(rng.normal(0.63, 0.1) - 0.03 * inspiration, 0.3, 0.9)),
        dome_right=dome_right,
        dome_left=dome_right + float(rng.normal(1.0, 0.7)),
        spine_bend=(float(abs(rng.normal(0, 0.35))), float(rng.uniform(0, 6.28))),
        shoulder_drop=float(rng.normal(0, 1.1)),
        protraction=float(np.clip(rng.normal(0.25 if supine else 0.75, 0.2), 0, 1.1)),
        heart=float(np.clip(rng.normal(1.08 if supine else 0.97, 0.12), 0.75, 1.5)),
        bone_density=float(np.clip(rng.normal(1.0, 0.18), 0.55, 1.4)),
    )
