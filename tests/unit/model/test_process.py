"""Diffusion, bridge and flow against their closed forms."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from model.bundle import ClippingSpec
from model.process import Level, Prediction, Process, ProcessName, require_compatible
from model.sampler import Given, Noise, Recipe, draw_noise, sample, walk
from model.schedule import timesteps
from tests.unit.model.gaussian import CONDITION, DEVIATION, MEAN, Gaussian, level_at

SHAPE = (1, 1, 64, 64)
FLOW, BRIDGE = Process("flow", noise=0.5), Process("bridge", noise=0.5)
UNCLIPPED = ClippingSpec(kind="none")
WAYS: list[tuple[Process, Prediction]] = [
    (Process(), "x0"),
    (Process(), "eps"),
    (Process(), "v"),
    (Process(schedule="linear"), "v"),
    (FLOW, "x0"),
    (FLOW, "v"),
    (BRIDGE, "x0"),
    (BRIDGE, "v"),
]


def condition() -> Any:
    return np.full(SHAPE, CONDITION, np.float32)


@pytest.mark.parametrize(("process", "prediction"), WAYS)
@pytest.mark.parametrize("t", [0.999, 0.5, 0.05])
def test_the_clean_latents_come_back_from_what_the_network_is_to_predict(
    process: Process, prediction: Prediction, t: float
) -> None:
    x0, radiograph, noise = (draw_noise(seed, (1, 2, 4, 4), 0.0).astype(np.float64) for seed in (1, 2, 3))
    level = level_at(process, t)
    x_t = process.noised(x0, radiograph, noise, level)
    target = process.target(x0, radiograph, noise, level, prediction)
    # alpha and sigma are float32, so that their squares add to 1 within 1e-7; eps is divided by alpha >= .0018
    tolerance = 1e-6 / level.alpha if prediction == "eps" else 1e-6
    np.testing.assert_allclose(process.predicted_x0(target, x_t, level, prediction), x0, atol=tolerance)


def test_the_velocity_of_a_diffusion_is_the_one_of_its_definition() -> None:
    """Where the angle is phi, cos(phi) = alpha: v is the derivative of x_t by phi (Salimans & Ho, appendix D)."""
    level, x0, noise = level_at(Process(), 0.4), 0.8, -1.3
    phi = np.arctan2(level.spread, level.alpha)
    derivative = -np.sin(phi) * x0 + np.cos(phi) * noise
    assert Process().target(x0, 0.0, noise, level, "v") == pytest.approx(derivative, abs=1e-6)


@pytest.mark.parametrize("process", [FLOW, BRIDGE])
def test_bridge_and_flow_end_in_soft_tissue_and_start_at_the_radiograph(process: Process) -> None:
    x0, radiograph, noise = (draw_noise(seed, SHAPE, 0.0) for seed in (1, 2, 3))
    np.testing.assert_array_equal(process.noised(x0, radiograph, noise, level_at(process, 0.0)), x0)
    start = process.noised(x0, radiograph, noise, level_at(process, 1.0))
    np.testing.assert_allclose(start, process.start(radiograph, lambda: noise), atol=1e-7)
    expected = radiograph if process.kind == "bridge" else radiograph + 0.5 * noise
    np.testing.assert_allclose(start, expected, atol=1e-7)


@pytest.mark.parametrize("prediction", ["x0", "v"])
def test_a_flow_follows_its_exact_path(prediction: Prediction) -> None:
    exact, noise = Gaussian(FLOW, prediction), draw_noise(4, SHAPE, 0.0)
    x_1 = condition() + np.float32(0.5) * noise
    result = walk(exact, x_1, timesteps(400), Recipe(prediction, UNCLIPPED, FLOW), Given(condition()))
    # every quantile of the start comes to the same one of the data; Euler's error at 400 steps, four deviations out
    np.testing.assert_allclose(result, MEAN + DEVIATION * noise, atol=0.02)
    np.testing.assert_allclose(exact.carried(x_1), MEAN + DEVIATION * noise, atol=1e-5)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("prediction", ["x0", "v"])
@pytest.mark.parametrize("process", [FLOW, BRIDGE])
def test_any_share_of_fresh_noise_gives_mean_and_deviation(
    process: Process, prediction: Prediction, eta: float
) -> None:
    recipe = Recipe(prediction, UNCLIPPED, process, eta=eta, offset_noise=0.0)
    result = sample(Gaussian(process, prediction), condition(), recipe, 400, seed=6)
    # 4096 samples: three standard errors of mean (.4 / 64) and of deviation (.4 / 90)
    assert result.mean() == pytest.approx(MEAN, abs=0.02)
    assert result.std() == pytest.approx(DEVIATION, abs=0.02)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("last", [0.75, 0.4, 0.1])
def test_a_walk_has_the_marginals_of_the_brownian_bridge(last: float, eta: float) -> None:
    """Soft tissue is one known image here, so that all variance is that of the bridge: strength**2 * t * (1 - t)."""
    recipe = Recipe("x0", UNCLIPPED, BRIDGE, eta=eta, offset_noise=0.0)
    times = np.linspace(1.0, last, 6).astype(np.float32)
    given = Given(condition(), Noise(8, 0.0))
    x_t = walk(lambda x, _t: x * 0 + MEAN, condition(), times, recipe, given)
    # 4096 samples: three standard errors, of a deviation of at most .25
    assert x_t.mean() == pytest.approx((1 - last) * MEAN + last * CONDITION, abs=0.012)
    assert x_t.std() == pytest.approx(0.5 * np.sqrt(last * (1 - last)), rel=0.04)


def test_the_posterior_of_the_bridge_is_that_of_brownian_motion() -> None:
    """I2SB, prop. 3.3: from x_t to x_0 with mean ``x_0 + s / t * (x_t - x_0)`` and variance ``s * (t - s) / t``."""
    for t, s in ((0.9, 0.6), (0.5, 0.1), (0.2, 0.0)):
        here, there = level_at(BRIDGE, t), level_at(BRIDGE, s)
        keep, fresh = BRIDGE.split(here, there, eta=1.0)
        assert keep / here.spread == pytest.approx(s / t, abs=1e-6)
        assert there.alpha - keep * here.alpha / here.spread == pytest.approx(1 - s / t, abs=1e-6)
        assert there.beta - keep * here.beta / here.spread == pytest.approx(0.0, abs=1e-6)  # it forgets the start
        assert fresh**2 == pytest.approx(0.5**2 * s * (t - s) / t, abs=1e-6)


@pytest.mark.parametrize("process", [FLOW, BRIDGE])
@pytest.mark.parametrize("steps", [1, 2, 4, 10])
def test_without_noise_any_number_of_steps_finds_a_known_image(process: Process, steps: int) -> None:
    still = replace(process, noise=0.0)
    soft = draw_noise(3, SHAPE, 0.0)
    predictions: tuple[Prediction, ...] = ("x0", "v")
    for prediction in predictions:
        seen: list[Any] = []

        def predict(x_t: Any, t: float, prediction: str = prediction, seen: list[Any] = seen) -> Any:
            seen.append(x_t)
            return soft if prediction == "x0" else (x_t - soft) / np.float32(t)

        recipe = Recipe(prediction, UNCLIPPED, still, eta=1.0)
        result = sample(predict, condition(), recipe, steps, seed=1)
        np.testing.assert_allclose(result, soft, atol=2e-6)  # float32
        np.testing.assert_array_equal(seen[0], condition())
        for index, x_t in enumerate(seen):  # a straight line
            np.testing.assert_allclose(x_t, soft + (1 - index / steps) * (condition() - soft), atol=2e-6)


@pytest.mark.parametrize("process", [FLOW, BRIDGE])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_numpy_and_torch_walk_the_same_way_through_bridge_and_flow(process: Process, eta: float) -> None:
    recipe = Recipe("v", ClippingSpec(omega=0.2, b=0.8), process, eta=eta)
    in_numpy = sample(Gaussian(process, "v"), condition(), recipe, 5, seed=2)
    in_torch = sample(Gaussian(process, "v"), torch.from_numpy(condition()), recipe, 5, seed=2)
    np.testing.assert_allclose(in_numpy, in_torch.numpy(), atol=2e-6)  # float32 sums in another order
    assert in_numpy.dtype == np.float32


def test_scales_of_a_batch_are_those_of_its_times() -> None:
    times = np.array([0.0, 0.3, 1.0], np.float32)
    for process in (Process(), FLOW, BRIDGE):
        together = Level(*(np.broadcast_to(scale, 3) for scale in process.levels(times)))
        for index, t in enumerate(times):
            one = level_at(process, float(t))
            assert one == pytest.approx([scale[index] for scale in together], abs=1e-7)


@pytest.mark.parametrize(
    ("process", "prediction", "sampler", "eta"),
    [
        ("bridge", "eps", "ddim", 0),
        ("flow", "eps", "ddim", 0),
        ("flow", "v", "dpmpp_2m", 0),
        ("diffusion", "v", "dpmpp_2m", 1),
    ],
)
def test_what_cannot_be_sampled_is_refused(
    process: ProcessName, prediction: Prediction, sampler: str, eta: float
) -> None:
    with pytest.raises(ValueError, match=r"predict x0 or v|dpmpp_2m"):
        require_compatible(process, prediction, sampler, eta)
    require_compatible(process, "v", "ddim", 1.0)
