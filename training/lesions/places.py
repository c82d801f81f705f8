"""Where lesions go: in the lungs, apart from each other, behind ribs and between them."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, label, uniform_filter

from pacs_node.records import FloatImage, MaskImage

__all__ = ["PLACES", "Place", "bone_mask", "covered_share", "place_of", "places_for", "two_lungs"]

Place = Literal["between ribs", "behind ribs", "across an edge"]
PLACES: tuple[Place, ...] = ("between ribs", "behind ribs", "across an edge")
HIGHPASS = 16 / 512  # of the longer side: what is left of a layer is ribs, not the brightness of a region
BONE = 0.2  # of the layer's 95th percentile in the lungs
MOSTLY, HARDLY = 0.65, 0.2  # share of a lesion's disc that bone covers: behind ribs, between ribs
APART_MM = 25.0  # between the edges of two lesions: the high-pass of the shipped layer is about 13 mm wide
MARGIN_MM = 3.0  # to the edge of the lung


def two_lungs(lungs: MaskImage) -> list[MaskImage]:
    """The parts of a lung mask that are a tenth of it or more, from left to right."""
    labels, count = label(lungs)
    parts = [labels == number for number in range(1, count + 1)]
    parts = [part for part in parts if part.sum() > 0.1 * lungs.sum()]
    return sorted(parts, key=lambda part: float(np.flatnonzero(part.any(axis=0)).mean()))


def bone_mask(layer: FloatImage, lungs: MaskImage) -> MaskImage:
    """Where a layer of bone shows a rib, (rows, columns).

    Parameters
    ----------
    layer : (rows, columns), radiograph minus soft tissue; true or predicted, with or without its low frequencies.
    """
    layer = gaussian_filter(layer, max(layer.shape) / 512)
    ribs = layer - gaussian_filter(layer, HIGHPASS * max(layer.shape))
    strong = float(np.percentile(ribs[lungs], 95)) if lungs.any() else 0.0
    return np.asarray(ribs > max(BONE * strong, 1e-4), dtype=bool)


def covered_share(bone: MaskImage, radius_px: float) -> NDArray[np.float32]:
    """Share of a square about as large as a disc around each pixel that is bone."""
    side = max(1, round(radius_px * float(np.sqrt(np.pi))))
    return np.asarray(uniform_filter(bone.astype(np.float32), side, mode="nearest"))


def place_of(share: float) -> Place:
    """What a lesion with this share of bone before it is called."""
    return "behind ribs" if share >= MOSTLY else "between ribs" if share <= HARDLY else "across an edge"


def places_for(
    rng: np.random.Generator, lungs: MaskImage, bone: MaskImage, wanted: Sequence[tuple[float, Place]], mm: float
) -> list[tuple[int, int, Place] | None]:
    """A centre for each lesion, as wanted where the lungs have such a place.

    Parameters
    ----------
    wanted : radius in mm, and where it should lie.

    Returns
    -------
    row, column and what the place is; None where nothing is left. Large lesions may find no place between two ribs:
    they get one that they cross.
    """
    depth = distance_transform_edt(np.pad(lungs, 1))[1:-1, 1:-1] * mm
    free = np.ones_like(lungs)
    y, x = (np.arange(size, dtype=np.float32) for size in lungs.shape)
    found: list[tuple[int, int, Place] | None] = []
    for radius_mm, place in wanted:
        share = covered_share(bone, radius_mm / mm)
        # a large one may overlap the edge of the lung by a third of its radius, as pleural ones do
        inside = (depth > MARGIN_MM + 0.66 * radius_mm) & free
        fits = {"behind ribs": share >= MOSTLY, "between ribs": share <= HARDLY, "across an edge": inside}[place]
        rows, columns = np.nonzero(inside & fits)
        if not len(rows):
            rows, columns = np.nonzero(inside)
        if not len(rows):
            found.append(None)
            continue
        index = int(rng.integers(len(rows)))
        at = int(rows[index]), int(columns[index])
        found.append((*at, place_of(float(share[at]))))
        far = np.hypot((y - at[0])[:, None], (x - at[1])[None, :]) * mm
        free &= far > radius_mm + APART_MM + max(radius for radius, _ in wanted)
    return found
