"""Which mark hit which lesion.

Marks are taken from the most confident down. A mark hits the nearest lesion that is within reach and not yet hit;
reach is the lesion's radius, or a stated tolerance where that is larger, since nobody clicks a 3 mm nodule to the
pixel. A mark that only reaches lesions already hit repeats what was said and is neither right nor wrong; any other is
a false mark.
Every decision looks only at more confident marks, so what a threshold leaves is matched as if it were all there was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

__all__ = ["Matches", "Place", "Spot", "match"]


@dataclass(frozen=True, slots=True)
class Spot:
    """A mark: x, y in px of the native image, confidence 0 to 100."""

    x: float
    y: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Place:
    """A lesion: centre and radius in px of the native image."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Matches:
    """What the marks on one image are worth.

    Attributes
    ----------
    found : for each lesion, in the order they were given, the confidence of its mark; None where it was missed.
    false : confidences of marks where there is no lesion.
    repeats : number of further marks on lesions already hit.
    """

    found: tuple[float | None, ...]
    false: tuple[float, ...]
    repeats: int


def match(marks: Sequence[Spot], lesions: Sequence[Place], tolerance_px: float) -> Matches:
    """Match the marks of one reading to the lesions of its case; ties in confidence keep the order of marking."""
    found: list[float | None] = [None] * len(lesions)
    false: list[float] = []
    repeats = 0
    for mark in sorted(marks, key=lambda each: -each.confidence):
        reached = sorted(_reached(mark, lesions, tolerance_px))
        free = [number for _, number in reached if found[number] is None]
        if free:
            found[free[0]] = mark.confidence
        elif reached:
            repeats += 1
        else:
            false.append(mark.confidence)
    return Matches(tuple(found), tuple(false), repeats)


def _reached(mark: Spot, lesions: Sequence[Place], tolerance_px: float) -> list[tuple[float, int]]:
    """Distance and number of each lesion within reach."""
    away = [(hypot(mark.x - each.x, mark.y - each.y), number) for number, each in enumerate(lesions)]
    return [(distance, number) for distance, number in away if distance <= max(lesions[number].radius, tolerance_px)]
