"""The schedules against their formulas."""

import math

import numpy as np
import pytest

from model.schedule import ScheduleName, alpha_sigma, timesteps


def test_signal_and_noise_power_add_to_one() -> None:
    alpha, sigma = alpha_sigma(np.linspace(0, 1, 101, dtype=np.float32))
    np.testing.assert_allclose(alpha**2 + sigma**2, 1, atol=2e-7)  # two float32 roundings


def test_alpha_bar_is_the_published_cosine() -> None:
    alpha, _ = alpha_sigma(np.array([0.0, 0.25, 0.5], dtype=np.float32))
    published = [
        math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
        for t in (0.0, 0.25, 0.5)
    ]
    np.testing.assert_allclose(alpha**2, published, rtol=1e-6)  # float32


def test_the_ends_are_clean_and_noise() -> None:
    alpha, sigma = alpha_sigma(np.array([0.0, 1.0], dtype=np.float32))
    assert (alpha[0], sigma[0]) == (1.0, 0.0)
    assert alpha[1] == pytest.approx(1e-3)
    assert sigma[1] == pytest.approx(1.0, abs=1e-6)


def test_alpha_falls_all_the_way() -> None:
    alpha, _ = alpha_sigma(np.linspace(0, 1, 1001, dtype=np.float32))
    assert np.all(np.diff(alpha) < 0)


@pytest.mark.parametrize("time", [-0.01, 1.01, math.nan])
def test_a_time_outside_the_interval_is_refused(time: float) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        alpha_sigma(np.array([time], dtype=np.float32))


def test_timesteps_descend_evenly_from_noise_to_clean() -> None:
    np.testing.assert_array_equal(timesteps(4), np.array([1, 0.75, 0.5, 0.25, 0], dtype=np.float32))
    with pytest.raises(ValueError, match="one step"):
        timesteps(0)


@pytest.mark.parametrize(("schedule", "first", "last"), [("linear", 1e-4, 0.02), ("linear_bsldm", 0.008, 0.02)])
def test_a_linear_schedule_is_the_product_of_its_betas(schedule: ScheduleName, first: float, last: float) -> None:
    alpha, sigma = alpha_sigma(np.array([0.0, 0.001, 0.5, 1.0], dtype=np.float32), schedule)
    betas = [first + (last - first) * n / 999 for n in range(1000)]
    expected = [1.0, math.sqrt(1 - first), math.sqrt(math.prod(1 - b for b in betas[:500]))]
    np.testing.assert_allclose(alpha[:3], expected, rtol=1e-5)  # .001 is no exact float32: a millionth of the slope
    assert alpha[3] == pytest.approx(math.sqrt(math.prod(1 - b for b in betas)), rel=1e-6)
    assert (alpha[0], sigma[0]) == (1.0, 0.0)
    assert alpha[3] < 0.0064


@pytest.mark.parametrize("schedule", ["linear", "linear_bsldm"])
def test_linear_schedules_keep_the_power_and_fall(schedule: ScheduleName) -> None:
    alpha, sigma = alpha_sigma(np.linspace(0, 1, 1501, dtype=np.float32), schedule)
    np.testing.assert_allclose(alpha**2 + sigma**2, 1, atol=2e-7)  # two float32 roundings
    assert np.all(np.diff(alpha) < 0)
