"""The detector: where a point of the body lands, and how mass becomes a map of areal density."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, special

__all__ = ["Canvas", "Cloud", "FloatArray", "RealArray", "fractal_noise", "join"]

FloatArray = NDArray[np.float32]
RealArray = NDArray[np.floating[Any]]  # coordinates on their way, in either precision
SUPERSAMPLING = 2
MARGIN_PX = 24  # tubes are drawn in the Fourier domain, which wraps: the margin takes what would come round


@dataclass(frozen=True, slots=True)
class Cloud:
    """Matter as points.

    ``points`` (N, 3) float32 in cm, x to the patient's left, y down, z to the back; ``mass`` (N,) float32 in g.
    """

    points: FloatArray
    mass: FloatArray


def join(clouds: list[Cloud]) -> Cloud:
    """One cloud of many; an empty list gives an empty cloud."""
    if not clouds:
        return Cloud(np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
    return Cloud(np.concatenate([c.points for c in clouds]), np.concatenate([c.mass for c in clouds]))


@dataclass(frozen=True, slots=True)
class Canvas:
    """A square detector seen from a point source.

    Attributes
    ----------
    size : rows and columns, px.
    fov_cm : side of the square in the plane z = 0.
    centre_cm : (x, y) of the body that lands in the middle.
    yaw_rad : rotation of the patient about the vertical axis.
    lordosis : cm that a point moves up for each cm further back (a tilted beam).
    source_cm : distance from the source to z = 0; positive with the source behind (PA), negative in front (AP).
    """

    size: int
    fov_cm: float
    centre_cm: tuple[float, float]
    yaw_rad: float = 0.0
    lordosis: float = 0.0
    source_cm: float = 160.0

    @property
    def pixel_cm(self) -> float:
        """Side of a pixel in the plane z = 0, cm."""
        return self.fov_cm / self.size

    def grid(self) -> tuple[FloatArray, FloatArray]:
        """Centres of the pixels: x (1, size) and y (size, 1), cm, float32."""
        axis = ((np.arange(self.size) + 0.5) / self.size - 0.5) * self.fov_cm
        x = (axis + self.centre_cm[0]).astype(np.float32)[None, :]
        y = (axis + self.centre_cm[1]).astype(np.float32)[:, None]
        return x, y

    def project(self, points: RealArray) -> tuple[RealArray, RealArray, RealArray]:
        """Where points (N, 3) land: column and row in px (pixel centres at .5), and their magnification."""
        c, s = np.float32(np.cos(self.yaw_rad)), np.float32(np.sin(self.yaw_rad))
        x = points[:, 0] * c + points[:, 2] * s
        z = points[:, 2] * c - points[:, 0] * s
        scale = np.float32(1) / (np.float32(1) - z / np.float32(self.source_cm))
        y = points[:, 1] - np.float32(self.lordosis) * z
        per_cm = np.float32(1 / self.pixel_cm)
        column = (x - np.float32(self.centre_cm[0])) * scale * per_cm + np.float32(self.size / 2)
        row = (y - np.float32(self.centre_cm[1])) * scale * per_cm + np.float32(self.size / 2)
        return column, row, scale

    def splat(self, cloud: Cloud) -> FloatArray:
        """Areal density (size, size) in g/cm2 of a cloud; the sum over the detector is its mass."""
        n = self.size * SUPERSAMPLING
        column, row, scale = self.project(cloud.points)
        j = np.floor(column * SUPERSAMPLING).astype(np.int32)
        i = np.floor(row * SUPERSAMPLING).astype(np.int32)
        inside = (i >= 0) & (i < n) & (j >= 0) & (j < n)
        weights = (cloud.mass * scale * scale)[inside]  # magnified matter keeps its thickness
        fine = np.bincount(i[inside] * np.int32(n) + j[inside], weights=weights, minlength=n * n).reshape(n, n)
        coarse = fine.reshape(self.size, SUPERSAMPLING, self.size, SUPERSAMPLING).sum(axis=(1, 3))
        return (ndimage.gaussian_filter(coarse, 0.45) / self.pixel_cm**2).astype(np.float32)

    def tubes(self, points: RealArray, radius_cm: RealArray, length_cm: RealArray, buckets: int = 10) -> FloatArray:
        """Path length (size, size) in cm through round tubes given by points of their centre lines.

        A line convolved with a uniform disc of radius r is the shadow of a cylinder of radius r; the disc is exact in
        the Fourier domain, 2 J1(kr) / kr, down to radii far below a pixel.
        """
        if len(points) == 0:
            return np.zeros((self.size, self.size), np.float32)
        n = fft.next_fast_len(self.size + 2 * MARGIN_PX, real=True)
        column, row, scale = self.project(points)
        volume = np.pi * radius_cm**2 * length_cm * scale * scale
        log_r = np.log(radius_cm)
        edges = np.linspace(log_r.min() - 1e-3, log_r.max() + 1e-3, buckets + 1)
        which = np.digitize(log_r, edges) - 1
        f = np.hypot(fft.fftfreq(n)[:, None], fft.rfftfreq(n)[None, :]).astype(np.float32)
        total = np.zeros(f.shape, np.complex64)
        for k in range(buckets):
            chosen = which == k
            if not chosen.any():
                continue
            radius_px = float(np.exp(0.5 * (edges[k] + edges[k + 1]))) / self.pixel_cm
            flat = _bilinear(column[chosen] + MARGIN_PX, row[chosen] + MARGIN_PX, volume[chosen], n)
            total += fft.rfft2(flat) * _disc(f, radius_px)
        image = fft.irfft2(total, s=(n, n))[MARGIN_PX : MARGIN_PX + self.size, MARGIN_PX : MARGIN_PX + self.size]
        return np.asarray(np.maximum(image, 0) / self.pixel_cm**2, dtype=np.float32)


def _disc(f: FloatArray, radius_px: float) -> FloatArray:
    k = np.maximum(2 * np.pi * f * radius_px, 1e-4)
    return np.asarray(2 * special.j1(k) / k * np.exp(-0.5 * (2 * np.pi * f * 0.45) ** 2), dtype=np.float32)


def _bilinear(column: RealArray, row: RealArray, weight: RealArray, n: int) -> FloatArray:
    x, y = column - np.float32(0.5), row - np.float32(0.5)
    j, i = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
    keep = (i >= 0) & (i < n - 1) & (j >= 0) & (j < n - 1)
    x, y, i, j, weight = x[keep], y[keep], i[keep], j[keep], weight[keep]
    u, v = x - j, y - i
    flat = np.zeros(n * n)
    for di, dj, share in ((0, 0, (1 - u) * (1 - v)), (0, 1, u * (1 - v)), (1, 0, (1 - u) * v), (1, 1, u * v)):
        flat += np.bincount((i + di) * n + j + dj, weights=weight * share, minlength=n * n)
    return flat.reshape(n, n).astype(np.float32)


def fractal_noise(
    rng: np.random.Generator, size: int, exponent: float, longest_px: float, shortest_px: float = 2.0
) -> FloatArray:
    """Gaussian noise (size, size), mean 0, standard deviation 1, with power falling as frequency ** -exponent.

    Wavelengths beyond ``longest_px`` and below ``shortest_px`` are damped.
    """
    f = np.hypot(fft.fftfreq(size)[:, None], fft.rfftfreq(size)[None, :]).astype(np.float32)
    low = np.float32(1 / longest_px)
    amplitude = (f * f + low * low) ** np.float32(-exponent / 4) * np.exp(-((f * np.float32(shortest_px / 2)) ** 2))
    amplitude[0, 0] = 0
    field = fft.irfft2(fft.rfft2(rng.standard_normal((size, size), dtype=np.float32)) * amplitude, s=(size, size))
    return np.asarray(field / (field.std() + 1e-9), dtype=np.float32)
