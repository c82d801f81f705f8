"""The split: by patient, the same everywhere, and nobody moves when others come."""

import numpy as np
import pytest

from training.ingest.manifest import Split
from training.ingest.split import assign_splits


def test_a_large_set_is_split_eight_to_one_to_one() -> None:
    splits = list(assign_splits([f"p{number}" for number in range(3000)], 0).values())
    shares = [splits.count(name) / 3000 for name in ("train", "validation", "test")]
    # three standard deviations of a binomial share with 3000 draws
    assert np.abs(np.array(shares) - (0.8, 0.1, 0.1)).max() < 0.022


def test_patients_who_are_added_move_nobody() -> None:
    few = assign_splits([f"p{number}" for number in range(40)], 0)
    many = assign_splits([f"p{number}" for number in range(400)], 0, few)
    assert {patient: many[patient] for patient in few} == few
    alone = assign_splits([f"p{number}" for number in range(400)], 0)
    assert many == alone  # 40 are enough that none had to be moved


@pytest.mark.parametrize("count", [3, 4, 5, 8])
@pytest.mark.parametrize("seed", range(5))
def test_a_small_set_has_somebody_in_each(count: int, seed: int) -> None:
    splits = assign_splits([f"p{number}" for number in range(count)], seed)
    assert set(splits.values()) == {"train", "validation", "test"}


def test_of_one_and_of_two_patients_one_is_trained_on() -> None:
    for seed in range(20):
        assert list(assign_splits(["a"], seed).values()) == ["train"]
        assert sorted(assign_splits(["a", "b"], seed).values()) in (["train", "validation"], ["test", "train"])


def test_who_was_tested_on_is_never_trained_on() -> None:
    earlier: dict[str, Split] = {"a": "test", "b": "validation", "c": "train"}
    later = assign_splits(["a", "b", "c", "d"], 0, earlier)
    assert {patient: later[patient] for patient in "abc"} == earlier


def test_another_seed_gives_another_split() -> None:
    patients = [f"p{number}" for number in range(100)]
    assert assign_splits(patients, 0) != assign_splits(patients, 1)
    assert assign_splits(patients, 1) == assign_splits(reversed(patients), 1)
