"""Figures of many lesions in few: by kind and place, by size, and whether the target is met."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from training.lesions.places import PLACES, Place
from training.lesions.run import Lesion
from training.lesions.shapes import NODULES, Kind

__all__ = [
    "LEAST_MM",
    "TARGET",
    "Spread",
    "Target",
    "finite",
    "in_place",
    "of_kind",
    "of_sizes",
    "spread",
    "strata",
    "target",
]

LEAST_MM = 5.0  # smaller nodules are measured, but nothing is promised for them
TARGET = (0.90, 0.75)  # median and 5th percentile of the contrast kept between ribs


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, 5th and 95th percentile of ``count`` figures."""

    count: int
    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Target:
    """What was asked for and what was found, for nodules of 5 mm and more.

    Attributes
    ----------
    kept : between ribs; None where there were none.
    gain : of contrast to the surroundings' deviation behind ribs.
    rises : share of those behind ribs whose gain is above 1.
    """

    kept: Spread | None
    gain: Spread | None
    rises: float

    @property
    def kept_enough(self) -> bool:
        """Median and 5th percentile between ribs are both reached."""
        return self.kept is not None and self.kept.median >= TARGET[0] and self.kept.low >= TARGET[1]


def finite(values: Iterable[float]) -> list[float]:
    """Without those that could not be measured."""
    return [value for value in values if np.isfinite(value)]


def spread(values: Iterable[float]) -> Spread | None:
    """None for nothing."""
    known = finite(values)
    if not known:
        return None
    low, median, high = np.percentile(known, (5, 50, 95))
    return Spread(len(known), float(median), float(low), float(high))


def target(lesions: Sequence[Lesion]) -> Target:
    """Held against the target figures."""
    nodules = [each for each in lesions if each.kind in NODULES and each.size_mm >= LEAST_MM]
    behind = [each.remains.to_noise_gain for each in nodules if each.place == "behind ribs"]
    kept = spread(each.remains.kept for each in nodules if each.place == "between ribs")
    known = finite(behind)
    return Target(kept, spread(behind), float(np.mean([gain > 1 for gain in known])) if known else float("nan"))


def in_place(place: Place) -> Callable[[Lesion], bool]:
    """Whether a lesion lies there."""
    return lambda each: each.place == place


def of_kind(kind: Kind) -> Callable[[Lesion], bool]:
    """Whether a lesion is of that kind."""
    return lambda each: each.kind == kind


def of_sizes(
    lesions: Sequence[Lesion], figure: Callable[[Lesion], float], chosen: Callable[[Lesion], bool]
) -> list[tuple[float, Spread]]:
    """A curve over the size of nodules, for those that are ``chosen``."""
    nodules = [each for each in lesions if each.kind in NODULES and chosen(each)]
    points = []
    for size in sorted({each.size_mm for each in nodules}):
        found = spread(figure(each) for each in nodules if each.size_mm == size)
        if found is not None:
            points.append((size, found))
    return points


def strata(lesions: Sequence[Lesion]) -> list[tuple[str, Place | None, list[Lesion]]]:
    """Kind, place, and the lesions of it; nodules below 5 mm apart from the others."""
    groups: dict[tuple[str, Place | None], list[Lesion]] = {}
    for each in lesions:
        small = each.kind in NODULES and each.size_mm < LEAST_MM
        name = f"{each.kind} nodule, {'3 mm' if small else '5 mm and more'}" if each.kind in NODULES else each.kind
        groups.setdefault((name, each.place), []).append(each)
    places: list[Place | None] = [*PLACES, None]
    return [(*key, groups[key]) for key in sorted(groups, key=lambda key: (_rank(key[0]), places.index(key[1])))]


def _rank(name: str) -> tuple[int, str]:
    names = [*NODULES, "consolidation", "pneumothorax", "catheter"]
    kind = next(number for number, each in enumerate(names) if name.startswith(each))
    return (kind, name)
