"""Who reads which case when, and how: a balanced crossover in random order, a function of the seed alone."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from training.readers.records import PRACTICE, Arm, Planned

__all__ = ["case_names", "crossover", "practice"]

SESSIONS = (1, 2)


def case_names(count: int, rng: Generator) -> list[str]:
    """Names `c001` and on in random order: a name says nothing about the place of its source in the folder."""
    width = max(3, len(str(count)))
    return [f"c{number:0{width}d}" for number in rng.permutation(np.arange(1, count + 1)).tolist()]


def crossover(strata: Sequence[Sequence[str]], readers: Sequence[str], rng: Generator) -> list[Planned]:
    """Every case twice for every reader: in one session with its companion, in the other without.

    In each session a reader has the companion for half of the cases of each stratum (one more or less where their
    number is odd). Readers go in pairs: what the first reads with, the second reads without, so that over a pair every
    case has either arm once in each session. A reader's orders in the two sessions are drawn apart.

    Parameters
    ----------
    strata : case names in groups that should be balanced each on its own, as those with and without a lesion.
    """
    plan: list[Planned] = []
    arms: dict[str, bool] = {}
    for number, reader in enumerate(readers):
        arms = {case: not first for case, first in arms.items()} if number % 2 else _halved(strata, rng)
        for session in SESSIONS:
            order = rng.permutation(sorted(arms)).tolist()
            plan += [
                Planned(reader=reader, session=session, order=place, case=case, arm=_arm(arms[case], session))
                for place, case in enumerate(order, start=1)
            ]
    return plan


def practice(cases: Sequence[str], readers: Sequence[str]) -> list[Planned]:
    """Cases to practise on, in one order and with companions for everybody; none of them is scored."""
    return [
        Planned(reader=reader, session=PRACTICE, order=place, case=case, arm="with")
        for reader in readers
        for place, case in enumerate(cases, start=1)
    ]


def _halved(strata: Sequence[Sequence[str]], rng: Generator) -> dict[str, bool]:
    """Case -> whether its first reading is with the companion: every other case of the shuffled strata in a row."""
    shuffled = [case for stratum in strata for case in rng.permutation(sorted(stratum)).tolist()]
    offset = int(rng.integers(2))
    return {case: bool((place + offset) % 2) for place, case in enumerate(shuffled)}


def _arm(first_with: bool, session: int) -> Arm:
    return "with" if first_with == (session == SESSIONS[0]) else "without"
