"""Drawn radiographs of everything but the chest: limbs, joints, hands, skulls, pelves, abdomens, spines, shoulders.

A body is a sum of thicknesses, soft tissue and mineral; the picture is what is left of a beam behind it. None would
deceive a radiologist. They are there so that "another part of the body" is more than the few films at hand.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage

from pacs_node.records import FloatImage
from training.gate.film import FOLDS, Film, small

__all__ = ["PARTS", "draw_part", "drawings"]

SIZE = 160  # px
Rng = np.random.Generator
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Sheet:
    """Thicknesses along the rays, (SIZE, SIZE) each; coordinates from 0 to 1, row and column."""

    soft: FloatImage
    bone: FloatImage
    rows: FloatImage
    columns: FloatImage

    @classmethod
    def empty(cls) -> "Sheet":
        """Nothing in the beam."""
        rows, columns = (grid.astype(np.float32) / SIZE for grid in np.mgrid[0:SIZE, 0:SIZE])
        return cls(np.zeros_like(rows), np.zeros_like(rows), rows, columns)

    def along(self, start: Point, end: Point) -> tuple[FloatImage, FloatImage]:
        """Distance from a line, and position along it: 0 at its start, 1 at its end."""
        line = np.subtract(end, start)
        towards = (self.rows - start[0]) * line[0] + (self.columns - start[1]) * line[1]
        at = np.clip(towards / max(float(line @ line), 1e-9), 0, 1)
        return np.hypot(self.rows - start[0] - at * line[0], self.columns - start[1] - at * line[1]), at

    def flesh(self, start: Point, end: Point, radius: float, end_radius: float | None = None) -> None:
        """A round limb, thicker at one end."""
        distance, at = self.along(start, end)
        wide = radius + ((radius if end_radius is None else end_radius) - radius) * at
        np.maximum(self.soft, 2 * np.sqrt(np.maximum(wide**2 - distance**2, 0)), out=self.soft)

    def long_bone(self, start: Point, end: Point, radius: float, flare: float = 1.6) -> None:
        """A tube with a dense wall, wider and spongy at its ends."""
        distance, at = self.along(start, end)
        wide = radius * (1 + (flare - 1) * np.abs(2 * at - 1) ** 4)
        full = np.sqrt(np.maximum(wide**2 - distance**2, 0))
        marrow = np.sqrt(np.maximum((0.62 * wide) ** 2 - distance**2, 0))
        self.bone[...] += 2 * (full - 0.75 * marrow)

    def disc(self, center: Point, radii: Point, shell: float = 1.0, tilt: float = 0.0) -> FloatImage:
        """Thickness of an ellipsoid; hollow for a ``shell`` below 1."""
        rows, columns = self.rows - center[0], self.columns - center[1]
        rows, columns = (
            rows * np.cos(tilt) + columns * np.sin(tilt),
            columns * np.cos(tilt) - rows * np.sin(tilt),
        )
        far = (rows / radii[0]) ** 2 + (columns / radii[1]) ** 2
        thick = np.sqrt(np.maximum(1 - far, 0))
        if shell < 1:
            thick = thick - (1 - shell) * np.sqrt(np.maximum(1 - far / (1 - shell) ** 2, 0))
        return np.asarray(2 * min(radii) * thick, dtype=np.float32)


def _limb(sheet: Sheet, rng: Rng) -> None:
    """A forearm, a leg, a thigh: one or two bones along the picture."""
    lean, wide = rng.normal(0, 0.06), rng.uniform(0.12, 0.34)
    sheet.flesh((-0.1, 0.5 - lean), (1.1, 0.5 + lean), wide, wide * rng.uniform(0.6, 1.2))
    bones = int(rng.integers(1, 3))
    for k in range(bones):
        offset = (k - (bones - 1) / 2) * wide * rng.uniform(0.5, 0.9)
        sheet.long_bone(
            (rng.uniform(-0.3, 0.1), 0.5 + offset - lean),
            (rng.uniform(0.9, 1.3), 0.5 + offset + lean),
            wide * rng.uniform(0.14, 0.3),
        )


def _joint(sheet: Sheet, rng: Rng) -> None:
    """A knee, an elbow or an ankle: bones that meet, straight or bent."""
    middle, wide = rng.uniform(0.4, 0.6), rng.uniform(0.16, 0.36)
    bend = rng.uniform(-0.1, 0.1) if rng.random() < 0.6 else rng.uniform(-0.6, 0.6)
    knee = (middle, 0.5 - bend / 3)
    sheet.flesh((-0.2, 0.5), knee, wide * 1.1, wide)
    sheet.flesh(knee, (1.2, 0.5 + bend), wide, wide * 0.8)
    gap = rng.uniform(0.01, 0.03)
    sheet.long_bone((-0.4, 0.5), (middle - gap, knee[1]), wide * rng.uniform(0.25, 0.4), rng.uniform(1.6, 2.4))
    sheet.long_bone((middle + gap, knee[1]), (1.4, 0.5 + bend), wide * rng.uniform(0.22, 0.36), rng.uniform(1.6, 2.4))
    if rng.random() < 0.6:
        side = wide * rng.choice([-0.6, 0.6])
        sheet.long_bone((middle + 0.06, knee[1] + side), (1.4, 0.5 + bend + side), wide * 0.12)
    if rng.random() < 0.5:
        sheet.bone[...] += sheet.disc((middle - 0.05, knee[1]), (wide * 0.35, wide * 0.3))


def _hand(sheet: Sheet, rng: Rng) -> None:
    """A hand or a foot: rays of short bones that fan out."""
    spread = rng.uniform(0.3, 0.9)
    root = (rng.uniform(0.7, 0.85), 0.5)
    sheet.flesh((1.2, 0.5), root, rng.uniform(0.1, 0.16), rng.uniform(0.16, 0.24))
    for angle in np.linspace(-spread, spread, 5) + rng.normal(0, 0.04, 5):
        length = rng.uniform(0.5, 0.72) * (1 - 0.25 * abs(angle))
        knots = [0.12, *np.sort(rng.uniform([0.4, 0.62, 0.82], [0.5, 0.74, 0.9])), 1.0]
        ends = [(root[0] - length * k * np.cos(angle), root[1] + length * k * np.sin(angle)) for k in knots]
        sheet.flesh(ends[0], ends[-1], rng.uniform(0.045, 0.065), 0.04)
        for start, end in pairwise(ends):
            sheet.long_bone(start, end, rng.uniform(0.014, 0.024), 1.5)
    for _ in range(8):
        at = (root[0] + rng.uniform(-0.02, 0.12), root[1] + rng.uniform(-0.12, 0.12))
        sheet.bone[...] += sheet.disc(at, (rng.uniform(0.02, 0.04), rng.uniform(0.02, 0.04)))
    for side in (-0.06, 0.05):
        sheet.long_bone((root[0] + 0.1, 0.5 + side), (1.4, 0.5 + side / 2), 0.03)


def _skull(sheet: Sheet, rng: Rng) -> None:
    """A head from the front or the side: a shell, orbits or a jaw, teeth, a neck below."""
    center = (rng.uniform(0.36, 0.46), 0.5)
    radii = (rng.uniform(0.28, 0.38), rng.uniform(0.24, 0.38))
    sheet.soft[...] += sheet.disc(center, (radii[0] * 1.08, radii[1] * 1.08))
    sheet.flesh((0.6, 0.5), (1.2, 0.5), rng.uniform(0.12, 0.2))
    sheet.bone[...] += sheet.disc(center, radii, rng.uniform(0.08, 0.16))
    sideways = rng.random() < 0.5
    for side in (-1, 1):
        at = (center[0] + 0.1, 0.5 + side * rng.uniform(0.09, 0.13) - (0.2 if sideways else 0.0))
        sheet.bone[...] -= 0.7 * sheet.disc(at, (0.05, 0.06)) * (not sideways)
        sheet.bone[...] += sheet.disc(at, (0.07, 0.075), 0.15)
    jaw = (center[0] + radii[0], 0.5 - (0.15 if sideways else 0.0))
    sheet.bone[...] += sheet.disc(jaw, (0.13, 0.17), 0.3)
    for k in range(8):
        sheet.bone[...] += sheet.disc((jaw[0] - 0.03, jaw[1] + (k - 3.5) * 0.03), (0.035, 0.012))
    at = (0.75, 0.5 + (0.1 if sideways else 0.0))
    _column(sheet, rng, at, rng.uniform(0.05, 0.07), rng.uniform(0.05, 0.09))


def _column(sheet: Sheet, rng: Rng, start: Point, wide: float, pitch: float) -> None:
    """Vertebrae one below the other from ``start`` on, with gaps, and processes beside them."""
    top, column = start
    curve, phase = rng.uniform(0, 0.05), rng.uniform(0, 6)
    for k in range(int((1.1 - top) / pitch) + 1):
        at = (top + k * pitch, column + curve * np.sin(3 * k * pitch + phase))
        box = np.maximum(np.abs(sheet.rows - at[0]) / (0.42 * pitch), np.abs(sheet.columns - at[1]) / wide)
        sheet.bone[...] += (1.2 * wide / (1 + np.exp(np.clip((box - 1) * 14, -30, 30)))).astype(np.float32)
        sheet.bone[...] += sheet.disc((at[0] + 0.1 * pitch, at[1]), (0.2 * pitch, wide * 0.2))
        if pitch > 0.08:
            for side in (-1, 1):
                sheet.bone[...] += 0.6 * sheet.disc((at[0], at[1] + side * wide * 1.5), (0.12 * pitch, wide * 0.6))


def _gas(sheet: Sheet, rng: Rng, count: int, within: tuple[Point, Point]) -> None:
    """Bowel gas: soft tissue that is missing."""
    for _ in range(count):
        at = tuple(float(rng.uniform(*bounds)) for bounds in within)
        radii = (float(rng.uniform(0.015, 0.06)), float(rng.uniform(0.015, 0.08)))
        sheet.soft[...] -= rng.uniform(0.3, 0.9) * sheet.disc((at[0], at[1]), radii, 1.0, float(rng.uniform(0, 3)))
    np.maximum(sheet.soft, 0.02, out=sheet.soft)


def _trunk(sheet: Sheet, rng: Rng) -> None:
    wide = rng.uniform(0.38, 0.65)
    across = np.sqrt(np.maximum(1 - ((sheet.columns - 0.5) / wide) ** 2, 0))
    sheet.soft[...] += (rng.uniform(0.5, 0.7) * across).astype(np.float32)


def _pelvis(sheet: Sheet, rng: Rng) -> None:
    """Iliac wings, sacrum, the ring, hip joints, femora."""
    _trunk(sheet, rng)
    top, half = rng.uniform(0.12, 0.3), rng.uniform(0.2, 0.28)
    _column(sheet, rng, (-0.1, 0.5), rng.uniform(0.05, 0.07), 0.1)
    sheet.bone[...] += 1.3 * sheet.disc((top + 0.2, 0.5), (0.17, 0.11))
    for side in (-1, 1):
        sheet.bone[...] += 0.7 * sheet.disc((top + 0.14, 0.5 + side * half), (0.2, 0.12), 0.5, side * 0.5)
        hip = (top + 0.38, 0.5 + side * (half + 0.03))
        sheet.bone[...] += sheet.disc(hip, (0.09, 0.09), 0.3) + sheet.disc(hip, (0.065, 0.065))
        sheet.bone[...] += 0.8 * sheet.disc((top + 0.47, 0.5 + side * 0.1), (0.1, 0.09), 0.35)
        sheet.long_bone(hip, (hip[0] + 0.1, hip[1] + side * 0.1), 0.04, 1.1)
        sheet.long_bone((hip[0] + 0.06, hip[1] + side * 0.1), (1.5, hip[1] + side * 0.05), rng.uniform(0.04, 0.06), 1.2)
    if rng.random() < 0.6:
        _gas(sheet, rng, int(rng.integers(2, 12)), ((0.0, 0.5), (0.2, 0.8)))


def _hip(sheet: Sheet, rng: Rng) -> None:
    """One hip joint: half a pelvis, a femoral head, neck and shaft."""
    sheet.soft[...] += rng.uniform(0.4, 0.6) * (1 - 0.4 * sheet.columns)
    hip = (rng.uniform(0.3, 0.45), rng.uniform(0.35, 0.5))
    wide = rng.uniform(0.09, 0.15)
    sheet.bone[...] += sheet.disc(hip, (wide, wide)) + sheet.disc(hip, (wide * 1.35, wide * 1.35), 0.25)
    sheet.bone[...] += 0.6 * sheet.disc((hip[0] - 0.3, hip[1] - 0.1), (0.3, 0.22), 0.5, 0.4)
    sheet.bone[...] += 0.8 * sheet.disc((hip[0] + 0.22, hip[1] - 0.25), (0.16, 0.13), 0.3)
    trochanter = (hip[0] + 0.14, hip[1] + 0.22)
    sheet.long_bone(hip, trochanter, wide * 0.7, 1.1)
    sheet.long_bone(trochanter, (1.5, trochanter[1] - 0.02), wide * 0.75, 1.3)


def _abdomen(sheet: Sheet, rng: Rng) -> None:
    """Spine, bowel gas, the lowest ribs, the tops of the iliac wings; sometimes the bases of the lungs."""
    _trunk(sheet, rng)
    _column(sheet, rng, (-0.1, 0.5 + rng.normal(0, 0.02)), rng.uniform(0.045, 0.075), rng.uniform(0.1, 0.16))
    _gas(sheet, rng, int(rng.integers(5, 40)), ((0.1, 0.95), (0.15, 0.85)))
    for side in (-1, 1):
        sheet.bone[...] += 0.6 * sheet.disc((1.02, 0.5 + side * 0.28), (0.2, 0.16), 0.5, side * 0.5)
        for k in range(int(rng.integers(0, 4))):
            sheet.long_bone((0.02 + 0.07 * k, 0.5 + side * 0.1), (0.14 + 0.07 * k, 0.5 + side * 0.42), 0.016, 1.0)
        if rng.random() < 0.4:
            sheet.soft[...] -= 0.5 * sheet.disc((-0.06, 0.5 + side * 0.24), (rng.uniform(0.06, 0.16), 0.17))
    np.maximum(sheet.soft, 0.02, out=sheet.soft)


def _spine(sheet: Sheet, rng: Rng) -> None:
    """Cervical or lumbar spine, from the front or the side."""
    where = rng.uniform(0.35, 0.65)
    sheet.flesh((-0.2, where), (1.2, where + rng.normal(0, 0.1)), rng.uniform(0.2, 0.6))
    _column(sheet, rng, (-0.1, where), rng.uniform(0.08, 0.16), rng.uniform(0.1, 0.2))
    if rng.random() < 0.4:
        sheet.soft[...] -= 0.5 * sheet.disc((0.5, where + rng.choice([-1, 1]) * 0.22), (0.7, 0.05))  # an airway
    _gas(sheet, rng, int(rng.integers(0, 8)), ((0.2, 1.0), (0.0, 1.0)))


def _shoulder(sheet: Sheet, rng: Rng) -> None:
    """A humerus, a blade, a collar bone, and a corner of lung with its ribs."""
    sheet.flesh((0.5, -0.2), (0.35, 0.55), 0.5, 0.3)
    sheet.flesh((0.35, 0.6), (1.3, rng.uniform(0.7, 1.0)), 0.2, 0.16)
    head = (rng.uniform(0.3, 0.4), rng.uniform(0.52, 0.64))
    sheet.bone[...] += sheet.disc(head, (0.11, 0.11))
    sheet.long_bone(head, (1.4, head[1] + rng.uniform(0.05, 0.3)), 0.06, 1.4)
    sheet.bone[...] += 0.5 * sheet.disc((head[0] + 0.22, head[1] - 0.2), (0.26, 0.12), 0.4, 0.5)
    sheet.long_bone((head[0] - 0.14, head[1] + 0.02), (head[0] - 0.05, -0.2), 0.028, 1.3)
    sheet.soft[...] -= 0.7 * sheet.disc((0.9, -0.1), (0.6, rng.uniform(0.2, 0.4)))
    np.maximum(sheet.soft, 0.02, out=sheet.soft)
    for k in range(6):
        sheet.long_bone((0.35 + 0.12 * k, -0.1), (0.45 + 0.12 * k, 0.3), 0.018, 1.0)


def _breast(sheet: Sheet, rng: Rng) -> None:
    """A mammogram: a bright half disc at one edge."""
    sheet.soft[...] += sheet.disc((rng.uniform(0.4, 0.6), 0.0), (rng.uniform(0.3, 0.48), rng.uniform(0.4, 0.8)))
    glands = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), rng.uniform(3, 9))
    sheet.bone[...] += np.maximum(glands / glands.std(), 0).astype(np.float32) * 0.02 * (sheet.soft > 0)


def _jumble(sheet: Sheet, rng: Rng) -> None:
    """No part of any body: flesh and bones anywhere, so that it is not these drawings that are learned by heart."""
    for _ in range(int(rng.integers(1, 4))):
        sheet.flesh(_anywhere(rng), _anywhere(rng), rng.uniform(0.1, 0.5), rng.uniform(0.1, 0.5))
    for _ in range(int(rng.integers(1, 7))):
        sheet.long_bone(_anywhere(rng), _anywhere(rng), rng.uniform(0.015, 0.09), rng.uniform(1, 2.4))
    for _ in range(int(rng.integers(0, 6))):
        radii = (float(rng.uniform(0.03, 0.25)), float(rng.uniform(0.03, 0.25)))
        sheet.bone[...] += sheet.disc(_anywhere(rng), radii, float(rng.uniform(0.1, 1.2)), float(rng.uniform(0, 3)))
    _gas(sheet, rng, int(rng.integers(0, 6)), ((0.0, 1.0), (0.0, 1.0)))


def _anywhere(rng: Rng) -> Point:
    return float(rng.uniform(-0.3, 1.3)), float(rng.uniform(-0.3, 1.3))


PARTS: dict[str, Callable[[Sheet, Rng], None]] = {
    "limb": _limb,
    "joint": _joint,
    "hand": _hand,
    "skull": _skull,
    "pelvis": _pelvis,
    "hip": _hip,
    "abdomen": _abdomen,
    "spine": _spine,
    "shoulder": _shoulder,
    "breast": _breast,
    "jumble": _jumble,
}


def draw_part(part: str, rng: Rng) -> FloatImage:
    """One film of a part of the body, (160, 160) float32 in [0, 1], as a scanner shows it: bone is bright."""
    sheet = Sheet.empty()
    PARTS[part](sheet, rng)
    texture = 1 + 0.25 * ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), rng.uniform(1, 5))
    path = rng.uniform(2, 5) * sheet.soft + rng.uniform(3, 14) * np.maximum(sheet.bone, 0) * texture
    haze = rng.uniform(0.02, 0.25) * ndimage.gaussian_filter(np.exp(-path), 16)
    tones = -np.log(np.exp(-path) + haze + 1e-3)
    tones = ndimage.gaussian_filter(tones, rng.uniform(0.3, 1.2)) + rng.normal(0, rng.uniform(0.01, 0.08), path.shape)
    local = ndimage.gaussian_filter(tones, rng.uniform(6, 20))
    tones = tones - rng.uniform(0, 0.7) * local
    low, high = np.percentile(tones, (1, 99.5))
    return np.asarray(np.clip((tones - low) / max(high - low, 1e-6), 0, 1) ** rng.uniform(0.6, 1.6), dtype=np.float32)


def drawings(count: int) -> Iterator[Film]:
    """``count`` films of every part; two parts share a fold, so that a network is tried on parts it never saw."""
    for index, part in enumerate(PARTS):
        for number in range(count):
            picture = draw_part(part, np.random.default_rng([index, number, 0xD4]))
            yield Film(small(picture), "other", f"drawing/{part}", str(number), index % FOLDS)
