"""Samplers of the diffusion on Gaussians, whose best prediction is known in closed form, and in both array kinds."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from model.bundle import ClippingSpec, SamplerName
from model.process import DIFFUSION, Prediction, Process
from model.sampler import Given, Noise, Recipe, draw_noise, sample, walk
from model.schedule import ScheduleName, timesteps
from tests.unit.model.gaussian import DEVIATION, MEAN, Gaussian, level_at

UNCLIPPED = ClippingSpec(kind="none")
PLAIN = Recipe("x0", UNCLIPPED, offset_noise=0.0)
CLIPPINGS = {
    "none": UNCLIPPED,
    "static": ClippingSpec(kind="static", bound=1.0),
    "dynamic_thresholding": ClippingSpec(kind="dynamic_thresholding", bound=1.0, percentile=0.9),
    "dynamic_clipping": ClippingSpec(kind="dynamic_clipping", omega=0.4, b=0.8),
}


@pytest.mark.parametrize("prediction", ["x0", "eps", "v"])
@pytest.mark.parametrize(("schedule", "tolerance"), [("cosine", 0.008), ("linear", 0.02), ("linear_bsldm", 0.06)])
def test_ddim_carries_noise_along_the_exact_flow(
    prediction: Prediction, schedule: ScheduleName, tolerance: float
) -> None:
    process = Process(schedule=schedule)
    exact = Gaussian(process, prediction)
    x_T = draw_noise(1, (1, 1, 64, 64), offset_noise=0.0)
    result = walk(exact, x_T, timesteps(1000), replace(PLAIN, prediction=prediction, process=process))
    # DDIM is of first order, and its last step averages over the noise of the first level: .5, 1 and 4 % of the 1.6
    # that the data reach. The betas that the paper prints begin with a sigma of .09; that is what costs 4 %
    np.testing.assert_allclose(result, exact.carried(x_T), atol=tolerance)
    # 4096 samples: three standard errors of mean (.4 / 64) and of deviation (.4 / 90)
    assert result.mean() == pytest.approx(MEAN, abs=0.02)
    assert result.std() == pytest.approx(DEVIATION, abs=0.02)


@pytest.mark.parametrize(("sampler", "eta"), [("ddpm", 0.0), ("ddim", 1.0), ("ddim", 0.5)])
@pytest.mark.parametrize("prediction", ["x0", "eps", "v"])
def test_a_thousand_ancestral_steps_give_mean_and_deviation(
    sampler: SamplerName, eta: float, prediction: Prediction
) -> None:
    recipe = replace(PLAIN, prediction=prediction, sampler=sampler, eta=eta)
    result = sample(Gaussian(prediction=prediction), np.zeros((1, 1, 64, 64), np.float32), recipe, 1000, seed=11)
    # three standard errors of 4096 samples; the posterior variance is a little small at any finite number of steps
    assert result.mean() == pytest.approx(MEAN, abs=0.02)
    assert result.std() == pytest.approx(DEVIATION, abs=0.02)


def test_ancestral_sampling_is_the_posterior_of_the_discrete_chain() -> None:
    """Ho et al. (2020), eq. 7, written with betas, against the step that is written with scales."""
    for n in (1000, 700, 300, 2):
        here, there = (level_at(Process(schedule="linear"), step / 1000) for step in (n, n - 1))
        bar, bar_before = here.alpha**2, there.alpha**2
        beta = 1e-4 + (0.02 - 1e-4) * (n - 1) / 999
        keep, fresh = DIFFUSION.split(here, there, eta=1.0)
        # x_s = alpha_s x0 + keep * (x_t - alpha_t x0) / sigma_t
        on_x_t, on_x0 = keep / here.spread, there.alpha - keep * here.alpha / here.spread
        # float32 scales: sigma_2 is .02 with a relative error of 6e-8, and differences of such squares lose four digits
        assert on_x_t == pytest.approx(np.sqrt(1 - beta) * (1 - bar_before) / (1 - bar), rel=1e-3)
        assert on_x0 == pytest.approx(np.sqrt(bar_before) * beta / (1 - bar), rel=1e-3)
        assert fresh**2 == pytest.approx(beta * (1 - bar_before) / (1 - bar), rel=1e-3)


def solver_errors(sampler: SamplerName, steps: tuple[int, ...]) -> list[float]:
    """Largest distance from the exact flow on the part of the way where both of its ends are regular."""
    x_T = 1.5 * draw_noise(2, (1, 1, 16, 16), offset_noise=0.0).astype(np.float64)
    exact, recipe, first, last = Gaussian(), replace(PLAIN, sampler=sampler), 0.9, 0.2
    return [
        float(np.abs(walk(exact, x_T, times, recipe) - exact.carried(x_T, first, last)).max())
        for times in (np.linspace(first, last, n + 1).astype(np.float32) for n in steps)
    ]


def test_ddim_is_of_first_order_and_dpm_solver_of_second() -> None:
    ddim, dpm = solver_errors("ddim", (40, 80, 160)), solver_errors("dpmpp_2m", (40, 80, 160))
    for coarse, fine in ((0, 1), (1, 2)):
        # halving the step halves a first-order error and quarters a second-order one; .1 for terms of higher order
        assert np.log2(ddim[coarse] / ddim[fine]) == pytest.approx(1, abs=0.1)
        assert np.log2(dpm[coarse] / dpm[fine]) == pytest.approx(2, abs=0.1)
    assert dpm[0] < ddim[2]


@pytest.mark.parametrize("steps", [10, 20])
def test_dpm_solver_is_nearer_than_ddim_over_the_whole_way(steps: int) -> None:
    x_T, exact = draw_noise(3, (1, 1, 32, 32), offset_noise=0.0), Gaussian(prediction="eps")
    errors = {
        name: np.abs(
            walk(exact, x_T, timesteps(steps), replace(PLAIN, prediction="eps", sampler=name)) - exact.carried(x_T)
        ).mean()
        for name in ("ddim", "dpmpp_2m")
    }
    assert errors["dpmpp_2m"] < errors["ddim"]


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpmpp_2m"])
def test_one_step_gives_the_posterior_mean(sampler: SamplerName) -> None:
    recipe = replace(PLAIN, sampler=sampler)
    result = sample(Gaussian(), np.zeros((1, 2, 8, 8), np.float32), recipe, 1, seed=3)
    np.testing.assert_allclose(result, MEAN, atol=2e-3)  # alpha is 1e-3 at the noise end, not 0


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpmpp_2m"])
@pytest.mark.parametrize("prediction", ["x0", "eps", "v"])
@pytest.mark.parametrize("offset", [0.0, 0.1])
@pytest.mark.parametrize("clipping", CLIPPINGS)
def test_numpy_and_torch_walk_the_same_way(
    prediction: Prediction, sampler: SamplerName, offset: float, clipping: str
) -> None:
    """The four thresholdings with and without offset noise."""
    recipe = Recipe(prediction, CLIPPINGS[clipping], sampler=sampler, offset_noise=offset)
    condition = np.zeros((2, 4, 8, 8), np.float32)
    in_numpy = sample(Gaussian(prediction=prediction), condition, recipe, 6, seed=4)
    in_torch = sample(Gaussian(prediction=prediction), torch.from_numpy(condition), recipe, 6, seed=4)
    assert isinstance(in_torch, torch.Tensor)
    assert (in_numpy.dtype, in_torch.dtype) == (np.float32, torch.float32)
    # float32 rounding; where eps is divided by alpha = 1e-3 it is a thousand times larger
    np.testing.assert_allclose(in_numpy, in_torch.numpy(), atol=2e-3 if prediction == "eps" else 2e-6)
    bounds = {"none": np.inf, "static": 1.0, "dynamic_thresholding": 1.0, "dynamic_clipping": 1.2}
    if sampler != "dpmpp_2m":  # the last prediction is the result
        assert np.abs(in_numpy).max() <= bounds[clipping] + 1e-6


def test_every_clipping_is_another_way() -> None:
    latents = {
        name: sample(
            Gaussian(), np.zeros((1, 1, 16, 16), np.float32), replace(PLAIN, clipping=clipping), steps=6, seed=1
        )
        for name, clipping in CLIPPINGS.items()
    }
    names = list(latents)
    for index, name in enumerate(names):
        assert all(not np.array_equal(latents[name], latents[other]) for other in names[index + 1 :])


def test_the_starting_noise_is_not_changed() -> None:
    x_T = draw_noise(5, (1, 1, 8, 8), offset_noise=0.0)
    before = x_T.copy()
    walk(Gaussian(), x_T, timesteps(3), PLAIN)
    np.testing.assert_array_equal(x_T, before)


def test_a_single_step_is_clipped_at_the_wide_end() -> None:
    clipping = ClippingSpec(kind="dynamic_clipping", omega=2.0, b=1.0)
    result = walk(lambda x, _t: x * 0 + 10, np.ones((1, 1, 2, 2)), timesteps(1), Recipe("x0", clipping))
    np.testing.assert_allclose(result, 3.0)


def test_the_bound_of_each_step_follows_its_progress() -> None:
    seen: list[float] = []
    clipping = ClippingSpec(kind="dynamic_clipping", omega=2.0, b=1.0)

    def predict(x_t: Any, t: float) -> Any:
        seen.append(t)
        return x_t * 0 + 10

    result = walk(predict, np.ones((1, 1, 2, 2)), timesteps(4), Recipe("x0", clipping))
    assert seen == [1.0, 0.75, 0.5, 0.25]  # never at 0, where there is no noise to predict
    np.testing.assert_allclose(result, 3.0)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_a_seed_is_one_result(sampler: SamplerName) -> None:
    condition, recipe = np.zeros((1, 1, 8, 8), np.float32), replace(PLAIN, sampler=sampler)
    first, again, other = (sample(Gaussian(), condition, recipe, 5, seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_step_of_an_ancestral_way_draws_its_own_noise() -> None:
    noise = Noise(3, 0.0)
    first = noise.draw((1, 1, 4, 4))
    assert not np.array_equal(first, noise.draw((1, 1, 4, 4)))
    np.testing.assert_array_equal(first, draw_noise(3, (1, 1, 4, 4), 0.0))
    with pytest.raises(ValueError, match="draws noise"):
        walk(Gaussian(), first, timesteps(3), replace(PLAIN, sampler="ddpm"), Given())
