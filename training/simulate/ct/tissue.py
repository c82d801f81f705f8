"""Hounsfield units to matter: bone mineral, soft tissue, lung, and what is not the patient.

Bone is found by threshold and connectivity, or taken from a label map; it is split by its density into soft tissue and
mineral, and the mineral is what a twin without bone lacks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.simulate.canvas import FloatArray, RealArray

__all__ = ["CORTICAL_DENSITY", "SOFT_DENSITY", "Volume", "find_bone", "separate"]

Mask = NDArray[np.bool_]

SOFT_DENSITY, CORTICAL_DENSITY = 1.06, 1.92  # g/cm3
SOFT_HU, CORTICAL_HU = 40.0, 1500.0
BONE_HU, DENSE_HU, METAL_HU = 150.0, 260.0, 1850.0
CONTRAST_HU = 90.0  # a vein full of contrast medium is no normal soft tissue: capped
MIN_BONE_CM3, MIN_DENSE_CM3 = 1.0, 0.3  # a lead or a calcified node is smaller
MIN_VESSEL_CM3 = 1.5
HALVED_MM = 1.2
BRIDGE_MM = 2.1  # half the width of what is cut off the body
MIN_LUNG_CM3 = 250.0
AIR_HU, GAS_HU = -600.0, -940.0  # lungs are lighter than the one, heavier than the other
# TotalSegmentator's numbers: vertebrae; humeri, scapulae, clavicles; ribs and sternum.
BONE_LABELS = (*range(25, 51), *range(69, 75), *range(92, 117))
RAY_VOXEL_MM = 3.0  # voxels are joined along the rays up to this size: nobody sees the difference, rays cost half
BALL = ndimage.generate_binary_structure(3, 1)
CUBE = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """A thorax as densities on one grid; axes run to the patient's right, to the front and up (RAS+).

    Attributes
    ----------
    soft : (x, y, z) float32, g/cm3 without mineral.
    mineral : (x, y, z) float32, g/cm3 of cortical bone.
    lung : (x, y, z) float32, 1 in aerated lung.
    spacing_mm : (3,) float64.
    """

    soft: FloatArray
    mineral: FloatArray
    lung: FloatArray
    spacing_mm: NDArray[np.float64]


def separate(hu: FloatArray, spacing_mm: RealArray, labels: NDArray[np.integer] | None = None) -> Volume:
    """Separate mineral from soft tissue; table, clothes and leads outside the body are dropped.

    Parameters
    ----------
    hu : (x, y, z) in Hounsfield units, RAS+.
    labels : (x, y, z), a bone mask of 0 and 1 or the classes of TotalSegmentator; None finds bone by threshold.

    Raises
    ------
    ValueError
        The grids differ, or no body is in the volume.
    """
    if labels is not None and labels.shape != hu.shape:
        raise ValueError(f"the label map is {labels.shape} voxels, the scan {hu.shape}")
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    every = 2 if spacing[:2].max() < HALVED_MM else 1  # outlines need no sub-millimetre grid
    coarse, wide = hu[::every, ::every], spacing * (every, every, 1)
    outline = _body(coarse, wide)
    body = _finer(outline, every, hu.shape)
    hu = np.where(body, hu, np.float32(-1000))
    if labels is None:
        found, filled = find_bone(np.where(outline, coarse, np.float32(-1000)), wide)
        near = _finer(ndimage.binary_dilation(found) & ~filled, every, hu.shape)
        bone = _finer(found, every, hu.shape) | (near & (hu > BONE_HU))
        capped = _finer(ndimage.binary_dilation(filled) & ~found, every, hu.shape)
        hu = np.where(capped, np.minimum(hu, CONTRAST_HU), hu)
    else:
        marked = labels == 1 if labels.max() <= 1 else np.isin(labels, BONE_LABELS)
        bone = (ndimage.binary_dilation(marked) & (hu > CONTRAST_HU)) | (marked & (hu > SOFT_HU))
        hu = np.where(bone, hu, np.minimum(hu, CONTRAST_HU))
    return _densities(hu, bone, body, spacing)


def _finer(mask: Mask, every: int, shape: tuple[int, ...]) -> Mask:
    """A mask of every second voxel across and along, on all voxels again."""
    whole = np.repeat(np.repeat(mask, every, axis=0), every, axis=1)
    return np.asarray(whole[: shape[0], : shape[1]])


def _body(hu: FloatArray, spacing: NDArray[np.float64]) -> Mask:
    """The largest piece of matter, with its holes (lungs) filled slice by slice.

    Opening cuts thin bridges: sheets, the mat of the table, cables of electrodes.
    """
    pieces, count = ndimage.label(
        ndimage.binary_opening(hu > -350, iterations=max(1, round(BRIDGE_MM / float(spacing.min()))))
    )
    if not count:
        raise ValueError("there is no body in the volume: are the values Hounsfield units?")
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    body = pieces == int(sizes.argmax())
    for k in range(body.shape[2]):
        body[:, :, k] = ndimage.binary_fill_holes(body[:, :, k])
    return np.asarray(body)


def find_bone(hu: FloatArray, spacing_mm: RealArray) -> tuple[Mask, Mask]:
    """Bone with its marrow, and what is as bright but no bone: vessels full of contrast medium.

    Bone is connected matter above 150 HU that holds enough above 260 HU, less vessels and metal, closed and filled.

    Parameters
    ----------
    hu : (x, y, z), -1000 outside the body.
    """
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    voxel_cm3 = float(np.prod(spacing)) / 1000
    bright = hu > BONE_HU
    vessels = _vessels(hu, bright, spacing)
    pieces, _ = ndimage.label(bright & ~vessels, structure=CUBE)
    flat = pieces.ravel()
    size = np.bincount(flat)
    dense = np.bincount(flat, weights=(hu > DENSE_HU).ravel())
    metal = np.bincount(flat, weights=(hu > METAL_HU).ravel())
    kept = (size * voxel_cm3 > MIN_BONE_CM3) & (dense * voxel_cm3 > MIN_DENSE_CM3) & (metal < 0.15 * size)
    kept[0] = False
    bone = kept[pieces]
    closed = ndimage.binary_closing(bone, iterations=3)
    for k in range(closed.shape[2]):
        closed[:, :, k] = ndimage.binary_fill_holes(closed[:, :, k])
    return np.asarray(((closed & (hu > -150)) | bone) & ~vessels), vessels


def _vessels(hu: FloatArray, bright: Mask, spacing: NDArray[np.float64]) -> Mask:
    """Heart and great vessels full of contrast medium: thick, even, between the lungs, and not the spine."""
    lung = hu < -600
    between = np.logical_or.accumulate(lung & (hu > -980), axis=0)
    between &= np.logical_or.accumulate((lung & (hu > -980))[::-1], axis=0)[::-1]
    thin = max(1, round(2.0 / float(spacing.min())))  # contacts up to 4 mm wide are cut
    cores, count = ndimage.label(ndimage.binary_erosion(bright, BALL, iterations=thin))
    if not count:
        return np.zeros_like(bright)
    flat, numbers = cores.ravel(), np.arange(count + 1)
    size = np.maximum(np.bincount(flat, minlength=count + 1), 1)
    inside = np.bincount(flat, weights=between.ravel(), minlength=count + 1) / size
    mean, spread = ndimage.mean(hu, cores, numbers), ndimage.standard_deviation(hu, cores, numbers)
    even = spread < 0.22 * np.maximum(mean, 1)
    large = size * float(np.prod(spacing)) / 1000 > MIN_VESSEL_CM3
    vessel = (inside > 0.85) & even & large & ~_in_spine(hu, bright, cores, count, spacing)
    vessel[0] = False
    return np.asarray(ndimage.binary_dilation(vessel[cores], BALL, iterations=thin + 2) & bright)


def _in_spine(
    hu: FloatArray, bright: Mask, cores: NDArray[np.integer], count: int, spacing: NDArray[np.float64]
) -> Mask:
    """Which pieces have their middle where vertebrae are: near the midline, in the back half of the body."""
    rows = np.nonzero((hu > -350).any(axis=(0, 2)))[0]
    back, front = int(rows[0]), int(rows[-1])
    behind = np.nonzero(bright[:, back : back + (front - back) // 4].any(axis=(1, 2)))[0]
    middle = float(behind.mean()) if len(behind) else hu.shape[0] / 2
    centres = np.array([(np.nan,) * 3, *ndimage.center_of_mass(cores > 0, cores, np.arange(1, count + 1))])
    across = np.abs(centres[:, 0] - middle) * spacing[0] < 20
    return np.asarray(across & (centres[:, 1] < back + 0.47 * (front - back)))


def _densities(hu: FloatArray, bone: Mask, body: Mask, spacing: NDArray[np.float64]) -> Volume:
    share = np.clip((hu - SOFT_HU) / (CORTICAL_HU - SOFT_HU), 0, 1.3) * bone
    soft = np.where(bone, (1 - np.minimum(share, 1)) * SOFT_DENSITY, np.clip(1 + hu / 1000, 0, 2.5) * 1.03)
    lung = _lungs(hu, body, spacing)
    join = max(1, int(RAY_VOXEL_MM / spacing[1]))
    thick = np.array([spacing[0], spacing[1] * join, spacing[2]])
    soft, mineral, air = (_join(np.asarray(p, dtype=np.float32), join) for p in (soft, share * CORTICAL_DENSITY, lung))
    return Volume(soft, mineral, air, thick)


def _lungs(hu: FloatArray, body: Mask, spacing: NDArray[np.float64]) -> Mask:
    """Large pieces of air in the body, less a stomach or colon full of gas: where lungs hold tissue, gas does not."""
    air = (hu < AIR_HU) & body
    coarse, values = air[::3, ::3, ::2], hu[::3, ::3, ::2]
    pieces, count = ndimage.label(coarse)
    size = np.bincount(pieces.ravel())
    mean = np.bincount(pieces.ravel(), weights=values.ravel()) / size
    large = size * float(np.prod(spacing)) * 18 / 1000 > MIN_LUNG_CM3
    large[0] = False
    if count and large.any() and mean[int(np.where(large, size, 0).argmax())] > GAS_HU:
        large &= mean > GAS_HU
    kept = ndimage.binary_dilation(large[pieces], CUBE)
    kept = np.repeat(np.repeat(np.repeat(kept, 3, 0), 3, 1), 2, 2)
    return np.asarray(kept[: air.shape[0], : air.shape[1], : air.shape[2]] & air)


def _join(values: FloatArray, many: int) -> FloatArray:
    """Mean of neighbours along the second axis; what is left over at its end is air."""
    depth = values.shape[1] // many
    cut = values[:, : depth * many]
    return np.ascontiguousarray(cut.reshape(len(values), depth, many, -1).mean(axis=2), dtype=np.float32)
