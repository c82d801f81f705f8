"""What is left of a lesion: contrast and shape, before and after, with and without the same radiograph to compare with.

Four images: the radiograph without and with lesions, and what the network makes of each from the same noise. Their
differences show the lesion alone ("paired"); the images with lesions show what a reader sees.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, label
from scipy.signal import fftconvolve

from pacs_node.records import FloatImage, MaskImage
from training.lesions.shapes import Shadow

__all__ = ["FALSE_STEP", "FalseStructures", "Four", "Remains", "false_structures", "remains"]

SUPPORT = 0.05  # of the lesion's largest density: where it is
RING_MM = (1.0, 5.0)  # beyond the support
AROUND_MM = 15.0  # from the centre of a nodule to where its surroundings end, beside its own radius
FALSE_STEP = 0.02  # of the anatomy's range: five grey levels in 256, about what is seen in a lung
FALSE_MM2 = 7.0  # a disc of 3 mm
AWAY_MM = 8.0  # from every lesion


@dataclass(frozen=True, slots=True, eq=False)
class Four:
    """Radiograph and companion without and with lesions, (rows, columns) float32 P-values each; ``mm`` of a pixel."""

    before: FloatImage
    after: FloatImage
    before_with: FloatImage
    after_with: FloatImage
    mm: float


@dataclass(frozen=True, slots=True)
class Remains:
    """Figures of one lesion; contrasts are the mean over its core less the mean over a ring, in P-values.

    Attributes
    ----------
    contrast_in, contrast_out : of the paired differences.
    kept : contrast_out / contrast_in.
    projected : share of the inserted shadow in what came out, least squares over lesion and ring.
    correlation : Pearson, of the paired differences over lesion and ring.
    dice : of the cores: what is brighter than half of its own height.
    read_in, read_out : contrast in the images with the lesion, as a reader sees it: what lies there anyway counts too.
    clutter_in, clutter_out : deviation of the same contrast (core less ring) where it is measured in the surroundings,
        without any lesion: ribs, vessels and noise of the lesion's own size. NaN for what is no nodule.
    """

    contrast_in: float
    contrast_out: float
    kept: float
    projected: float
    correlation: float
    dice: float
    read_in: float
    read_out: float
    clutter_in: float
    clutter_out: float

    @property
    def to_noise_gain(self) -> float:
        """Contrast to the surroundings' deviation, after over before."""
        return self.kept * self.clutter_in / max(self.clutter_out, 1e-6)


@dataclass(frozen=True, slots=True)
class FalseStructures:
    """What the network changed away from every lesion because of them: blobs beyond a step, and the largest step."""

    blobs: int
    strongest: float  # share of the anatomy's range


def remains(four: Four, shadow: Shadow) -> Remains:
    """Measure one lesion."""
    window, mark = _wider(four, shadow, RING_MM[1])
    came_in = four.before_with[window] - four.before[window]
    came_out = four.after_with[window] - four.after[window]
    core, support = mark >= 0.5 * mark.max(), mark >= SUPPORT * mark.max()
    away = distance_transform_edt(~support) * four.mm
    ring = (away > RING_MM[0]) & (away <= RING_MM[1])
    if shadow.beside is not None:
        ring &= _laid(shadow.beside, shadow, window)
    whole = support | ring
    contrast_in, contrast_out = (float(d[core].mean() - d[ring].mean()) for d in (came_in, came_out))
    read_in, read_out = (
        float(image[window][core].mean() - image[window][ring].mean()) for image in (four.before_with, four.after_with)
    )
    clutter = _clutter(four, shadow, core, ring) if shadow.is_compact else (float("nan"), float("nan"))
    energy = float(np.sum(came_in[whole] ** 2))
    return Remains(
        contrast_in=contrast_in,
        contrast_out=contrast_out,
        kept=contrast_out / contrast_in if abs(contrast_in) > 1e-6 else float("nan"),
        projected=float(np.sum(came_in[whole] * came_out[whole])) / energy if energy else float("nan"),
        correlation=_correlation(came_in[whole], came_out[whole]),
        dice=_dice(came_in, came_out, core, support),
        read_in=read_in,
        read_out=read_out,
        clutter_in=clutter[0],
        clutter_out=clutter[1],
    )


def _clutter(four: Four, shadow: Shadow, core: MaskImage, ring: MaskImage) -> tuple[float, float]:
    """Deviation of the contrast that core and ring measure at the places around, in radiograph and companion."""
    window, _ = _wider(four, shadow, RING_MM[1] + AROUND_MM)
    kernel = (core / core.sum() - ring / ring.sum()).astype(np.float32)[::-1, ::-1]
    if any(part.stop - part.start < size for part, size in zip(window, kernel.shape, strict=True)):
        return float("nan"), float("nan")
    before, after = (fftconvolve(image[window], kernel, mode="valid") for image in (four.before, four.after))
    return float(before.std()), float(after.std())


def _wider(four: Four, shadow: Shadow, by_mm: float) -> tuple[tuple[slice, slice], FloatImage]:
    """The shadow's window with its surroundings, and its mark there."""
    reach = int(np.ceil(by_mm / four.mm)) + 1
    spans = [
        (max(part.start - reach, 0), min(part.stop + reach, size))
        for part, size in zip(shadow.window, four.before.shape, strict=True)
    ]
    window = slice(*spans[0]), slice(*spans[1])
    return window, _laid(shadow.mark, shadow, window)


def _laid(image: NDArray[Any], shadow: Shadow, window: tuple[slice, slice]) -> NDArray[Any]:
    """An image of the shadow's window in a larger one; 0 around it."""
    laid = np.zeros([part.stop - part.start for part in window], image.dtype)
    where = (slice(p.start - w.start, p.stop - w.start) for p, w in zip(shadow.window, window, strict=True))
    laid[tuple(where)] = image
    return laid


def _correlation(a: FloatImage, b: FloatImage) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt(np.sum(a * a) * np.sum(b * b)))
    return float(np.sum(a * b)) / size if size > 0 else float("nan")


def _dice(came_in: FloatImage, came_out: FloatImage, core: MaskImage, support: MaskImage) -> float:
    """Overlap of what is above half of its height, the mean over the core's brighter half; NaN for what darkens."""
    if float(came_in[core].mean()) <= 0:
        return float("nan")  # the pleura of a pneumothorax lies in less lung than before
    areas = []
    for image in (came_in, came_out):
        height = float(np.mean(np.sort(image[core])[core.sum() // 2 :]))
        areas.append((image >= 0.5 * height) & support if height > 0 else np.zeros_like(core))
    total = int(areas[0].sum() + areas[1].sum())
    return 2 * int((areas[0] & areas[1]).sum()) / total if total else 0.0


def false_structures(four: Four, shadows: list[Shadow], spread: float) -> FalseStructures:
    """Count what changed in the companion beyond the lesions that were put in.

    Parameters
    ----------
    spread : range of the anatomy, P-values.
    """
    lesions = np.zeros(four.before.shape, dtype=bool)
    for shadow in shadows:
        lesions[shadow.window] |= np.abs(shadow.grams) > SUPPORT * float(np.abs(shadow.grams).max())
    away = distance_transform_edt(~lesions) * four.mm > AWAY_MM
    made = (four.after_with - four.after) - (four.before_with - four.before)
    change = np.abs(gaussian_filter(made, 1.0 / four.mm)) / np.float32(spread)
    labels, count = label((change > FALSE_STEP) & away)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:] * four.mm**2
    return FalseStructures(int(np.sum(sizes >= FALSE_MM2)), float(change[away].max(initial=0.0)))
