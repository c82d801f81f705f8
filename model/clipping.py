"""The four ways to bound a predicted clean latent during sampling (paper, Table 2).

Written in operators and methods that NumPy arrays and torch tensors share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # a name only: who samples needs NumPy and nothing else
    from model.bundle import ClippingSpec

__all__ = ["clip_x0", "dynamic_bound"]


def dynamic_bound(clipping: ClippingSpec, progress: float) -> float:
    """Bound of dynamic clipping, ``s = omega * progress + b``: tight at first, wide at the end.

    Parameters
    ----------
    clipping : ``omega`` is per unit of progress: the paper's .003 per step of 1000 is 3 here.
    progress : in [0, 1], 0 at the first network evaluation and 1 at the last. A fraction, so that the bound means the
        same for 4 and for 1000 steps.

    References
    ----------
    BS-LDM, Eq. 6. Its ``t`` is the index of the sampling step, not the diffusion time.
    """
    return clipping.omega * progress + clipping.b


def _largest(array: Any, fraction: float) -> float:
    """The ``fraction`` quantile of absolute values, of either kind of array, with linear interpolation."""
    values = array.detach().cpu().numpy() if hasattr(array, "detach") else np.asarray(array)
    return float(np.quantile(np.abs(values), fraction))


def _dynamic_thresholding(x0: Any, clipping: ClippingSpec) -> Any:
    """Per sample: clip at a quantile of absolute values, then scale back to ``bound`` (Saharia et al. 2022, 2.3)."""
    bounded = x0 * 1.0  # a copy: the prediction belongs to the caller
    for index in range(x0.shape[0]):
        threshold = max(_largest(x0[index], clipping.percentile), clipping.bound)
        bounded[index] = x0[index].clip(-threshold, threshold) * (clipping.bound / threshold)
    return bounded


def clip_x0(x0: Any, clipping: ClippingSpec, progress: float) -> Any:
    """Bound the predicted clean latents.

    Parameters
    ----------
    x0 : (B, C, h, w) array of NumPy or torch, standardised latents.
    clipping : which variant, and its numbers.
    progress : fraction of the sampling that is done, in [0, 1]; see `dynamic_bound`.

    Returns
    -------
    Array like ``x0``; ``x0`` itself where nothing is clipped by definition (``kind="none"``).
    """
    match clipping.kind:
        case "none":
            return x0
        case "static":
            return x0.clip(-clipping.bound, clipping.bound)
        case "dynamic_thresholding":
            return _dynamic_thresholding(x0, clipping)
        case "dynamic_clipping":
            bound = dynamic_bound(clipping, progress)
            return x0.clip(-bound, bound)
