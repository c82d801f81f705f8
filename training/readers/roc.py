"""Figures of merit that compare a normal case with a diseased one, and how they vary with the cases.

The area under the empirical ROC curve and the weighted AFROC figure are both means over all pairs (normal case,
diseased case) of a kernel in [0, 1]. So what one reader read in one arm is one matrix, and variance, covariance,
jackknife and bootstrap are written once, for matrices.

References
----------
DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837-845: areas, and covariances by structural components.
Chakraborty & Zhai (2016), Med. Phys. 43:2548-2557: the weighted AFROC figure of merit.
Newcombe (2006), Stat. Med. 25:559-573: an interval of one area that also holds at 0 and 1.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

__all__ = [
    "NOT_MARKED",
    "area_interval",
    "auc_kernel",
    "bootstrap_figures",
    "delong_covariance",
    "jackknife_covariance",
    "leave_one_out",
    "wafroc_kernel",
]

Floats = NDArray[np.float64]
NOT_MARKED = float("-inf")  # the rating of a lesion or of a normal case without a mark: below any confidence


def auc_kernel(normal: Floats, diseased: Floats) -> Floats:
    """1 where the diseased case is rated higher, .5 at a tie, else 0; its mean is the trapezoidal area.

    Parameters
    ----------
    normal : (n,) ratings of cases without a lesion; `NOT_MARKED` for none.
    diseased : (m,) ratings of cases with one or more.

    Returns
    -------
    (n, m) float64.
    """
    below, above = normal[:, None], diseased[None, :]
    return np.asarray((above > below) + 0.5 * (above == below), dtype=np.float64)


def wafroc_kernel(normal: Floats, lesions: Sequence[Floats]) -> Floats:
    """The kernel of the weighted AFROC figure with equal weights: lesions of a case share one vote.

    Parameters
    ----------
    normal : (n,) highest confidence of any mark on each normal case; `NOT_MARKED` for none.
    lesions : for each of m diseased cases (L,) confidences of the marks that hit its L >= 1 lesions; `NOT_MARKED` where
        a lesion was missed. False marks on diseased cases are not in it, as the method has it.

    Returns
    -------
    (n, m) float64; the mean is theta_wAFROC (Chakraborty & Zhai 2016).
    """
    return np.stack([auc_kernel(normal, case).mean(axis=1) for case in lesions], axis=1)


def delong_covariance(kernels: Floats) -> Floats:
    """Covariance of the means of several kernels of the same cases.

    Parameters
    ----------
    kernels : (A, n, m), n and m >= 2: one for each reader and arm.

    Returns
    -------
    (A, A): S10 / m + S01 / n of DeLong et al. (1988).
    """
    _, n, m = kernels.shape
    per_diseased, per_normal = kernels.mean(axis=1), kernels.mean(axis=2)
    return np.asarray(np.atleast_2d(np.cov(per_diseased)) / m + np.atleast_2d(np.cov(per_normal)) / n)


def leave_one_out(kernels: Floats) -> Floats:
    """Each figure without each case in turn: (A, n, m) -> (A, n + m), the normal cases first; n and m >= 2."""
    _, n, m = kernels.shape
    total = kernels.sum(axis=(1, 2))[:, None]
    without_normal = (total - kernels.sum(axis=2)) / ((n - 1) * m)
    without_diseased = (total - kernels.sum(axis=1)) / (n * (m - 1))
    return np.concatenate([without_normal, without_diseased], axis=1)


def jackknife_covariance(left_out: Floats) -> Floats:
    """Covariance of figures from their values without each case: (A, N) -> (A, A).

    (N - 1) / N times the sum of products of deviations, as in Obuchowski-Rockette analyses by jackknife.
    """
    cases = left_out.shape[1]
    away = left_out - left_out.mean(axis=1, keepdims=True)
    return np.asarray((cases - 1) / cases * away @ away.T)


def bootstrap_figures(kernels: Floats, draws: int, seed: int) -> Floats:
    """Figures over cases drawn again with replacement, normal and diseased ones apart.

    Parameters
    ----------
    kernels : (A, n, m).

    Returns
    -------
    (draws, A), the same for the same seed.
    """
    _, n, m = kernels.shape
    generator = np.random.default_rng(seed)
    normal = generator.multinomial(n, np.full(n, 1 / n), size=draws) / n
    diseased = generator.multinomial(m, np.full(m, 1 / m), size=draws) / m
    return np.asarray(np.einsum("dn,anm,dm->da", normal, kernels, diseased, optimize=True))


def area_interval(area: float, variance: float, n: int, m: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of one reader's area.

    By DeLong's variance on the logit scale, which stays in (0, 1); where the variance is 0, as at a perfect area, by
    Newcombe's method 5, which takes it from the area (Hanley & McNeil) and the numbers of cases.
    """
    z = float(stats.norm.ppf(0.5 + level / 2))
    if 0 < area < 1 and variance > 0:
        centre, half = np.log(area / (1 - area)), z * np.sqrt(variance) / (area * (1 - area))
        low, high = 1 / (1 + np.exp(-(centre - half))), 1 / (1 + np.exp(-(centre + half)))
        return float(low), float(high)
    return _newcombe(area, z, n, m)


def _newcombe(area: float, z: float, n: int, m: int) -> tuple[float, float]:
    def spread(true: float) -> float:
        more = (n + m) / 2 - 1
        return true * (1 - true) * (1 + more * ((1 - true) / (2 - true) + true / (1 + true))) / (n * m)

    def beyond(true: float) -> float:
        return (true - area) ** 2 - z**2 * spread(true)

    edge = 1e-12
    low = optimize.brentq(beyond, edge, area - edge) if area > 2 * edge and beyond(edge) > 0 else 0.0
    high = optimize.brentq(beyond, area + edge, 1 - edge) if area < 1 - 2 * edge and beyond(1 - edge) > 0 else 1.0
    return float(low), float(high)
