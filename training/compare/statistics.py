"""Means over images, and differences between systems with intervals from a bootstrap over people."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from training.evaluate.scores import Scores

__all__ = ["Difference", "Summary", "paired_difference", "summary"]

RESAMPLES = 10_000
CONFIDENCE = 0.95
# Of five people who differ by chance alone, one time in 16 all do so in one direction, which a percentile bootstrap
# takes for certain: no interval of so few can hold 95 times in 100.
FEWEST_PEOPLE = 6
SEED = 0xB007


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean, standard deviation and median of the ``count`` images whose figure is finite; NaN where there is none."""

    mean: float
    sd: float
    median: float
    count: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A system's mean less that of another one on the same images, and the 95 % interval of it."""

    mean: float
    low: float
    high: float

    @property
    def certain(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


def summary(scores: Mapping[str, Scores], key: str) -> Summary:
    """Of one figure; images that do not have it (no lungs were found) are left out."""
    values = np.array([score.get(key, np.nan) for score in scores.values()], dtype=np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return Summary(float("nan"), float("nan"), float("nan"), 0)
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return Summary(float(values.mean()), spread, float(np.median(values)), len(values))


def paired_difference(
    one: Mapping[str, Scores], other: Mapping[str, Scores], persons: Mapping[str, str], key: str
) -> Difference | None:
    """Mean of ``one`` - ``other`` over the images that both have.

    The interval is that of percentiles over resampled people, each with all of their images (Efron & Tibshirani 1993,
    13.3, with people as the units): images of one person are not independent. Plain percentiles of few people are too
    narrow, those of seven hold the truth 88 times in 100; so they lie farther out, by as much as the deviation of a
    sample is too small and the t distribution wider than the normal one (Hesterberg 2015, Am. Stat. 69:371-386).

    Returns
    -------
    None where fewer than six people are left, which tell too little about others.
    """
    pairs = {
        name: (score[key], other[name][key])
        for name, score in one.items()
        if key in score and key in other.get(name, {})
    }
    known = {name: a - b for name, (a, b) in pairs.items() if np.isfinite(a) and np.isfinite(b)}
    people = sorted({persons[name] for name in known})
    if len(people) < FEWEST_PEOPLE:
        return None
    place = {person: index for index, person in enumerate(people)}
    sums, counts = np.zeros(len(people)), np.zeros(len(people))
    for name, value in known.items():
        sums[place[persons[name]]] += value
        counts[place[persons[name]]] += 1
    low, high = _interval(sums, counts)
    return Difference(float(sums.sum() / counts.sum()), low, high)


def _interval(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> tuple[float, float]:
    drawn = np.random.default_rng(SEED).integers(len(sums), size=(RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    people = len(sums)
    reach = np.sqrt(people / (people - 1)) * stats.t.ppf((1 + CONFIDENCE) / 2, people - 1)
    low, high = np.quantile(means, stats.norm.cdf((-reach, reach)))
    return float(low), float(high)
