"""The curve between the two tones of a pair: dual-energy images are processed and displayed unlike radiographs."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import isotonic_regression

__all__ = ["tone_curve"]

BINS = 64
POINTS = 33
# Where there is bone the radiograph is brighter than the curve, and nowhere darker but for noise and what moved. So the
# curve follows the lower third of what the radiograph shows at one level of the twin; the mean would follow the bones.
LOWER_THIRD = 0.35


def tone_curve(soft: NDArray[np.float32], cxr: NDArray[np.float32]) -> tuple[tuple[float, float], ...]:
    """Measure the monotone curve that brings a registered soft-tissue twin to the tone of its radiograph.

    Parameters
    ----------
    soft, cxr : float32 in [0, 1], of one shape, without the letterbox.

    Returns
    -------
    33 points (soft, cxr), both rising, for `numpy.interp`; () where the twin has fewer than three levels.
    """
    known, wanted = soft.ravel(), cxr.ravel()
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)))
    if len(edges) < 3:
        return ()
    which = np.clip(np.searchsorted(edges, known, side="right") - 1, 0, len(edges) - 2)
    order = np.argsort(which, kind="stable")
    cuts = np.searchsorted(which[order], np.arange(1, len(edges) - 1))
    bins = [part for part in np.split(order, cuts) if part.size]
    levels = np.array([known[part].mean() for part in bins], dtype=np.float64)
    lower = np.array([np.quantile(wanted[part], LOWER_THIRD) for part in bins], dtype=np.float64)
    curve = isotonic_regression(lower, weights=[part.size for part in bins]).x
    grid = np.linspace(0, 1, POINTS)
    # a smoothed monotone curve is monotone; steps of the regression would band
    smooth = gaussian_filter1d(np.interp(grid, levels, curve), 1.0, mode="nearest")
    return tuple((round(float(x), 5), round(float(y), 5)) for x, y in zip(grid, smooth, strict=True))
