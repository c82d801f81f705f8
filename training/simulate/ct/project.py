"""Rays through a volume: maps of areal density of a patient in any pose and build."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.simulate.anatomy import BONE_LAYERS, Anatomy
from training.simulate.canvas import FloatArray, RealArray
from training.simulate.ct.pose import STRAIGHT, Pose
from training.simulate.ct.tissue import CORTICAL_DENSITY, SOFT_DENSITY, Volume

__all__ = ["Sampler", "project"]

RAY_STEP_MM = 3.0
COARSE = 32  # cells of the coordinate grid: the pose is smooth, so it is interpolated between them
SLAB = 8  # ray steps at a time, which bounds the memory
LUNG_CM = 3.0  # less air than that is no lung field
SCANNER_BLUR_PX = 1.1
FADE_MM = 10.0


Sampler = Callable[[FloatArray], FloatArray]
"""Voxel coordinates (3, depths, n, n) -> sums over the depths of soft tissue, mineral and lung, (3, n, n)."""


def project(
    volume: Volume, pose: Pose = STRAIGHT, size: int = 512, seed: int = 0, sampler: Sampler | None = None
) -> Anatomy:
    """Perspective projection at a pose; the patient's right is on the left of the picture.

    A short scan does not end in black: below its last slice it is mirrored, above its first the soft tissue goes on
    as it was and the bones fade.

    Parameters
    ----------
    size : rows and columns of the maps, px.
    seed : what the anatomy is named after.
    sampler : reads the volume between its voxels; `training.raycast.TorchSampler` is faster and runs on GPUs.

    Returns
    -------
    Anatomy with ``air``, the path through lung in cm.
    """
    rays = _Rays(volume, pose, size)
    soft, mineral, lung = rays.sum_with(sampler or partial(_sample, volume))
    filled = soft + mineral * np.float32(SOFT_DENSITY / CORTICAL_DENSITY)  # soft tissue where the bones are
    bones = np.zeros((len(BONE_LAYERS), size, size), np.float32)  # one layer of them all: a scan does not name them
    bones[0] = _sharpen(mineral, pose.sharpen) * rays.fade()
    return Anatomy(_sharpen(filled, pose.sharpen), bones, lung > LUNG_CM, seed, air=lung)


def _sample(volume: Volume, at: FloatArray) -> FloatArray:
    fields = (volume.soft, volume.mineral, volume.lung)
    return np.stack([ndimage.map_coordinates(f, at, order=1, output=np.float32).sum(axis=0) for f in fields])


def _sharpen(image: FloatArray, amount: float) -> FloatArray:
    """Undo some of the blur of voxels, which real projections do not have; never below zero."""
    if not amount:
        return image
    blurred = ndimage.gaussian_filter(image, SCANNER_BLUR_PX)
    return np.asarray(np.maximum(image + np.float32(amount) * (image - blurred), 0), dtype=np.float32)


class _Rays:
    """Where the rays run: exactly on a coarse grid, between its knots by interpolation."""

    def __init__(self, volume: Volume, pose: Pose, size: int) -> None:
        self.volume, self.pose, self.hat = volume, pose, _hat(size)
        half = pose.fov_mm / 2
        knots = np.linspace(-half, half, COARSE + 1)
        self.across, self.upward = np.meshgrid(knots + pose.shift_mm[0], knots + pose.shift_mm[1], indexing="ij")
        self.turn = _rotation(np.array(pose.angles_rad))

    def sum_with(self, sampler: Sampler) -> FloatArray:
        """Path integrals (3, size, size) of soft tissue and mineral in g/cm2 and of lung in cm."""
        depth_mm = self.volume.soft.shape[1] * self.volume.spacing_mm[1] * self.pose.size[1]
        depth_mm *= 1 + abs(self.pose.angles_rad[2])
        depths_mm = np.arange(-depth_mm / 2, depth_mm / 2, RAY_STEP_MM) + RAY_STEP_MM / 2
        total = np.zeros((3, len(self.hat), len(self.hat)), np.float32)
        for start in range(0, len(depths_mm), SLAB):
            at = np.stack([self.coordinates(depth) for depth in depths_mm[start : start + SLAB]], axis=1)
            last = self.volume.soft.shape[2] - 1
            at[2] = np.clip(np.abs(at[2]), 0, last)  # mirrored below, going on above
            total += sampler((self.hat @ at @ self.hat.T).astype(np.float32))
        slant = np.sqrt(1 + (self.across**2 + self.upward**2) / self.pose.source_mm**2)
        return self._picture(total * self._fine(slant * (RAY_STEP_MM / 10)))

    def coordinates(self, depth_mm: float) -> FloatArray:
        """Voxel coordinates (3, knots, knots) of one sample on every coarse ray, x and z along the last axes."""
        spread = 1 + depth_mm / self.pose.source_mm  # a tube behind: rays part towards the front
        points = np.stack([self.across * spread, np.full_like(self.across, depth_mm), self.upward * spread])
        source = self.pose.source_points(np.einsum("ij,jkl->ikl", self.turn, points))
        shape = np.array(self.volume.soft.shape)[:, None, None]
        return np.asarray(source / self.volume.spacing_mm[:, None, None] + (shape - 1) / 2, dtype=np.float32)

    def fade(self) -> FloatArray:
        """1 within the scan, falling to 0 above its first slice (size, size)."""
        above_mm = (self.coordinates(0.0)[2] - (self.volume.soft.shape[2] - 1)) * self.volume.spacing_mm[2]
        return self._picture(self._fine(np.exp(-np.maximum(above_mm, 0) / FADE_MM)))

    def _fine(self, coarse: RealArray) -> FloatArray:
        return np.asarray(self.hat @ coarse @ self.hat.T, dtype=np.float32)

    def _picture(self, maps: FloatArray) -> FloatArray:
        """(..., x, z) to (..., row, column): up is up, the patient's right is on the left."""
        return np.ascontiguousarray(np.swapaxes(maps[..., ::-1, ::-1], -1, -2))


def _hat(size: int) -> FloatArray:
    """Linear interpolation from the coarse knots, which span the map from edge to edge, to pixels."""
    at = (np.arange(size) + 0.5) / size * COARSE
    low = np.minimum(at.astype(int), COARSE - 1)
    matrix = np.zeros((size, COARSE + 1), np.float32)
    matrix[np.arange(size), low] = 1 - (at - low)
    matrix[np.arange(size), low + 1] = at - low
    return matrix


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pitch, roll and yaw, radians -> (3, 3)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    pitch = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    roll = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    yaw = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(pitch @ roll @ yaw)
