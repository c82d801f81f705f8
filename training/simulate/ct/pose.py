"""How a CT patient stands before the detector, and how else that patient might have been built."""

from dataclasses import dataclass, field

import numpy as np

from training.simulate.canvas import RealArray

__all__ = ["STRAIGHT", "Pose", "draw_pose"]

Wave = tuple[float, float, float, float]  # wave numbers in rad/mm along x, y, z, and the phase


@dataclass(frozen=True, slots=True)
class Pose:
    """A view and a smooth deformation. Axes in mm from the middle of the volume: x right, y front, z up.

    Attributes
    ----------
    fov_mm : side of the square map in the plane through the middle of the body.
    angles_rad : pitch, roll and yaw.
    shift_mm : of the middle of the picture, to the right and up.
    source_mm : from that plane to the tube; positive with the tube behind the patient (PA), negative in front (AP);
        infinite for parallel rays.
    size : stretch of the body along x, y and z.
    taper : how much wider the base of the thorax gets, as a share of its width; the apex gets as much narrower.
    inspiration_mm : how far the diaphragm moves down while the apex stays.
    rib_fall : mm that a point sinks for each mm further in front: the slope of the ribs.
    bend_mm : how far the spine bends to the side, and the phase of the bend in rad.
    sway_mm : size of further displacements along x, y and z, one wave each of ``waves``.
    sharpen : how much of the scanner's blur of about a pixel is undone.
    mirrored : left and right exchanged.
    """

    fov_mm: float = 360.0
    angles_rad: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift_mm: tuple[float, float] = (0.0, 0.0)
    source_mm: float = np.inf
    size: tuple[float, float, float] = (1.0, 1.0, 1.0)
    taper: float = 0.0
    inspiration_mm: float = 0.0
    rib_fall: float = 0.0
    bend_mm: tuple[float, float] = (0.0, 0.0)
    sway_mm: tuple[float, ...] = ()
    waves: tuple[Wave, ...] = field(default=())
    sharpen: float = 0.0
    mirrored: bool = False

    def source_points(self, points: RealArray) -> RealArray:
        """Where in the volume the matter at ``points`` (3, ...) in mm comes from: the same shape, mm.

        The deformation is defined backwards, from the picture to the volume, so that no field has to be inverted.
        """
        x, y, z = (points[k] / self.size[k] for k in range(3))
        low = np.tanh(-z / 120)  # 1 at the base, -1 at the apex
        x = x / (1 + self.taper * low)
        x = x - self.bend_mm[0] * np.sin(z / 95 + self.bend_mm[1])
        z = z + self.rib_fall * y
        z = z + self.inspiration_mm * np.clip((30 - z) / 130, 0, 1) ** 2
        moved = [x, y, z]
        for k, (amplitude, (a, b, c, phase)) in enumerate(zip(self.sway_mm, self.waves, strict=True)):
            moved[k % 3] = moved[k % 3] + amplitude * np.sin(a * points[0] + b * points[1] + c * points[2] + phase)
        if self.mirrored:
            moved[0] = -moved[0]
        return np.stack(moved)


STRAIGHT = Pose()


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw a view and a build; most are PA at 1.8 m, a third AP at bedside distance."""
    bedside = rng.random() < 0.33
    many = 9
    length_mm = rng.uniform(130, 330, many)
    towards = rng.normal(0, 1, (many, 3))
    towards *= (2 * np.pi / length_mm / np.linalg.norm(towards, axis=1))[:, None]
    phases = rng.uniform(0, 6.28, many)
    waves = tuple((*_triple(t), float(p)) for t, p in zip(towards, phases, strict=True))
    return Pose(
        fov_mm=float(rng.uniform(335, 410)),
        angles_rad=_triple(np.deg2rad(rng.normal([-3 if bedside else 0, 0, 0], [6, 2.5, 7 if bedside else 5]))),
        shift_mm=(float(rng.normal(0, 8)), float(rng.normal(0, 10))),
        source_mm=-float(rng.uniform(950, 1300)) if bedside else float(rng.uniform(1600, 1950)),
        size=_triple(np.exp(rng.normal(0, [0.06, 0.08, 0.06]))),
        taper=float(rng.normal(0, 0.05)),
        inspiration_mm=float(rng.normal(0, 11)),
        rib_fall=float(rng.normal(0.05, 0.11)),
        bend_mm=(float(rng.normal(0, 4)), float(rng.uniform(0, 6.28))),
        sway_mm=tuple(float(a) for a in rng.normal(0, 2.6, many)),
        waves=waves,
        sharpen=float(rng.uniform(0.3, 1.5)),
        mirrored=bool(rng.random() < 0.06),  # situs inversus is rarer, but few volumes have to teach both sides
    )


def _triple(values: RealArray) -> tuple[float, float, float]:
    a, b, c = (float(v) for v in values)
    return a, b, c
