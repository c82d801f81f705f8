"""Eq. 5: the covariance of offset noise, and that samplers stay true to it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from model.bundle import ClippingSpec
from model.sampler import Recipe, draw_noise, sample
from tests.unit.model.gaussian import DEVIATION, MEAN, Gaussian

SIDE = 8
RECIPE = Recipe("x0", ClippingSpec(kind="none"), sampler="ddpm", offset_noise=0.3)


def test_a_coefficient_of_a_tenth_is_a_hundredth_in_the_covariance() -> None:
    """I + lambda * Sigma, with Sigma all ones in a channel and 0 between channels, and lambda the square of .1."""
    noise = draw_noise(1, (40_000, 2, 2, 2), offset_noise=0.1).reshape(40_000, 8)
    covariance = np.cov(noise, rowvar=False)
    expected = np.eye(8) + 0.01 * np.kron(np.eye(2), np.ones((4, 4)))
    # standard errors of 40,000 draws: 1 / 200 beside and sqrt(2) / 200 on the diagonal; 4 of them for 64 entries
    np.testing.assert_allclose(covariance, expected, atol=0.028)
    beside = ~np.eye(8, dtype=bool)
    within, between = (covariance[block & beside] for block in (expected > 0, expected == 0))
    assert within.mean() == pytest.approx(0.01, abs=0.004)  # 24 entries: three times .005 / sqrt(12)
    assert between.mean() == pytest.approx(0.0, abs=0.004)


def test_the_mean_of_a_channel_shows_the_coefficient() -> None:
    means = draw_noise(2, (2000, 4, 32, 32), offset_noise=0.1).mean(axis=(2, 3))
    # variance .01 of eta plus 1 / 1024 of the mean of the rest; 8000 draws: 3 standard errors are 5 %
    assert means.var() == pytest.approx(0.01 + 1 / 1024, rel=0.05)


def test_noise_is_a_function_of_its_seed() -> None:
    first, again, other = (draw_noise(seed, (1, 4, 8, 8), 0.1) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.float32


def test_offset_noise_moves_whole_channels() -> None:
    shape = (400, 4, 4, 4)
    offset = draw_noise(9, shape, 0.1) - draw_noise(9, shape, 0.0)
    np.testing.assert_allclose(offset, np.broadcast_to(offset[:, :, :1, :1], shape), atol=1e-6)  # one eta per channel


def channel_means(offset: float) -> float:
    """Deviation of the channel means of sampled latents, in units of what independent pixels would have.

    The network is exact for noise with a coefficient of .3; it treats the mean of a channel and the rest apart, since
    the noise has another power in each.
    """
    whole = Gaussian(noise_power=1 + 0.3**2 * SIDE**2)
    rest = Gaussian()

    def predict(x_t: Any, t: float) -> Any:
        mean = x_t.mean(axis=(2, 3), keepdims=True)
        return whole(mean, t) + rest(x_t, t) - rest(mean, t)

    condition = np.zeros((600, 1, SIDE, SIDE), np.float32)
    result = sample(predict, condition, replace(RECIPE, offset_noise=offset), 300, seed=5)
    assert result.mean() == pytest.approx(MEAN, abs=0.02)
    return float(result.mean(axis=(2, 3)).std() * SIDE / DEVIATION)


def test_ancestral_noise_has_the_offset_too_else_the_means_of_channels_collapse() -> None:
    assert channel_means(0.3) == pytest.approx(1.0, abs=0.1)  # 600 draws: three standard errors are .09
    assert channel_means(0.0) < 0.8  # what the same network gives when the sampler leaves the offset out
