"""The one sampler: deterministic DDIM in operators, for NumPy arrays and torch tensors alike.

Noise is drawn here too, from one NumPy generator, so that a seed means the same latents in every backend.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model.bundle import ClippingSpec
from model.clipping import clip_x0
from model.schedule import alpha_sigma

__all__ = ["Prediction", "draw_noise", "predicted_x0", "sample"]

Prediction = Literal["x0", "eps", "v"]


def draw_noise(seed: int, shape: Sequence[int], offset_noise: float) -> NDArray[np.float32]:
    """Starting noise with an offset that is constant over each channel.

    Parameters
    ----------
    seed : non-negative integer of any size.
    shape : (B, C, h, w).
    offset_noise : coefficient on eta, one standard normal eta per sample and channel. The paper writes a covariance
        I + lambda * Sigma with lambda = .1; what it trained, and what this follows, is ``eps + .1 * eta``, a weight
        of .01 in the covariance.

    Returns
    -------
    (B, C, h, w) float32.

    References
    ----------
    BS-LDM, Eq. 5.
    """
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(tuple(shape), dtype=np.float32)
    eta = rng.standard_normal((shape[0], shape[1], 1, 1), dtype=np.float32)
    return noise + np.float32(offset_noise) * eta


def predicted_x0(output: Any, x_t: Any, alpha: Any, sigma: Any, prediction: Prediction) -> Any:
    """Clean latents that a network output stands for.

    Parameters
    ----------
    output, x_t : arrays of one shape.
    alpha, sigma : numbers, or arrays that broadcast; ``v`` is ``alpha * eps - sigma * x0`` (Salimans & Ho 2022).
    """
    match prediction:
        case "x0":
            return output
        case "eps":
            return (x_t - sigma * output) / alpha
        case "v":
            return alpha * x_t - sigma * output


def sample(
    predict: Callable[[Any, float], Any],
    x_T: Any,
    timesteps: NDArray[np.float32],
    *,
    prediction: Prediction,
    clipping: ClippingSpec,
) -> Any:
    """Carry noise to clean latents, deterministically (DDIM, eta = 0).

    Parameters
    ----------
    predict : (x_t, t) -> network output; the condition is the caller's to bind.
    x_T : (B, C, h, w) noise, as from `draw_noise`; not changed.
    timesteps : descending, from 1 to 0, as from `model.schedule.timesteps`.
    prediction : what the network output means.
    clipping : bound on the clean latents of every step.

    Returns
    -------
    (B, C, h, w) clean latents, of the array type of ``x_T``.

    References
    ----------
    Song et al. (2021), eq. 12 with sigma = 0.
    """
    alphas, sigmas = alpha_sigma(timesteps)
    levels = [(float(alpha), float(sigma)) for alpha, sigma in zip(alphas, sigmas, strict=True)]
    last = max(len(timesteps) - 2, 1)
    x_t = x_T
    for index, ((alpha, sigma), (next_alpha, next_sigma)) in enumerate(pairwise(levels)):
        output = predict(x_t, float(timesteps[index]))
        x0 = predicted_x0(output, x_t, alpha, sigma, prediction)
        # one step is the first and the last at once: the wide bound holds, nothing follows that could repair a cut
        x0 = clip_x0(x0, clipping, index / last if len(levels) > 2 else 1.0)
        noise = (x_t - alpha * x0) / sigma
        x_t = next_alpha * x0 + next_sigma * noise
    return x_t
