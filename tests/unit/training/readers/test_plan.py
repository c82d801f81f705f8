"""Balance and randomness of the crossover, checked by counting."""

from collections import Counter

import numpy as np
import pytest

from training.readers.plan import case_names, crossover, practice
from training.readers.records import PRACTICE, Planned

READERS = ("r1", "r2", "r3", "r4")
POSITIVE, NEGATIVE = [f"p{k}" for k in range(7)], [f"n{k}" for k in range(12)]


def plan(seed: int = 3) -> list[Planned]:
    return crossover([POSITIVE, NEGATIVE], READERS, np.random.default_rng(seed))


def test_every_reader_reads_every_case_once_with_and_once_without_in_two_sessions() -> None:
    read = Counter((each.reader, each.case, each.arm) for each in plan())
    assert read == Counter(
        {(r, case, arm): 1 for r in READERS for case in POSITIVE + NEGATIVE for arm in ("with", "without")}
    )
    sessions = Counter((each.reader, each.case, each.session) for each in plan())
    assert set(sessions.values()) == {1}


@pytest.mark.parametrize("stratum", [POSITIVE, NEGATIVE], ids=["with lesion", "without"])
def test_half_of_each_stratum_has_the_companion_in_each_session_of_each_reader(stratum: list[str]) -> None:
    for reader in READERS:
        for session in (1, 2):
            arms = [e.arm for e in plan() if (e.reader, e.session) == (reader, session) and e.case in stratum]
            assert abs(arms.count("with") - arms.count("without")) <= 1


def test_over_a_pair_of_readers_every_case_has_either_arm_once_in_each_session() -> None:
    for pair in (READERS[:2], READERS[2:]):
        seen = Counter((each.case, each.session, each.arm) for each in plan() if each.reader in pair)
        assert set(seen.values()) == {1}


def test_orders_and_arms_follow_from_the_seed_and_differ_between_readers_and_sessions() -> None:
    assert plan() == plan()
    orders = {
        (seed, reader, session): tuple(
            each.case
            for each in sorted(plan(seed), key=lambda each: each.order)
            if (each.reader, each.session) == (reader, session)
        )
        for seed in (3, 4)
        for reader in READERS
        for session in (1, 2)
    }
    assert len(set(orders.values())) == len(orders)
    arms = {
        (seed, number): frozenset(e.case for e in plan(seed) if (e.reader, e.session, e.arm) == (reader, 1, "with"))
        for seed in (3, 4)
        for number, reader in enumerate(READERS)
    }
    assert len(set(arms.values())) == len(arms)


def test_names_of_cases_are_a_random_permutation() -> None:
    names = case_names(20, np.random.default_rng(1))
    assert sorted(names) == [f"c{number:03d}" for number in range(1, 21)]
    assert names != sorted(names)


def test_practice_is_the_same_for_everybody_and_apart_from_the_sessions() -> None:
    planned = practice(["a", "b"], ("r1", "r2"))
    assert {(each.session, each.arm) for each in planned} == {(PRACTICE, "with")}
    assert [each.case for each in planned] == ["a", "b", "a", "b"]
