"""Table 3 of the BS-LDM paper: how readers scored the companions, and how far they agree."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.readers.agreement import Agreement, conger_kappa, gwet_ac
from training.readers.readings import ARMS, Readings
from training.readers.records import Arm

__all__ = ["CRITERIA", "SCALE", "Criterion", "ReaderScores", "criteria"]

CRITERIA = ("vessels", "airways", "suppression")
SCALE = (1, 2, 3)  # 3 is best


@dataclass(frozen=True, slots=True)
class ReaderScores:
    """One reader's scores of one criterion; ``counts`` are of 1, 2 and 3."""

    reader: str
    mean: float
    median: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Criterion:
    """Table 3: one criterion in one arm; the reader "all" stands last."""

    criterion: str
    arm: Arm
    each: tuple[ReaderScores, ...]
    ac2: Agreement | None
    kappa: Agreement | None


def criteria(readings: Readings) -> tuple[Criterion, ...]:
    """Every criterion that somebody scored, of all finished readings."""
    made = (_criterion(readings, name, arm) for arm in reversed(ARMS) for name in CRITERIA)
    return tuple(each for each in made if each is not None)


def _criterion(readings: Readings, name: str, arm: Arm) -> Criterion | None:
    table = np.array([[_score(readings, p.reader, case.case, arm, name) for p in readings.progress]
                      for case in readings.study.cases], dtype=np.float64)  # fmt: skip
    given = np.isfinite(table)
    if not given.any():
        return None
    columns = [
        (each.reader, table[:, number]) for number, each in enumerate(readings.progress) if given[:, number].any()
    ]
    each = [_reader_scores(reader, column) for reader, column in [*columns, ("all", table.ravel())]]
    several = len(columns) > 1
    ratings = np.stack([column for _, column in columns], axis=1)
    ac2, kappa = (gwet_ac(ratings, SCALE), conger_kappa(ratings)) if several else (None, None)
    return Criterion(name, arm, tuple(each), ac2, kappa)


def _score(readings: Readings, reader: str, case: str, arm: Arm, name: str) -> float:
    reading = readings.finished.get((reader, case, arm))
    score = getattr(reading.scores, name) if reading and reading.scores else None
    return float("nan") if score is None else float(score)


def _reader_scores(reader: str, column: NDArray[np.float64]) -> ReaderScores:
    given = column[np.isfinite(column)]
    counts = tuple(int((given == value).sum()) for value in SCALE)
    return ReaderScores(reader, float(given.mean()), float(np.median(given)), counts)
