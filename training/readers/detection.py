"""Table 4 of the BS-LDM paper, figure by figure: what is counted of marks and of cases, at which operating point."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from training.readers.figures import Sample, area, counted, weighted_afroc
from training.readers.readings import Block, Reading

__all__ = ["TIME", "Spec", "specs"]


@dataclass(frozen=True, slots=True)
class Spec:
    """How a figure is made; ``hit`` gives the single right or wrong things of a reading, for McNemar's test."""

    key: str
    title: str
    sample: Callable[[Block], Sample]
    at: int | None = None
    unit: str = ""
    hit: Callable[[Reading], Sequence[bool]] | None = None


def specs(thresholds: Sequence[int]) -> list[Spec]:
    """Areas first, then what needs an operating point: marks, or cases, that are at least so confident."""
    made = [Spec("auc", "AUC of cases", area), Spec("wafroc", "wAFROC of marks", weighted_afroc)]
    for at in thresholds:
        made += _of_marks(at)
    for at in thresholds:
        made += _of_cases(at) if at > 0 else []  # every case is at least 0 confident
    return made


def _of_marks(at: int) -> list[Spec]:
    def recall(reading: Reading) -> tuple[float, float]:
        return len(_hits(reading, at)[0]), len(_lesions(reading))

    def precision(reading: Reading) -> tuple[float, float]:
        true, false = map(len, _hits(reading, at))
        return true, true + false

    def f1(reading: Reading) -> tuple[float, float]:
        true, false = map(len, _hits(reading, at))
        return 2 * true, true + false + len(_lesions(reading))

    def false_marks(reading: Reading) -> tuple[float, float]:
        return len(_hits(reading, at)[1]), 1

    def found(reading: Reading) -> list[bool]:
        return [mark is not None and mark >= at for mark in _lesions(reading)]

    return [
        Spec("recall", "recall of lesions", lambda block: counted(block, recall, one_by_one=True), at, hit=found),
        Spec("precision", "precision of marks", lambda block: counted(block, precision, one_by_one=True), at),
        Spec("f1", "F1 of marks", lambda block: counted(block, f1, one_by_one=False), at),
        Spec("false_marks", "false marks", lambda block: counted(block, false_marks, one_by_one=False), at, "a case"),
    ]


def _of_cases(at: int) -> list[Spec]:
    def right(reading: Reading, *, diseased: bool) -> tuple[float, float]:
        counts = reading.diseased is diseased
        return float(counts and (reading.rating >= at) is diseased), float(counts)

    def hit(reading: Reading, *, diseased: bool) -> list[bool]:
        return [(reading.rating >= at) is diseased] if reading.diseased is diseased else []

    def spec(key: str, *, diseased: bool) -> Spec:
        return Spec(
            key,
            f"{key} of cases",
            lambda block: counted(block, lambda reading: right(reading, diseased=diseased), one_by_one=True),
            at,
            hit=lambda reading: hit(reading, diseased=diseased),
        )

    return [spec("sensitivity", diseased=True), spec("specificity", diseased=False)]


def _lesions(reading: Reading) -> tuple[float | None, ...]:
    return reading.matches.found if reading.matches else ()


def _hits(reading: Reading, at: int) -> tuple[list[float], list[float]]:
    """Confidences of right and of false marks of at least ``at``."""
    false = reading.matches.false if reading.matches else ()
    return [mark for mark in _lesions(reading) if mark is not None and mark >= at], [m for m in false if m >= at]


def _log_seconds(reading: Reading) -> tuple[float, float]:
    return float(np.log(max(reading.seconds, 0.1))), 1.0  # a reading without a clock would be -inf


TIME = Spec("seconds", "seconds a case", lambda block: counted(block, _log_seconds, one_by_one=False), None, "log s")
