"""Intervals that cover what they should, and that know that images of one person are not independent."""

import numpy as np
import pytest

from training.compare import statistics
from training.compare.statistics import paired_difference, summary


def _scores(values: list[float]) -> dict[str, dict[str, float]]:
    return {f"case{index}": {"psnr": value} for index, value in enumerate(values)}


def test_spread_is_over_images_and_leaves_out_what_has_no_figure() -> None:
    found = summary(_scores([1.0, 3.0, float("nan")]), "psnr")
    assert (found.mean, found.count) == (2.0, 2)
    assert found.sd == pytest.approx(np.sqrt(2))


def test_a_paired_difference_sees_what_spread_between_images_hides() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(30, 5, 40)
    one, other = _scores(list(hard + 0.5)), _scores(list(hard + rng.normal(0, 0.2, 40)))
    gap = paired_difference(one, other, {name: name for name in one}, "psnr")
    assert gap is not None
    assert gap.certain
    assert gap.low < gap.mean < gap.high
    assert gap.mean == pytest.approx(0.5, abs=0.1)
    assert gap.high - gap.low < 0.2


def test_ninety_five_intervals_in_a_hundred_hold_the_truth() -> None:
    rng, held = np.random.default_rng(1), 0
    for _ in range(60):
        values = rng.normal(0.3, 1.0, 40)
        gap = paired_difference(
            _scores(list(values)), _scores([0.0] * 40), {f"case{i}": str(i) for i in range(40)}, "psnr"
        )
        assert gap is not None
        held += gap.low <= 0.3 <= gap.high
    assert 52 <= held <= 60  # binomial: 95 % of 60 is 57 with a deviation of 1.7


def test_images_of_one_person_widen_the_interval() -> None:
    rng = np.random.default_rng(2)
    of_person = np.repeat(rng.normal(0, 1, 8), 10)
    scores, zero = _scores(list(of_person)), _scores([0.0] * 80)
    alone = paired_difference(scores, zero, {name: name for name in scores}, "psnr")
    together = paired_difference(scores, zero, {f"case{i}": str(i // 10) for i in range(80)}, "psnr")
    assert alone is not None
    assert together is not None
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_too_few_people_tell_nothing_about_others() -> None:
    """Where chance alone decides, five people in a row differ one way once in 16: more often than once in 20."""
    for count in (1, 2, 5):
        scores = _scores([1.0 + 0.1 * index for index in range(count)])
        assert paired_difference(scores, _scores([0.0] * count), {name: name for name in scores}, "psnr") is None
    scores = _scores([1.0 + 0.1 * index for index in range(6)])
    found = paired_difference(scores, _scores([0.0] * 6), {name: name for name in scores}, "psnr")
    assert found is not None
    assert found.certain


def test_of_seven_people_who_do_not_differ_one_in_twenty_is_called_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain percentiles of so few call 12 in 100; 400 sets tell 5 from that with a deviation of 1."""
    monkeypatch.setattr(statistics, "RESAMPLES", 2000)
    rng, zero = np.random.default_rng(3), _scores([0.0] * 7)
    found = [
        paired_difference(_scores(list(rng.normal(0, 1, 7))), zero, {n: n for n in zero}, "psnr") for _ in range(400)
    ]
    assert 0.02 <= np.mean([each is not None and each.certain for each in found]) <= 0.08
