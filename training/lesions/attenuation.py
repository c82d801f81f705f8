"""From P-values to attenuation and back: how much brighter a gram of tissue makes one place of a radiograph.

A radiograph carries no scale, and nobody knows its display chain. What is assumed:

- P-values rise with attenuation along one smooth curve for the whole image. It is found by matching quantiles: those
  of the P-values in the box around the lungs with those of the attenuation that simulated people have there
  (`training.simulate`: NIST coefficients, 60 to 120 kVp, scatter). So mediastinum against lung sets the scale.
- A lesion takes the place of lung. It adds ``mu * grams per square centimetre``, less what scatter takes away.
- No noise is taken away, and edge enhancement of the chain is not applied to the lesion: a processed film would show
  it with more contrast than here. Both are the same with and without the network.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from pacs_node.records import FloatImage, MaskImage, Radiograph
from training.simulate.dress import LUNG_WIDTH_CM
from training.simulate.frame import box_of

__all__ = ["LEVELS_OF_LUNG_BOX", "MU", "PERCENTILES", "ToneCurve", "box_slices", "mm_per_px"]

MU = 0.205  # cm2/g of soft tissue at 120 kVp behind 15 cm of water, the beam of most chests
# Attenuation (natural logarithm) over the darkest tenth of the lungs, at percentiles of the box around the lungs:
# medians of 16 simulated people; the test draws some of them again. Their deviation grows from .1 to .3.
PERCENTILES = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)
LEVELS_OF_LUNG_BOX = (-0.571, -0.146, -0.019, 0.130, 0.260, 0.399, 0.572, 0.789, 1.069, 1.374, 1.650, 1.796, 1.952)
STEEPEST, FLATTEST = (
    3.0,
    1 / 3,
)  # local slope, of the curve's mean: beyond, a quantile says more of anatomy than of tone
KNOTS = 1024  # of the table that the curve becomes
BEYOND = 3.0  # the curve goes on straight so far beyond its ends
LUNG_WIDTH_MM = LUNG_WIDTH_CM * 10


def box_slices(lungs: MaskImage) -> tuple[slice, slice]:
    """Rows and columns of the box around a mask that is not empty."""
    rows, columns = (np.flatnonzero(lungs.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def mm_per_px(radiograph: Radiograph, lungs: MaskImage) -> float:
    """Side of a pixel in the patient: from ImagerPixelSpacing or PixelSpacing, else the lungs are 250 mm wide."""
    for keyword in ("ImagerPixelSpacing", "PixelSpacing"):
        spacing = radiograph.ds.get(keyword)
        if spacing:
            return float(spacing[0])
    half_width = box_of(lungs)[3] * lungs.shape[0]  # `box_of` gives shares of the number of rows
    return float(LUNG_WIDTH_MM / max(2 * half_width, 1.0))


@dataclass(frozen=True, slots=True, eq=False)
class ToneCurve:
    """A rising curve between attenuation and P-values.

    Attributes
    ----------
    levels : (KNOTS,) attenuation, natural logarithm, rising.
    values : (KNOTS,) P-values, rising; straight, and beyond [0, 1], outside of what was seen.
    """

    levels: NDArray[np.float64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, pixels: FloatImage, lungs: MaskImage) -> Self:
        """The curve of one radiograph.

        Parameters
        ----------
        pixels : (rows, columns) P-values.
        lungs : (rows, columns), not empty.
        """
        known = np.array(LEVELS_OF_LUNG_BOX)
        found = np.percentile(pixels[box_slices(lungs)], PERCENTILES)
        slope = np.diff(found) / np.diff(known)
        mean = max(float(found[-1] - found[0]), 0.05) / float(known[-1] - known[0])
        slope = np.clip(slope, FLATTEST * mean, STEEPEST * mean)
        middle = len(known) // 2
        knots = np.r_[0.0, np.cumsum(slope * np.diff(known))]
        knots += found[middle] - knots[middle]
        ends = np.array([-BEYOND, BEYOND])
        known = np.r_[known[0] + ends[0], known, known[-1] + ends[1]]
        knots = np.r_[knots[0] + ends[0] * slope[0], knots, knots[-1] + ends[1] * slope[-1]]
        levels = np.linspace(known[0], known[-1], KNOTS)
        return cls(levels, PchipInterpolator(known, knots)(levels))

    def added(self, pixels: FloatImage, attenuation: FloatImage) -> FloatImage:
        """What ``attenuation`` (natural logarithm) adds to P-values; the sum stays in [0, 1].

        The curve may miss a pixel (it is no exact inverse), so it gives the change and not the pixel.
        """
        before = np.interp(pixels, self.values, self.levels)
        after = np.interp(before + attenuation, self.levels, self.values)
        change = after - np.interp(before, self.levels, self.values)
        bounded: FloatImage = (np.clip(pixels + change, 0, 1) - np.clip(pixels, 0, 1)).astype(np.float32)
        return bounded
