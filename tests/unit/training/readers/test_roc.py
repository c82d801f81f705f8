"""Areas and the weighted AFROC figure against counting by hand and against resampling."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.training.readers.van_dyke import CINE, SPIN_ECHO, kernels_of
from training.readers.roc import (
    NOT_MARKED,
    area_interval,
    auc_kernel,
    bootstrap_figures,
    delong_covariance,
    jackknife_covariance,
    leave_one_out,
    wafroc_kernel,
)


def floats(*values: float) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)


def trapezoids(normal: NDArray[np.float64], diseased: NDArray[np.float64]) -> float:
    """The area under the staircase of (1 - specificity, sensitivity) over every threshold: another way to the same."""
    thresholds = [np.inf, *sorted({*normal, *diseased}, reverse=True)]
    across = [float((normal >= each).mean()) for each in thresholds]
    up = [float((diseased >= each).mean()) for each in thresholds]
    return float(np.trapezoid(up, across))


def test_area_is_that_under_the_curve_with_ties_and_unmarked_cases() -> None:
    generator = np.random.default_rng(3)
    for _ in range(20):
        normal = generator.integers(0, 5, 17).astype(np.float64)
        diseased = generator.integers(1, 7, 11).astype(np.float64)
        normal[normal == 0] = NOT_MARKED
        assert auc_kernel(normal, diseased).mean() == pytest.approx(trapezoids(normal, diseased))


def test_weighted_afroc_counts_lesions_of_a_case_together_and_a_missed_one_as_a_tie_with_an_unmarked_case() -> None:
    """Normal cases: unmarked, and one false mark of 40. Diseased: lesions hit at 60 and missed; and hit at 30.

    Against unmarked: (1 + 1/2) / 2 = 3/4 and 1. Against 40: (1 + 0) / 2 = 1/2 and 0. Mean 9/16.
    """
    kernel = wafroc_kernel(floats(NOT_MARKED, 40), [floats(60, NOT_MARKED), floats(30)])
    assert kernel.tolist() == [[0.75, 1.0], [0.5, 0.0]]
    assert kernel.mean() == 9 / 16


def test_weighted_afroc_with_one_lesion_a_case_is_the_area_of_its_ratings() -> None:
    generator = np.random.default_rng(5)
    normal, lesions = generator.normal(size=9), generator.normal(size=7)
    assert np.array_equal(wafroc_kernel(normal, [floats(each) for each in lesions]), auc_kernel(normal, lesions))


def test_delong_variance_is_that_of_areas_of_new_samples() -> None:
    """4,000 fresh samples of 30 + 20 cases: their variance is known to 3 %, and DeLong's estimates average to it."""
    generator = np.random.default_rng(7)
    areas, estimated = [], []
    for _ in range(4000):
        kernel = auc_kernel(generator.normal(size=30), generator.normal(1.0, size=20))
        areas.append(kernel.mean())
        estimated.append(delong_covariance(kernel[None])[0, 0])
    assert np.mean(estimated) == pytest.approx(np.var(areas), rel=0.07)


def test_delong_jackknife_and_bootstrap_agree_on_correlated_readings() -> None:
    kernels = np.concatenate([kernels_of(SPIN_ECHO)[:2], kernels_of(CINE)[:2]])
    delong, jackknife = delong_covariance(kernels), jackknife_covariance(leave_one_out(kernels))
    drawn = np.cov(bootstrap_figures(kernels, 4000, 11).T)
    largest = delong.max()
    assert np.abs(jackknife - delong).max() < 0.05 * largest
    assert np.abs(drawn - delong).max() < 0.10 * largest


def test_leaving_a_case_out_is_what_it_says() -> None:
    kernel = auc_kernel(floats(1, 2, 5), floats(2, 4))
    left = leave_one_out(kernel[None])[0]
    by_hand = [np.delete(kernel, row, axis=0).mean() for row in range(3)]
    by_hand += [np.delete(kernel, column, axis=1).mean() for column in range(2)]
    assert left == pytest.approx(by_hand)


def test_bootstrap_repeats_with_its_seed() -> None:
    kernels = kernels_of(CINE)
    assert np.array_equal(bootstrap_figures(kernels, 50, 1), bootstrap_figures(kernels, 50, 1))
    assert not np.array_equal(bootstrap_figures(kernels, 50, 1), bootstrap_figures(kernels, 50, 2))


def test_a_perfect_area_still_has_an_interval() -> None:
    low, high = area_interval(1.0, 0.0, 10, 10)
    assert high == 1.0
    assert 0.7 < low < 0.95
    assert area_interval(0.0, 0.0, 10, 10) == pytest.approx((1 - high, 1 - low))
    wider, _ = area_interval(1.0, 0.0, 5, 5)
    assert wider < low


def test_interval_of_an_area_covers_the_true_one() -> None:
    """2,000 samples with true area Phi(1 / sqrt 2) = .760: covered 95 % of the time, within .02."""
    generator = np.random.default_rng(13)
    covered = 0
    for _ in range(2000):
        kernel = auc_kernel(generator.normal(size=30), generator.normal(1.0, size=30))
        low, high = area_interval(float(kernel.mean()), float(delong_covariance(kernel[None])[0, 0]), 30, 30)
        covered += low <= 0.76025 <= high
    assert 0.93 < covered / 2000 < 0.97
