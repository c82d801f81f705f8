"""Two arms read by several readers on the same cases: difference, interval and p value (MRMC).

A reader's figure in an arm is modelled as arm + reader + arm x reader + error, where errors are correlated because the
cases are shared (Obuchowski & Rockette 1995): Cov1 between the arms of one reader, Cov2 between readers in one arm,
Cov3 between readers in different arms. Degrees of freedom are Hillis' ddf_H. It holds for any figure whose error
covariances can be estimated: areas (DeLong or jackknife), precision, recall and F1 (jackknife).

References
----------
Obuchowski & Rockette (1995), Commun. Stat. Simul. Comput. 24:285-308.
Hillis, Obuchowski, Schartz & Berbaum (2005), Stat. Med. 24:1579-1607: covariances that cannot lower the error term.
Hillis (2007), Stat. Med. 26:596-619: ddf_H. Hillis (2014), Stat. Med. 33:330-360: the same from marginal means.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["ArmMean", "Comparison", "Components", "Generalises", "Inference", "compare_arms", "mean_of_arm"]

Floats = NDArray[np.float64]
Generalises = Literal["readers and cases", "cases", "readers"]
UNDEFINED = float("nan")
ROUNDING = 1e-20  # variances below this are sums of rounding errors


@dataclass(frozen=True, slots=True)
class Inference:
    """The difference of two arms and how sure it is.

    Attributes
    ----------
    generalises_to : what is taken as drawn at random; the rest is fixed, and the result holds for it alone.
    difference : second arm minus first, mean over readers.
    df : degrees of freedom of t; inf for a normal distribution.
    low, high : confidence limits.
    p : two-sided; NaN, like the limits, where nothing varies.
    """

    generalises_to: Generalises
    difference: float
    standard_error: float
    df: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, slots=True)
class ArmMean:
    """Mean over readers in one arm, with limits that hold for other readers and cases (for cases, with one reader)."""

    mean: float
    standard_error: float
    df: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Components:
    """Mean squares (NaN with one reader) and Obuchowski-Rockette covariances; estimates, which may be negative."""

    ms_arm: float
    ms_interaction: float
    variance: float
    cov1: float
    cov2: float
    cov3: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything about one figure in two arms.

    Attributes
    ----------
    figures : (2, J), arm by reader.
    inferences : the widest claim first; one reader allows only the claim about cases.
    """

    figures: Floats
    components: Components
    arms: tuple[ArmMean, ArmMean]
    inferences: tuple[Inference, ...]

    def holding_for(self, whom: Generalises) -> Inference | None:
        """The inference that generalises to ``whom``, or None where the data allow none."""
        return next((each for each in self.inferences if each.generalises_to == whom), None)


def compare_arms(figures: Floats, covariance: Floats, level: float = 0.95) -> Comparison:
    """Compare two arms read by the same readers on the same cases.

    Parameters
    ----------
    figures : (2, J), arm by reader, J >= 1.
    covariance : (2, J, 2, J), of the errors that the choice of cases makes.
    level : of the confidence intervals.
    """
    readers = figures.shape[1]
    parts = _components(figures, covariance)
    difference = float(figures[1].mean() - figures[0].mean())
    shared = max(parts.cov2 - parts.cov3, 0.0) if readers > 1 else 0.0  # may not lower an error (Hillis 2005)
    made = []
    if readers > 1:
        made.append(_both(difference, parts, shared, readers, level))
    fixed = 2 / readers * (parts.variance - parts.cov1 + (readers - 1) * shared)
    made.append(_inference("cases", difference, fixed, np.inf, level))
    if readers > 1:
        made.append(_inference("readers", difference, 2 / readers * parts.ms_interaction, readers - 1.0, level))
    arms = (mean_of_arm(figures[0], covariance[0, :, 0], level), mean_of_arm(figures[1], covariance[1, :, 1], level))
    return Comparison(figures, parts, arms, tuple(made))


def _components(figures: Floats, covariance: Floats) -> Components:
    readers = figures.shape[1]
    grand, arm, reader = figures.mean(), figures.mean(axis=1), figures.mean(axis=0)
    left = figures - arm[:, None] - reader[None, :] + grand
    same_arm = (covariance[0, :, 0] + covariance[1, :, 1]) / 2
    crossed = (covariance[0, :, 1] + covariance[1, :, 0]) / 2
    return Components(
        ms_arm=float(readers * ((arm - grand) ** 2).sum()),  # over 2 - 1 degrees of freedom
        ms_interaction=float((left**2).sum() / (readers - 1)) if readers > 1 else float("nan"),
        variance=float(np.diag(same_arm).mean()),
        cov1=float(np.diag(crossed).mean()),
        cov2=_between_readers(same_arm),
        cov3=_between_readers(crossed),
    )


def _between_readers(matrix: Floats) -> float:
    """Mean of what is not on the diagonal; NaN with one reader."""
    readers = len(matrix)
    return float((matrix.sum() - np.trace(matrix)) / (readers * (readers - 1))) if readers > 1 else float("nan")


def _both(difference: float, parts: Components, shared: float, readers: int, level: float) -> Inference:
    """F = MS(T) / [MS(TR) + J max(Cov2 - Cov3, 0)] with ddf_H; for two arms t = sqrt(F), given as such."""
    error = parts.ms_interaction + readers * shared
    df = (readers - 1) * error**2 / parts.ms_interaction**2 if parts.ms_interaction > ROUNDING else np.inf
    return _inference("readers and cases", difference, 2 / readers * error, df, level)


def mean_of_arm(figures: Floats, covariance: Floats, level: float = 0.95) -> ArmMean:
    """Mean of one arm: MS(R) + J max(Cov2, 0) over J, with the degrees of freedom of Hillis (2007) for one arm.

    Parameters
    ----------
    figures : (J,), J >= 1.
    covariance : (J, J).
    """
    readers, mean = len(figures), float(figures.mean())
    if readers == 1:
        spread, df = float(covariance[0, 0]), np.inf
    else:
        between = float(figures.var(ddof=1))
        error = between + readers * max(_between_readers(covariance), 0.0)
        spread, df = error / readers, (readers - 1) * error**2 / between**2 if between > ROUNDING else np.inf
    low, high = _limits(mean, spread, df, level)
    return ArmMean(mean, float(np.sqrt(max(spread, 0.0))), float(df), low, high)


def _inference(whom: Generalises, difference: float, variance: float, df: float, level: float) -> Inference:
    if variance < ROUNDING:  # nothing varied, or the estimate is negative: no certainty may be made of that
        return Inference(whom, difference, 0.0, float(df), UNDEFINED, UNDEFINED, UNDEFINED)
    low, high = _limits(difference, variance, df, level)
    error = float(np.sqrt(variance))
    return Inference(whom, difference, error, float(df), low, high, 2 * float(stats.t.sf(abs(difference) / error, df)))


def _limits(centre: float, variance: float, df: float, level: float) -> tuple[float, float]:
    if variance < ROUNDING:
        return UNDEFINED, UNDEFINED
    half = float(stats.t.ppf(0.5 + level / 2, df)) * float(np.sqrt(variance))
    return centre - half, centre + half
