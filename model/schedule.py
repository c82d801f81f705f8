"""Cosine noise schedule in continuous time, and the times a sampler visits.

``x_t = alpha_t * x_0 + sigma_t * noise`` with ``t`` from 0 (clean) to 1 (noise). NumPy only: a sampler needs one pair
of numbers per step and a training loop one per sample, so neither has to run where the network runs.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["alpha_sigma", "timesteps"]

OFFSET = 0.008  # s of Nichol & Dhariwal: keeps the first noise level away from 0
SMALLEST_ALPHA = 1e-3  # an eps-model divides by alpha; Nichol & Dhariwal cap beta at .999 for the same reason


def alpha_sigma(t: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Signal and noise scale of the cosine schedule.

    Parameters
    ----------
    t : (B,) float32 in [0, 1]; 0 is clean, 1 is noise.

    Returns
    -------
    alpha_t, sigma_t : (B,) float32, ``alpha_t**2 + sigma_t**2 == 1``; alpha falls from 1 to 1e-3.

    Raises
    ------
    ValueError
        A time lies outside [0, 1].

    References
    ----------
    Nichol & Dhariwal (2021), eq. 17; their alpha-bar is ``alpha_t**2`` here.
    """
    time = np.asarray(t, dtype=np.float64)
    if np.any((time < 0) | (time > 1)) or not np.all(np.isfinite(time)):
        raise ValueError("diffusion time must lie in [0, 1]")
    angle = (time + OFFSET) / (1 + OFFSET) * np.pi / 2
    first = OFFSET / (1 + OFFSET) * np.pi / 2
    alpha = np.clip(np.cos(angle) / np.cos(first), SMALLEST_ALPHA, 1.0)
    return alpha.astype(np.float32), np.sqrt(1.0 - alpha**2).astype(np.float32)


def timesteps(steps: int) -> NDArray[np.float32]:
    """Times that a sampler of ``steps`` network evaluations visits.

    Returns
    -------
    (steps + 1,) float32, evenly spaced and descending from 1 to 0; the network is not evaluated at the last one.

    Raises
    ------
    ValueError
        ``steps`` is below 1.
    """
    if steps < 1:
        raise ValueError("a sampler needs at least one step")
    return np.linspace(1.0, 0.0, steps + 1, dtype=np.float32)
