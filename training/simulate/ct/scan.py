"""A scan as it was read, and the refusal of one that cannot be used."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.simulate.canvas import FloatArray

__all__ = ["Refused", "Scan"]


class Refused(Exception):
    """A scan cannot be used; the message says why and names no patient."""


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """Hounsfield units (x, y, z) float32 on axes to the right, front and up; voxel sides in mm; a label map or None.

    ``notes`` say what was amiss and how it was mended.
    """

    hu: FloatArray
    spacing_mm: NDArray[np.float64]
    labels: NDArray[np.integer] | None = None
    notes: tuple[str, ...] = ()
