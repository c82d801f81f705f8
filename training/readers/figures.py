"""The figures of Table 4 and of reading time: one number of a reader in an arm, and how it varies with the cases."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from training.readers.readings import Block, Reading
from training.readers.roc import (
    NOT_MARKED,
    area_interval,
    auc_kernel,
    bootstrap_figures,
    delong_covariance,
    jackknife_covariance,
    wafroc_kernel,
)

__all__ = [
    "Estimate",
    "Sample",
    "Undefined",
    "area",
    "counted",
    "found_pairs",
    "highest_false",
    "lesion_marks",
    "mcnemar",
    "proportion",
    "ratings",
    "weighted_afroc",
]

Floats = NDArray[np.float64]
LEAST_OF_A_CLASS = 2  # a variance needs two


class Undefined(Exception):
    """The cases define no such figure; the message says why, in words for a table."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its confidence limits, NaN where there are none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of every (arm, reader), arms outermost.

    Attributes
    ----------
    values : (A,); NaN where a reader's marks define none.
    covariance : (A, A), by the choice of cases; None where it cannot be estimated.
    drawn : (draws, seed) -> (draws, A), over cases drawn again.
    each : the values with limits for one reader alone.
    reason : why there is no covariance.
    """

    values: Floats
    covariance: Floats | None
    drawn: Callable[[int, int], Floats]
    each: tuple[Estimate, ...]
    reason: str = ""


def area(block: Block) -> Sample:
    """Area under the ROC curve of the ratings of cases.

    Raises
    ------
    Undefined
        Fewer than two normal or two diseased cases.
    """
    return _of_kernels(block, lambda normal, diseased: auc_kernel(ratings(normal), ratings(diseased)))


def weighted_afroc(block: Block) -> Sample:
    """The wAFROC figure: lesions against the highest false mark of normal cases. Raises Undefined as `area` does."""
    return _of_kernels(block, lambda normal, diseased: wafroc_kernel(highest_false(normal), lesion_marks(diseased)))


def ratings(readings: Sequence[Reading]) -> Floats:
    """(N,) of the cases as a whole."""
    return np.array([each.rating for each in readings])


def highest_false(readings: Sequence[Reading]) -> Floats:
    """(N,) confidences of the highest false mark in each; `NOT_MARKED` for none."""
    marks = [each.matches.false if each.matches else () for each in readings]
    return np.array([max(each, default=NOT_MARKED) for each in marks])


def lesion_marks(readings: Sequence[Reading]) -> list[Floats]:
    """For each reading, confidences of what its lesions were marked with; `NOT_MARKED` where one was missed."""
    found = [each.matches.found if each.matches else () for each in readings]
    return [np.array([NOT_MARKED if mark is None else mark for mark in each]) for each in found]


def _of_kernels(block: Block, kernel: Callable[[Sequence[Reading], Sequence[Reading]], Floats]) -> Sample:
    rows = block.rows()
    normal = sum(reading.diseased is False for reading in rows[0])
    diseased = len(rows[0]) - normal
    if min(normal, diseased) < LEAST_OF_A_CLASS:
        raise Undefined(f"needs {LEAST_OF_A_CLASS} cases of each class: there are {diseased} with and {normal} without")
    split = [([r for r in row if not r.diseased], [r for r in row if r.diseased]) for row in rows]
    kernels = np.stack([kernel(*each) for each in split])
    values, covariance = kernels.mean(axis=(1, 2)), delong_covariance(kernels)
    pairs = zip(values, np.diag(covariance), strict=True)
    limits = [area_interval(float(value), float(variance), normal, diseased) for value, variance in pairs]
    each = tuple(Estimate(float(value), *limit) for value, limit in zip(values, limits, strict=True))
    return Sample(values, covariance, lambda draws, seed: bootstrap_figures(kernels, draws, seed), each)


def counted(block: Block, count: Callable[[Reading], tuple[float, float]], *, one_by_one: bool) -> Sample:
    """A ratio of sums over cases, as found lesions over lesions; its covariance by jackknife over cases.

    Parameters
    ----------
    count : numerator and denominator of one reading.
    one_by_one : a share of things that count one by one, so that a reader's own limits are Wilson's; else they are by
        the jackknife.
    """
    counts = np.array([[count(reading) for reading in row] for row in block.rows()], dtype=np.float64)
    cases, sums = counts.shape[1], counts.sum(axis=1)
    values, left_out = _ratio(sums), _ratio(sums[:, None] - counts)
    covariance, reason = None, ""
    if not np.isfinite(values).all():
        reason = "for some reader there is nothing to count"
    elif cases < LEAST_OF_A_CLASS or not np.isfinite(left_out).all():
        reason = "it hangs on a single case"
    else:
        covariance = jackknife_covariance(left_out)

    def drawn(draws: int, seed: int) -> Floats:
        weights = np.random.default_rng(seed).multinomial(cases, np.full(cases, 1 / cases), size=draws)
        return _ratio(np.einsum("dk,akc->dac", weights, counts))

    variances = np.full(len(values), np.nan) if covariance is None else np.diag(covariance)
    each = [proportion(*row) for row in sums] if one_by_one else list(map(_plain, values, variances))
    return Sample(values, covariance, drawn, tuple(each), reason)


def _ratio(sums: Floats) -> Floats:
    """(..., 2) -> (...); NaN for 0 of 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


def proportion(part: float, whole: float) -> Estimate:
    """Share with Wilson's limits (Wilson 1927, J. Am. Stat. Assoc. 22:209-212); NaN of nothing."""
    if whole == 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    limits = stats.binomtest(round(part), round(whole)).proportion_ci(method="wilson")
    return Estimate(part / whole, float(limits.low), float(limits.high))


def _plain(value: float, variance: float) -> Estimate:
    half = float(stats.norm.ppf(0.975)) * float(np.sqrt(variance))
    return Estimate(float(value), float(value - half), float(value + half))


def found_pairs(
    first: Sequence[Reading], second: Sequence[Reading], hit: Callable[[Reading], Sequence[bool]]
) -> tuple[int, int]:
    """How many things only the first arm got right, and how many only the second."""
    pairs = [pair for a, b in zip(first, second, strict=True) for pair in zip(hit(a), hit(b), strict=True)]
    return sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p value of McNemar's test (1947, Psychometrika 12:153-157); NaN where nothing changed."""
    changed = only_first + only_second
    return float(stats.binomtest(only_second, changed, 0.5).pvalue) if changed else float("nan")
