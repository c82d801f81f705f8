"""From matter to the logarithm of what the detector sees, with and without bone.

Mass attenuation coefficients and spectra: NIST (Hubbell and Seltzer), for the beams behind 15 cm of water.
"""

from dataclasses import dataclass

import numpy as np

from training.simulate.backend import NUMPY, Array, Backend, smooth

__all__ = ["Exposure", "draw_exposure", "expose"]

ENERGIES_KEV = np.array([40.0, 50.0, 60.0, 70.0, 100.0], np.float32)
MU_SOFT = np.array([0.269, 0.226, 0.205, 0.192, 0.169], np.float32)  # cm2/g
MU_BONE = np.array([0.666, 0.424, 0.315, 0.257, 0.186], np.float32)  # cm2/g, cortical
DISPLACED = 1.06 / 1.92  # g of soft tissue in the volume of one g of bone: it is replaced, not deleted
SPECTRUM_60_KVP = np.array([0.5, 0.38, 0.12, 0.0, 0.0], np.float32)
SPECTRUM_120_KVP = np.array([0.1, 0.2, 0.25, 0.25, 0.2], np.float32)


@dataclass(frozen=True, slots=True)
class Exposure:
    """One shot: tube voltage, share of scatter, blur (Gaussian sigma), noise of the logarithm at mean exposure."""

    kvp: float
    scatter: float
    scatter_px: float
    blur_px: float
    noise: float
    noise_grain_px: float


def draw_exposure(rng: np.random.Generator, size: int) -> Exposure:
    """Draw a shot; most chests are taken at high voltage."""
    return Exposure(
        kvp=float(np.clip(rng.normal(112, 15), 60, 120)),
        scatter=float(rng.uniform(0.08, 0.65)),
        scatter_px=float(rng.uniform(0.06, 0.16)) * size,
        blur_px=float(rng.uniform(0.25, 0.85)) * size / 512,
        noise=float(np.exp(rng.uniform(np.log(0.002), np.log(0.022)))),
        noise_grain_px=float(rng.uniform(0, 0.7)),
    )


def expose(
    soft: Array, bone: Array, exposure: Exposure, rng: np.random.Generator, on: Backend = NUMPY
) -> tuple[Array, Array]:
    """-log of the exposure (size, size) with bone and with soft tissue in its place.

    Scatter and noise are those of the real shot in both: they change nothing where there is no bone. ``soft`` and
    ``bone`` (size, size) in g/cm2 belong to the backend ``on``; the noise comes from NumPy on every device.
    """
    share = (exposure.kvp - 60) / 60
    spectrum = (1 - share) * SPECTRUM_60_KVP + share * SPECTRUM_120_KVP
    with_bone, without = 0.0, 0.0
    for weight, mu_soft, mu_bone in zip(spectrum.tolist(), MU_SOFT.tolist(), MU_BONE.tolist(), strict=True):
        if weight <= 0:
            continue
        primary = weight * on.exp(-mu_soft * soft)
        without = without + primary
        with_bone = with_bone + primary * on.exp(-(mu_bone - mu_soft * DISPLACED) * bone)
    haze = exposure.scatter * smooth(with_bone, exposure.scatter_px, on) + 1e-6
    seen, twin = (on.blur(image, exposure.blur_px, truncate=3.0) + haze for image in (with_bone, without))
    grain = rng.standard_normal(tuple(soft.shape), dtype=np.float32)
    if exposure.noise_grain_px > 0.3:
        grain = NUMPY.blur(grain, exposure.noise_grain_px, truncate=3.0)
    noise = on.take(grain) * exposure.noise * (on.percentile(seen, 50) / seen) ** 0.5
    return -on.log(seen) + noise, -on.log(twin) + noise
