"""Means, paired differences and their uncertainty: what the sentences and tables of the page are made from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from training.ablate.plan import Cell, Values
from training.ablate.results import Figures, Results
from training.evaluate.scores import METRICS, Metric

__all__ = ["SHOWN", "Difference", "Seen", "Summary"]

SHOWN = ("bsr_tone", "bsr_strict", "psnr", "mse", "lpips")
CLEAR = 2.0  # standard errors that a mean paired difference has to be away from 0
Verdict = Literal["better", "worse", "no clear difference"]
BY_KEY = {metric.key: metric for metric in METRICS}


@dataclass(frozen=True, slots=True)
class Summary:
    """One figure of a cell.

    Attributes
    ----------
    mean, deviation : over the test pairs, each the mean of its seeds; NaN where no sample is finite, and the deviation
        of one pair.
    by_seed : mean over the pairs, one for each seed.
    """

    mean: float
    deviation: float
    by_seed: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One cell less another, pair by pair.

    Attributes
    ----------
    mean, error : of the differences over the test pairs; the error is that of the mean.
    agreeing : whether the mean has one sign in every seed.
    verdict : of the first cell; clear where the mean is two errors from 0 and the seeds agree.
    """

    mean: float
    error: float
    agreeing: bool
    verdict: Verdict


class Seen:
    """The results of a folder, read through the plan that made them."""

    def __init__(self, results: Results, values: Values) -> None:
        self.results, self.values = results, values

    def known(self, cells: Sequence[Cell]) -> list[Cell]:
        """Those that were measured."""
        return [cell for cell in cells if self.results.figures(cell, "psnr") is not None]

    def figures(self, cell: Cell, metric: str) -> Figures:
        """(seeds, pairs); raises KeyError where the cell was not measured."""
        found = self.results.figures(cell, metric)
        if found is None:
            raise KeyError(cell.name)
        return found

    def summary(self, cell: Cell, metric: str) -> Summary:
        """Mean and spread of one figure."""
        figures = self.figures(cell, metric)
        pairs = _means(figures.T)
        known = pairs[np.isfinite(pairs)]
        mean = float(known.mean()) if len(known) else math.nan
        return Summary(mean, float(known.std()) if len(known) > 1 else math.nan, tuple(map(float, _means(figures))))

    def reference(self, name: str, metric: str) -> float:
        """Mean of a row without a denoiser."""
        return float(_means(self.results.reference(name, metric)[None])[0])

    def not_finite(self, cell: Cell) -> float:
        """Share of the samples that came out as no number."""
        return float(np.mean(~np.isfinite(self.figures(cell, "psnr"))))

    def collapsed(self, cell: Cell) -> bool:
        """Whether the samples are further from the truth than the radiograph itself, or no numbers at all."""
        psnr = self.summary(cell, "psnr").mean
        return self.not_finite(cell) > 0 or psnr < self.reference("identity", "psnr")

    def difference(self, first: Cell, second: Cell, metric: str) -> Difference:
        """How much ``first`` has more of a figure than ``second``, on the same pairs, seeds and noises."""
        one, two = self.figures(first, metric), self.figures(second, metric)
        seeds = min(len(one), len(two))
        each = one[:seeds] - two[:seeds]
        pairs = _means(each.T)
        pairs = pairs[np.isfinite(pairs)]
        if not len(pairs):
            return Difference(math.nan, math.nan, False, "no clear difference")
        mean, error = (
            float(pairs.mean()),
            float(pairs.std(ddof=1) / np.sqrt(len(pairs))) if len(pairs) > 1 else math.inf,
        )
        signs = np.sign(_means(each))
        agreeing = bool(np.all(signs == signs[0]))
        if not agreeing or not abs(mean) > CLEAR * error:
            return Difference(mean, error, agreeing, "no clear difference")
        return Difference(mean, error, agreeing, "better" if (mean > 0) == (better(metric) == "higher") else "worse")

    def best(self, cells: Sequence[Cell], metric: str) -> Cell:
        """The one with the best mean; those without a number come last."""
        sign = 1.0 if better(metric) == "higher" else -1.0

        def rank(cell: Cell) -> float:
            mean = self.summary(cell, metric).mean
            return sign * mean if math.isfinite(mean) else -math.inf

        return max(cells, key=rank)


def better(metric: str) -> str:
    """Which way a figure is better; PSNR of the decoded sample is as any PSNR."""
    found: Metric | None = BY_KEY.get(metric)
    return found.better if found is not None else "higher"


def _means(figures: Figures) -> Figures:
    """Mean of each row over what is finite in it; NaN where nothing is."""
    known = np.isfinite(figures)
    counts = known.sum(axis=1)
    sums = np.where(known, figures, 0.0).sum(axis=1)
    found: Figures = np.divide(sums, counts, out=np.full(len(figures), math.nan), where=counts > 0)
    return found
