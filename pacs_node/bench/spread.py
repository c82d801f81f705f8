"""Repeated timings and what to say of them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

__all__ = ["Spread", "extrapolated_s", "timed"]


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of some samples and how far they lie apart.

    Attributes
    ----------
    median, low, high : s; low and high are the quartiles.
    count : samples.
    """

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> Self:
        """Of at least one sample.

        Raises
        ------
        ValueError
            There is none.
        """
        if not samples:
            raise ValueError("no sample was taken")
        low, median, high = (float(value) for value in np.quantile(np.asarray(samples), (0.25, 0.5, 0.75)))
        return cls(median, low, high, len(samples))

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """From what `dataclasses.asdict` made."""
        return cls(**value)


def timed(
    run: Callable[[], object], repeat: int, *, warm_up: int = 1, finish: Callable[[], object] | None = None
) -> Spread:
    """Time ``run`` some times.

    Parameters
    ----------
    repeat : samples, at least 1.
    warm_up : calls before them that are not counted.
    finish : waits until what ``run`` began has ended; for a GPU, which is given work and not waited for.
    """
    wait = finish or (lambda: None)
    for _ in range(warm_up):
        run()
    wait()
    samples = []
    for _ in range(repeat):
        started = time.perf_counter()
        run()
        wait()
        samples.append(time.perf_counter() - started)
    return Spread.of(samples)


def extrapolated_s(once_s: float, step_s: float, steps: int) -> float:
    """Time of a sampling that would take too long to wait for: what happens once, and ``steps`` equal steps."""
    return once_s + steps * step_s
