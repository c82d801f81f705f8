"""How far readers agree on an ordinal scale: Gwet's AC2 and a weighted kappa, both with quadratic weights.

Kappa falls to 0 when nearly all readings are the same, however much readers agree, which is what good images do to it;
AC2 does not. Both are given.

References
----------
Gwet (2008), Br. J. Math. Stat. Psychol. 61:29-48, and Gwet (2014), Handbook of Inter-Rater Reliability, 4th ed., ch. 5:
AC1 and AC2 with missing ratings and their variance. Conger (1980), Psychol. Bull. 88:322-328: kappa of several raters,
which is Cohen's for two.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["Agreement", "conger_kappa", "gwet_ac", "quadratic_weights"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """A coefficient (1: full agreement, 0: as by chance) with its limits; NaN where the data define none.

    Attributes
    ----------
    cases : with at least two ratings, of which the coefficient is made.
    """

    value: float
    standard_error: float
    low: float
    high: float
    cases: int


UNDEFINED = float("nan")


def quadratic_weights(scale: Sequence[int]) -> Floats:
    """(q, q) weights 1 - (k - l)^2 / (max - min)^2: 1 for equal ratings, 0 for the two ends of the scale."""
    values = np.asarray(scale, dtype=np.float64)
    return np.asarray(1 - (values[:, None] - values[None, :]) ** 2 / (values.max() - values.min()) ** 2)


def gwet_ac(ratings: Floats, scale: Sequence[int], weights: Floats | None = None, level: float = 0.95) -> Agreement:
    """Gwet's AC2, or AC1 with the identity as weights.

    Parameters
    ----------
    ratings : (cases, readers), NaN where a reader gave none.
    scale : all possible ratings, also those that nobody gave.
    weights : (q, q); None for quadratic ones.

    Raises
    ------
    ValueError
        A rating is not on the scale.
    """
    weights = quadratic_weights(scale) if weights is None else weights
    counts = _counts(ratings, scale)
    counts = counts[counts.sum(axis=1) > 0]
    cases, paired = len(counts), int((counts.sum(axis=1) > 1).sum())
    if paired == 0:
        return Agreement(UNDEFINED, UNDEFINED, UNDEFINED, UNDEFINED, 0)
    given = counts.sum(axis=1)
    agreed = _agreed_pairs(counts, weights)
    shares = (counts / given[:, None]).mean(axis=0)
    scaling = weights.sum() / (len(scale) * (len(scale) - 1))
    by_chance = scaling * (shares * (1 - shares)).sum()
    value = (agreed[given > 1].mean() - by_chance) / (1 - by_chance)
    # Each case's own coefficient, linearised in its share of the chance agreement (Gwet 2008).
    own = cases / paired * (agreed - by_chance * (given > 1)) / (1 - by_chance)
    own_chance = scaling * (counts * (1 - shares)).sum(axis=1) / given
    own = own - 2 * (1 - value) * (own_chance - by_chance) / (1 - by_chance)
    if cases < 2:
        return Agreement(float(value), UNDEFINED, UNDEFINED, UNDEFINED, paired)
    error = float(np.sqrt(((own - value) ** 2).sum() / (cases * (cases - 1))))
    return _with_limits(float(value), error, cases, paired, level)


def _counts(ratings: Floats, scale: Sequence[int]) -> Floats:
    """(cases, q): how many readers gave each rating."""
    counts = np.stack([(ratings == value).sum(axis=1) for value in scale], axis=1).astype(np.float64)
    if counts.sum() != np.isfinite(ratings).sum():
        raise ValueError(f"a rating is not one of {', '.join(map(str, scale))}")
    return counts


def _agreed_pairs(counts: Floats, weights: Floats) -> Floats:
    """(cases,) weighted share of pairs of readers that agree; 0 where there is no pair."""
    given = counts.sum(axis=1)
    pairs = (counts * (counts @ weights - 1)).sum(axis=1)
    return np.asarray(np.divide(pairs, given * (given - 1), out=np.zeros_like(pairs), where=given > 1))


def conger_kappa(ratings: Floats, level: float = 0.95) -> Agreement:
    """Conger's kappa with quadratic weights; Cohen's weighted kappa for two readers. Limits by jackknife over cases.

    Parameters
    ----------
    ratings : (cases, readers); only cases that every reader rated count.
    """
    whole = ratings[np.isfinite(ratings).all(axis=1)]
    cases = len(whole)
    if cases < 3 or whole.shape[1] < 2:
        return Agreement(UNDEFINED, UNDEFINED, UNDEFINED, UNDEFINED, cases)
    value = _kappa(whole)
    left_out = np.array([_kappa(np.delete(whole, case, axis=0)) for case in range(cases)])
    error = float(np.sqrt((cases - 1) / cases * ((left_out - left_out.mean()) ** 2).sum()))
    return _with_limits(value, error, cases, cases, level)


def _kappa(whole: Floats) -> float:
    """1 - observed over expected squared differences, both summed over pairs of readers."""
    first, second = np.triu_indices(whole.shape[1], 1)
    seen = ((whole[:, first] - whole[:, second]) ** 2).mean(axis=0).sum()
    means, spreads = whole.mean(axis=0), whole.var(axis=0)
    expected = (spreads[first] + spreads[second] + (means[first] - means[second]) ** 2).sum()
    return float(1 - seen / expected) if expected > 0 else UNDEFINED


def _with_limits(value: float, error: float, cases: int, paired: int, level: float) -> Agreement:
    half = float(stats.t.ppf(0.5 + level / 2, cases - 1)) * error
    return Agreement(value, error, max(value - half, -1.0), min(value + half, 1.0), paired)
