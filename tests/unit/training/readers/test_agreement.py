"""AC1, AC2 and kappa against published examples and against their own limits."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from training.readers.agreement import conger_kappa, gwet_ac, quadratic_weights

NONE = float("nan")
# 12 units, 4 raters, categories 1 to 5: Krippendorff (2011), example C; Gwet (2014) uses it (irrCAC: cac.raw4raters).
PUBLISHED: list[list[float]] = [
    [1, 1, NONE, 1],
    [2, 2, 3, 2],
    [3, 3, 3, 3],
    [3, 3, 3, 3],
    [2, 2, 2, 2],
    [1, 2, 3, 4],
    [4, 4, 4, 4],
    [1, 1, 2, 1],
    [2, 2, 2, 2],
    [NONE, 5, 5, 5],
    [NONE, NONE, 1, 1],
    [NONE, NONE, 3, NONE],
]
SCALE = (1, 2, 3, 4, 5)


def table(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    return np.array(rows, dtype=np.float64)


def test_ac1_and_its_error_are_the_published_ones() -> None:
    found = gwet_ac(table(PUBLISHED), SCALE, np.eye(5))
    assert found.value == pytest.approx(0.77544, abs=5e-6)
    assert found.standard_error == pytest.approx(0.14295, abs=5e-6)
    assert (found.low, found.high) == pytest.approx((0.461, 1.0), abs=5e-4)
    assert found.cases == 11


def test_ac2_with_quadratic_weights_is_the_published_one() -> None:
    assert gwet_ac(table(PUBLISHED), SCALE).value == pytest.approx(0.914, abs=5e-4)


def test_kappa_of_several_readers_is_the_published_one() -> None:
    """Rows 2 to 9 of the example: .6719243 in the documentation of the R package quadagree."""
    assert conger_kappa(table(PUBLISHED[1:9])).value == pytest.approx(0.6719243, abs=5e-8)


def test_kappa_of_two_readers_is_cohens_with_quadratic_weights() -> None:
    generator = np.random.default_rng(2)
    pair = np.clip(generator.integers(1, 4, (30, 1)) + generator.integers(-1, 2, (30, 2)), 1, 3).astype(np.float64)
    seen = np.zeros((3, 3))
    for first, second in pair:
        seen[int(first) - 1, int(second) - 1] += 1 / 30
    expected = seen.sum(axis=1)[:, None] * seen.sum(axis=0)[None, :]
    distance = 1 - quadratic_weights((1, 2, 3))
    assert conger_kappa(pair).value == pytest.approx(1 - (distance * seen).sum() / (distance * expected).sum())


def test_full_agreement_is_one_and_kappa_has_none_where_all_is_the_same() -> None:
    same = table([[3, 3, 3]] * 8)
    assert gwet_ac(same, (1, 2, 3)).value == 1
    assert np.isnan(conger_kappa(same).value)


def test_ac2_stays_high_where_kappa_falls_although_readers_agree() -> None:
    rows = table([[3, 3]] * 28 + [[3, 2], [2, 3]])
    assert gwet_ac(rows, (1, 2, 3)).value > 0.9
    assert conger_kappa(rows).value < 0.1


def test_ratings_by_chance_agree_as_by_chance() -> None:
    rows = np.random.default_rng(4).integers(1, 4, (3000, 2)).astype(np.float64)
    found = gwet_ac(rows, (1, 2, 3))
    assert found.low < 0 < found.high
    assert abs(conger_kappa(rows).value) < 0.05


def test_a_rating_off_the_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="not one of"):
        gwet_ac(table([[1, 4]]), (1, 2, 3))


def test_no_case_with_two_readers_has_no_coefficient() -> None:
    assert np.isnan(gwet_ac(table([[1, NONE], [NONE, 2]]), (1, 2, 3)).value)
