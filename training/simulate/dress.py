"""Disease, devices, breasts and skin folds on a body that came without: a few CT scans become many patients."""

from dataclasses import replace

import numpy as np

from training.simulate.anatomy import Anatomy
from training.simulate.body import FAT_DENSITY, MUSCLE_DENSITY, draw_breasts, draw_folds
from training.simulate.canvas import Canvas, FloatArray, fractal_noise
from training.simulate.devices import draw_devices
from training.simulate.disease import fall_ill
from training.simulate.frame import box_of
from training.simulate.habitus import Habitus, draw_habitus
from training.simulate.lungs import Lungs

__all__ = ["dress"]

LUNG_DENSITY = 0.25  # g/cm3, of the lungs that disease is drawn into
LUNG_WIDTH_CM = 25.0  # of both lungs of an average adult: it gives a projection without a scale its centimetres


def dress(anatomy: Anatomy, rng: np.random.Generator) -> Anatomy:
    """Another patient with the same skeleton, heart and vessels; unchanged where disease and devices are there already.

    Everything is soft tissue or metal and therefore in both twins.
    """
    if anatomy.air is None:
        return anatomy
    who = draw_habitus(rng)
    canvas = _canvas(anatomy)
    x, y = canvas.grid()
    inside = np.clip(anatomy.soft / 4 - 0.5, 0, 1)  # of the skin, with a soft edge
    soft = anatomy.soft + _wall(rng, who, canvas) * inside
    if rng.random() < 0.35:
        soft = soft + 0.7 * FAT_DENSITY * draw_breasts(rng, who, x, y) * inside
    soft = soft + draw_folds(rng, who, x, y) * inside
    soft = soft + _disease(rng, who, canvas, anatomy) + draw_devices(rng, who, canvas)
    return replace(anatomy, soft=np.maximum(soft, 0).astype(np.float32))


def _canvas(anatomy: Anatomy) -> Canvas:
    """Centimetres over the picture: the lungs' apex at the first thoracic vertebra, the middle between them at 0."""
    row, column, half_height, half_width = box_of(anatomy.lungs)
    fov_cm = LUNG_WIDTH_CM / max(2 * half_width, 0.3)
    centre = (0.5 - column) * fov_cm, (0.5 - (row - half_height)) * fov_cm - 0.5
    return Canvas(anatomy.size, fov_cm, centre)


def _wall(rng: np.random.Generator, who: Habitus, canvas: Canvas) -> FloatArray:
    """Fat that this patient has more or less of than the scanned one, in g/cm2, smooth."""
    uneven = 1 + 0.25 * fractal_noise(rng, canvas.size, 3.4, 12 / canvas.pixel_cm)
    return np.asarray(FAT_DENSITY * float(rng.normal(1.0 + 2 * who.fat, 1.0)) * uneven, dtype=np.float32)


def _disease(rng: np.random.Generator, who: Habitus, canvas: Canvas, anatomy: Anatomy) -> FloatArray:
    """What disease adds to and takes from the body, g/cm2."""
    path = np.asarray(anatomy.air, dtype=np.float32)
    x, _ = canvas.grid()
    aerated = path > 0.3  # more than the lung fields: fluid at the edge of a ragged mask would be ragged
    right, left = aerated & (x < 0), aerated & (x >= 0)
    healthy = Lungs(path, np.full_like(path, LUNG_DENSITY), (right, left))
    ill, growth = fall_ill(rng, who, canvas, healthy)
    lost = path * (MUSCLE_DENSITY - LUNG_DENSITY) - ill.path * (MUSCLE_DENSITY - ill.density)
    return np.asarray(lost + growth * (path > 0.5), dtype=np.float32)
