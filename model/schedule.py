"""Noise schedules in continuous time, and the times a sampler visits.

``x_t = alpha_t * x_0 + sigma_t * noise`` with ``t`` from 0 (clean) to 1 (noise). NumPy only: a sampler needs one pair
of numbers per step and a training loop one per sample, so neither has to run where the network runs.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["DISCRETE_STEPS", "ScheduleName", "alpha_sigma", "timesteps"]

ScheduleName = Literal["cosine", "linear", "linear_bsldm"]

OFFSET = 0.008  # s of Nichol & Dhariwal: keeps the first noise level away from 0
SMALLEST_ALPHA = 1e-3  # an eps-model divides by alpha; Nichol & Dhariwal cap beta at .999 for the same reason
DISCRETE_STEPS = 1000  # T of the discrete schedules; t = n / T here
BETAS = {"linear": (1e-4, 0.02), "linear_bsldm": (0.008, 0.02)}  # of the first and of the last step


def alpha_sigma(
    t: NDArray[np.float32], schedule: ScheduleName = "cosine"
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Signal and noise scale.

    Parameters
    ----------
    t : (B,) float32 in [0, 1]; 0 is clean, 1 is noise.
    schedule : `cosine` is what BS-LDM trained. `linear` is the one of DDPM, beta 1e-4 to .02; `linear_bsldm` has the
        betas that the paper prints, .008 to .02, and its code ignores.

    Returns
    -------
    alpha_t, sigma_t : (B,) float32, ``alpha_t**2 + sigma_t**2 == 1``; alpha falls from 1 to 1e-3 (cosine), 6e-3
        (linear) or 9e-4 (linear_bsldm).

    Raises
    ------
    ValueError
        A time lies outside [0, 1].

    References
    ----------
    Nichol & Dhariwal (2021), eq. 17, and Ho et al. (2020), sec. 2 and 4; their alpha-bar is ``alpha_t**2`` here.
    """
    time = np.asarray(t, dtype=np.float64)
    if np.any((time < 0) | (time > 1)) or not np.all(np.isfinite(time)):
        raise ValueError("diffusion time must lie in [0, 1]")
    alpha = _cosine(time) if schedule == "cosine" else _linear(time, *BETAS[schedule])
    return alpha.astype(np.float32), np.sqrt(1.0 - alpha**2).astype(np.float32)


def _cosine(time: NDArray[np.float64]) -> NDArray[np.float64]:
    angle = (time + OFFSET) / (1 + OFFSET) * np.pi / 2
    first = OFFSET / (1 + OFFSET) * np.pi / 2
    alpha: NDArray[np.float64] = np.clip(np.cos(angle) / np.cos(first), SMALLEST_ALPHA, 1.0)
    return alpha


def _linear(time: NDArray[np.float64], first: float, last: float) -> NDArray[np.float64]:
    """Exact at the T discrete times; between them the logarithm is interpolated, so that any number of steps fits."""
    betas = np.linspace(first, last, DISCRETE_STEPS)
    log_alpha_bar = np.concatenate([[0.0], np.cumsum(np.log1p(-betas))])
    alpha: NDArray[np.float64] = np.exp(
        0.5 * np.interp(time * DISCRETE_STEPS, np.arange(len(betas) + 1), log_alpha_bar)
    )
    return alpha


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
