"""Projections of thorax CT: real bones and real vessels as an `Anatomy`, from NIfTI volumes in Hounsfield units.

Bone is found by threshold and connectivity (or a label map of TotalSegmentator's classes), split by its density into
soft tissue and mineral, and the mineral is what a twin without bone lacks.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.simulate.anatomy import Anatomy

__all__ = ["Volume", "find_bone", "load_volume", "project"]

SOFT_DENSITY, CORTICAL_DENSITY = 1.06, 1.92  # g/cm3
SOFT_HU, CORTICAL_HU = 40.0, 1500.0
CONTRAST_HU = 90.0  # a vein full of contrast medium is no normal soft tissue: capped
BONE_LABELS = (*range(29, 48), *range(69, 75), *range(92, 117))  # vertebrae; humeri, scapulae, clavicles; ribs, sternum
MIN_BONE_CM3, MIN_DENSE_CM3 = 1.0, 0.3  # a lead or a calcified node is smaller
RAY_STEP_MM = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """A thorax as two densities on one grid; axes run to the patient's right, to the front and up (RAS+).

    Attributes
    ----------
    soft : (x, y, z) float32, g/cm3 without mineral.
    mineral : (x, y, z) float32, g/cm3 of cortical bone.
    lung : (x, y, z) float32, 1 in aerated lung.
    spacing_mm : (3,) float64.
    """

    soft: NDArray[np.float32]
    mineral: NDArray[np.float32]
    lung: NDArray[np.float32]
    spacing_mm: NDArray[np.float64]


def load_volume(path: Path, labels: Path | None = None) -> Volume:
    """Read a NIfTI file in HU and separate mineral from soft tissue; table and leads outside the body are dropped.

    Raises
    ------
    OSError, nibabel.filebasedimages.ImageFileError
        Not a readable NIfTI file.
    """
    import nibabel  # noqa: PLC0415 - only researchers need it

    image = nibabel.as_closest_canonical(nibabel.load(path))
    hu = np.asarray(image.dataobj, dtype=np.float32)
    spacing = np.asarray(image.header.get_zooms()[:3], dtype=np.float64)
    body = _body(hu)
    hu[~body] = -1000
    if labels is None:
        bone = find_bone(hu, float(np.prod(spacing)) / 1000)
    else:
        marked = np.isin(np.asarray(nibabel.as_closest_canonical(nibabel.load(labels)).dataobj), BONE_LABELS)
        bone = (ndimage.binary_dilation(marked) & (hu > CONTRAST_HU)) | (marked & (hu > SOFT_HU))
        hu = np.where(bone, hu, np.minimum(hu, CONTRAST_HU))
    return _separate(hu, bone, body, spacing)


def _body(hu: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The largest piece of matter, with its holes (lungs) filled slice by slice."""
    matter = ndimage.binary_opening(hu > -350, iterations=3)
    pieces, _ = ndimage.label(matter)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    body = pieces == int(sizes.argmax())
    for k in range(body.shape[2]):
        body[:, :, k] = ndimage.binary_fill_holes(body[:, :, k])
    return np.asarray(body)


def find_bone(hu: NDArray[np.float32], voxel_cm3: float) -> NDArray[np.bool_]:
    """Bone with its marrow: connected matter above 150 HU that holds enough above 260 HU, closed and filled.

    Parameters
    ----------
    hu : (x, y, z), -1000 outside the body.
    voxel_cm3 : volume of a voxel.
    """
    pieces, _ = ndimage.label(hu > 150, structure=np.ones((3, 3, 3)))
    size = np.bincount(pieces.ravel()) * voxel_cm3
    dense = np.bincount(pieces.ravel(), weights=(hu > 260).ravel()) * voxel_cm3
    kept = (size > MIN_BONE_CM3) & (dense > MIN_DENSE_CM3)
    kept[0] = False
    bone = kept[pieces]
    closed = ndimage.binary_closing(bone, iterations=3)
    for k in range(closed.shape[2]):
        closed[:, :, k] = ndimage.binary_fill_holes(closed[:, :, k])
    return np.asarray((closed & (hu > -150)) | bone)


def _separate(
    hu: NDArray[np.float32], bone: NDArray[np.bool_], body: NDArray[np.bool_], spacing: NDArray[np.float64]
) -> Volume:
    share = np.clip((hu - SOFT_HU) / (CORTICAL_HU - SOFT_HU), 0, 1.3) * bone
    soft = np.where(bone, (1 - np.minimum(share, 1)) * SOFT_DENSITY, np.clip(1 + hu / 1000, 0, 1.4) * 1.03)
    lung = (hu > -980) & (hu < -600) & body
    return Volume(
        soft.astype(np.float32), (share * CORTICAL_DENSITY).astype(np.float32), lung.astype(np.float32), spacing
    )


def project(volume: Volume, seed: int, size: int = 512) -> Anatomy:
    """Parallel projection from back to front at a random pose and field of view; the patient's right is on the left.

    Parameters
    ----------
    seed : the pose; 0 is straight.
    size : rows and columns of the maps, px.
    """
    rng = np.random.default_rng([seed, 0xC7])
    angles = np.deg2rad(rng.normal(0, [5, 2.5, 5])) * (seed != 0)
    spacing = np.array([rng.uniform(330, 400) / size] * 3)
    spacing[1] = RAY_STEP_MM
    shape = np.array([size, int(volume.soft.shape[1] * volume.spacing_mm[1] / RAY_STEP_MM), size])
    shift_mm = rng.normal(0, [8, 0, 8])
    to_voxels = _rotation(angles) * spacing / volume.spacing_mm[:, None]
    centre = (np.array(volume.soft.shape) - 1) / 2 + shift_mm / volume.spacing_mm
    offset = centre - to_voxels @ ((shape - 1) / 2)
    soft, mineral, lung = (
        _sum_along_rays(values, to_voxels, offset, shape) for values in (volume.soft, volume.mineral, volume.lung)
    )
    bones = np.zeros((3, size, size), np.float32)
    bones[0] = mineral
    filled = soft + mineral * np.float32(SOFT_DENSITY / CORTICAL_DENSITY)  # soft tissue where the bones are
    return Anatomy(filled, bones, lung > 3.0, seed)


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pitch, roll and yaw, radians -> (3, 3)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    pitch = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    roll = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    yaw = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(pitch @ roll @ yaw)


def _sum_along_rays(
    values: NDArray[np.float32], to_voxels: NDArray[np.float64], offset: NDArray[np.float64], shape: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Path integral (size, size) in units of ``values`` times cm, a few ray steps at a time to bound memory."""
    total = np.zeros((shape[0], shape[2]), np.float32)
    for start in range(0, int(shape[1]), 48):
        slab = (int(shape[0]), min(48, int(shape[1]) - start), int(shape[2]))
        at = offset + to_voxels @ np.array([0, start, 0])
        total += ndimage.affine_transform(values, to_voxels, at, output_shape=slab, order=1, cval=0).sum(axis=1)
    return np.ascontiguousarray(total[::-1, ::-1].T * np.float32(RAY_STEP_MM / 10))
