"""The sampler on Gaussians, where the best prediction is known in closed form, and in both array kinds."""

from typing import Any

import numpy as np
import pytest
import torch

from model.bundle import ClippingSpec
from model.sampler import Prediction, draw_noise, sample
from model.schedule import alpha_sigma, timesteps

MEAN, DEVIATION = 0.7, 0.4
UNCLIPPED = ClippingSpec(kind="none")


def gaussian(prediction: Prediction) -> Any:
    """The exact network for data N(MEAN, DEVIATION**2): its posterior mean, in any of the three meanings."""

    def predict(x_t: Any, t: float) -> Any:
        alpha, sigma = (float(value[0]) for value in alpha_sigma(np.array([t], dtype=np.float32)))
        gain = alpha * DEVIATION**2 / (alpha**2 * DEVIATION**2 + sigma**2)
        x0 = MEAN + gain * (x_t - alpha * MEAN)
        eps = (x_t - alpha * x0) / sigma
        return {"x0": x0, "eps": eps, "v": alpha * eps - sigma * x0}[prediction]

    return predict


def probability_flow(x_T: Any) -> Any:
    """Where the exact flow carries noise: every quantile to the same quantile of the data."""
    alpha, sigma = (float(value[0]) for value in alpha_sigma(np.array([1.0], dtype=np.float32)))
    return MEAN + DEVIATION * (x_T - alpha * MEAN) / np.sqrt(alpha**2 * DEVIATION**2 + sigma**2)


@pytest.mark.parametrize("prediction", ["x0", "eps", "v"])
def test_noise_is_carried_to_the_gaussian_it_stands_for(prediction: Prediction) -> None:
    x_T = draw_noise(1, (1, 1, 64, 64), offset_noise=0.0)
    result = sample(gaussian(prediction), x_T, timesteps(400), prediction=prediction, clipping=UNCLIPPED)
    # DDIM is a first-order solver: its error at 400 steps is below 1 % of a deviation, pixel by pixel
    np.testing.assert_allclose(result, probability_flow(x_T), atol=0.01)
    # 4096 samples: three standard errors of mean (.4 / 64) and of deviation (.4 / 90)
    assert result.mean() == pytest.approx(MEAN, abs=0.02)
    assert result.std() == pytest.approx(DEVIATION, abs=0.02)


def test_more_steps_come_nearer_to_the_exact_flow() -> None:
    x_T = draw_noise(2, (1, 1, 32, 32), offset_noise=0.0)
    errors = [
        np.abs(
            sample(gaussian("x0"), x_T, timesteps(n), prediction="x0", clipping=UNCLIPPED) - probability_flow(x_T)
        ).max()
        for n in (5, 20, 80)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]  # first order would be 4 x each; 2 x leaves room


def test_one_step_gives_the_posterior_mean() -> None:
    x_T = draw_noise(3, (1, 2, 8, 8), offset_noise=0.0)
    result = sample(gaussian("x0"), x_T, timesteps(1), prediction="x0", clipping=UNCLIPPED)
    np.testing.assert_allclose(result, MEAN, atol=2e-3)  # alpha is 1e-3 at the noise end, not 0


@pytest.mark.parametrize("prediction", ["x0", "eps", "v"])
def test_numpy_and_torch_walk_the_same_way(prediction: Prediction) -> None:
    x_T = draw_noise(4, (2, 4, 8, 8), offset_noise=0.1)
    clipping = ClippingSpec(kind="dynamic_clipping", omega=0.2, b=0.8)
    arguments: dict[str, Any] = {"timesteps": timesteps(6), "prediction": prediction, "clipping": clipping}
    in_numpy = sample(gaussian(prediction), x_T, **arguments)
    in_torch = sample(gaussian(prediction), torch.from_numpy(x_T), **arguments)
    assert isinstance(in_torch, torch.Tensor)
    # float32 rounding; where eps is divided by alpha = 1e-3 it is a thousand times larger
    np.testing.assert_allclose(in_numpy, in_torch.numpy(), atol=1e-3 if prediction == "eps" else 1e-6)


def test_the_starting_noise_is_not_changed() -> None:
    x_T = draw_noise(5, (1, 1, 8, 8), offset_noise=0.0)
    before = x_T.copy()
    sample(gaussian("x0"), x_T, timesteps(3), prediction="x0", clipping=UNCLIPPED)
    np.testing.assert_array_equal(x_T, before)


def test_a_single_step_is_clipped_at_the_wide_end() -> None:
    clipping = ClippingSpec(kind="dynamic_clipping", omega=2.0, b=1.0)
    result = sample(lambda x, t: x * 0 + 10, np.ones((1, 1, 2, 2)), timesteps(1), prediction="x0", clipping=clipping)
    np.testing.assert_allclose(result, 3.0)


def test_the_bound_of_each_step_follows_its_progress() -> None:
    seen: list[float] = []
    clipping = ClippingSpec(kind="dynamic_clipping", omega=2.0, b=1.0)

    def predict(x_t: Any, t: float) -> Any:
        seen.append(t)
        return x_t * 0 + 10

    result = sample(predict, np.ones((1, 1, 2, 2)), timesteps(4), prediction="x0", clipping=clipping)
    assert seen == [1.0, 0.75, 0.5, 0.25]  # never at 0, where there is no noise to predict
    np.testing.assert_allclose(result, 3.0)


def test_noise_is_a_function_of_its_seed() -> None:
    first, again, other = (draw_noise(seed, (1, 4, 8, 8), 0.1) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.float32


def test_offset_noise_moves_whole_channels_by_its_coefficient() -> None:
    shape = (400, 4, 4, 4)
    plain, shifted = draw_noise(9, shape, 0.0), draw_noise(9, shape, 0.1)
    offset = shifted - plain
    np.testing.assert_allclose(offset, np.broadcast_to(offset[:, :, :1, :1], shape), atol=1e-6)  # one eta per channel
    assert offset[:, :, 0, 0].std() == pytest.approx(0.1, rel=0.1)  # 1600 draws: 1 / sqrt(2 * 1600) is 2 %
