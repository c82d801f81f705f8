"""Is a p value of .05 one, and does an interval of 95 % hold the truth 95 % of the time? Simulated studies tell.

    python -m training.readers.roe_metz --studies 2000

A rating is a sum of independent normal effects (Roe & Metz 1997, Acad. Radiol. 4:298-303): of truth, reader, reader and
arm, case, case and arm, case and reader, and the rest. Reader effects are drawn for each truth. The area that a reader
drawn at random has is known in closed form: Phi(shift / sqrt(2 x sum of variances)).
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from training.readers.mrmc import Comparison, Generalises, Inference, compare_arms
from training.readers.roc import auc_kernel, delong_covariance
from training.readers.score import Options, score_study
from training.readers.simulated import Skill, answer_study, invent_study

__all__ = ["GAIN", "HIGH", "LOW", "Design", "Rates", "Variances", "figure_rates", "rates", "simulate"]

Floats = NDArray[np.float64]
SHIFT = 1.5  # of diseased ratings without companion: an area of .83 to .86
CLAIMS: tuple[Generalises, Generalises] = ("readers and cases", "cases")
GAIN = 0.5  # of the companion where there is one: .07 in area


@dataclass(frozen=True, slots=True)
class Variances:
    """Of the effects; those of cases and error add to 1."""

    reader: float
    reader_arm: float
    case: float
    case_arm: float
    case_reader: float
    error: float

    @property
    def total(self) -> float:
        """Of one rating."""
        return float(sum(getattr(self, field.name) for field in fields(self)))


HIGH = Variances(reader=0.03, reader_arm=0.03, case=0.3, case_arm=0.3, case_reader=0.2, error=0.2)
LOW = Variances(reader=0.0055, reader_arm=0.0055, case=0.1, case_arm=0.1, case_reader=0.2, error=0.6)


@dataclass(frozen=True, slots=True)
class Design:
    """Studies of one kind: ``cases`` normal and as many diseased ones; a companion shifts the diseased by ``gain``."""

    variances: Variances
    readers: int
    cases: int
    gain: float = 0.0

    @property
    def difference(self) -> float:
        """Of the areas with and without, for readers and cases drawn at random."""
        spread = np.sqrt(2 * self.variances.total)
        return float(stats.norm.cdf((SHIFT + self.gain) / spread) - stats.norm.cdf(SHIFT / spread))


@dataclass(frozen=True, slots=True)
class Rates:
    """Over simulated studies: p < .05 where the arms are equal, intervals that hold the truth where they are not."""

    significant: float
    covered: float


def simulate(design: Design, seed: int) -> Iterator[Comparison]:
    """Study after study, without end."""
    generator = np.random.default_rng(seed)
    readers = design.readers
    while True:
        normal = _ratings(design, (0.0, 0.0), generator)
        diseased = _ratings(design, (SHIFT, SHIFT + design.gain), generator)
        kernels = np.stack([auc_kernel(*pair) for pair in zip(normal, diseased, strict=True)])
        covariance = delong_covariance(kernels).reshape(2, readers, 2, readers)
        yield compare_arms(kernels.mean(axis=(1, 2)).reshape(2, readers), covariance)


def _ratings(design: Design, shifts: tuple[float, float], generator: np.random.Generator) -> Floats:
    """(2 x readers, cases), arms outermost."""
    readers, cases = design.readers, design.cases
    shapes = ((1, readers, 1), (2, readers, 1), (1, 1, cases), (2, 1, cases), (1, readers, cases), (2, readers, cases))
    made = np.zeros((2, readers, cases)) + np.array(shifts)[:, None, None]
    for field, shape in zip(fields(design.variances), shapes, strict=True):
        made = made + np.sqrt(getattr(design.variances, field.name)) * generator.standard_normal(shape)
    return np.asarray(made.reshape(2 * readers, cases))


def rates(design: Design, studies: int, seed: int) -> Rates:
    """Of the claim that holds for readers and cases; ``studies`` without the gain, and as many with it."""
    equal, apart = simulate(replace(design, gain=0.0), seed), simulate(design, seed + 1)
    significant, covered = 0, 0
    for _ in range(studies):
        null, found = next(equal).holding_for("readers and cases"), next(apart).holding_for("readers and cases")
        significant += null is not None and null.p < 0.05
        covered += found is not None and found.low <= design.difference <= found.high
    return Rates(significant / studies, covered / studies)


def figure_rates(studies: int, seed: int) -> dict[str, tuple[float, float]]:
    """Each figure of a scored study -> how often p < .05 where nobody gains: for readers and cases, and for cases.

    Studies of 4 readers and 60 cases, by the model of `training.readers.simulated`.
    """
    below: dict[str, list[tuple[bool, bool]]] = {}
    for number in range(studies):
        study = invent_study(60, 4, seed + number)
        answers = answer_study(study, Skill(gain=0.0, slower=1.0), seed + number)
        result = score_study(study, answers, Options(draws=2))
        for figure in (*result.figures, *result.times):
            if figure.comparison is not None:
                both, cases = (figure.comparison.holding_for(whom) for whom in CLAIMS)
                name = figure.title if figure.at is None else f"{figure.title}, at {figure.at}"
                below.setdefault(name, []).append((_significant(both), _significant(cases)))
    return {
        name: (_share(each[0] for each in found), _share(each[1] for each in found)) for name, found in below.items()
    }


def _significant(found: Inference | None) -> bool:
    return found is not None and found.p < 0.05


def _share(found: Iterable[bool]) -> float:
    return float(np.mean(list(found)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table as Markdown; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.readers.roe_metz", description=__doc__)
    parser.add_argument("--studies", type=int, default=2000, help="of each kind; of figures a fifth")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    out = sys.stdout
    _areas(options.studies, options.seed)
    out.write("\n| p < .05, arms equal | readers and cases | cases |\n| --- | --- | --- |\n")
    for name, (both, cases) in figure_rates(options.studies // 5, options.seed).items():
        out.write(f"| {name} | {both:.3f} | {cases:.3f} |\n")
    return 0


def _areas(studies: int, seed: int) -> None:
    out = sys.stdout
    out.write("| variances | readers | cases with + without | p < .05, arms equal | 95 % interval holds the truth |\n")
    out.write("| --- | --- | --- | --- | --- |\n")
    for name, variances in (("high", HIGH), ("low", LOW)):
        for readers, cases in product((2, 3, 5, 10), (15, 25, 50)):
            found = rates(Design(variances, readers, cases, GAIN), studies, seed)
            line = f"| {name} | {readers} | {cases} + {cases} | {found.significant:.3f} | {found.covered:.3f} |"
            out.write(f"{line}\n")
            out.flush()


if __name__ == "__main__":
    sys.exit(main())
