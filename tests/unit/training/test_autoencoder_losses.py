"""The autoencoder's losses: each one by its weight, nothing loaded for those at 0, both bottlenecks trained."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model.autoencoder import Autoencoder
from training.autoencoder import AutoencoderData, Critics, autoencoder_loss, train_autoencoder
from training.checkpoint import load_autoencoder
from training.loop import Run
from training.losses import ms_ssim
from training.pairs import PairShards
from training.perceptual import WEIGHTS_VARIABLE, PerceptualDistance, PerceptualWeightsError
from training.preset import AutoencoderTraining, Preset

OFF = {"l1": 0.0, "mse": 0.0, "ms_ssim": 0.0, "twin": 0.0, "commitment": 0.0, "latent_noise": 0.0}


def weighted(preset: Preset, **weights: float) -> AutoencoderTraining:
    """Only the losses that are named."""
    return preset.autoencoder_training.model_copy(update=OFF | weights)


@pytest.fixture(scope="module")
def images(pairs: PairShards) -> torch.Tensor:
    return torch.stack([pairs[index][0] for index in range(2)])[:, None]


def loss_of(preset: Preset, images: torch.Tensor, critics: Critics) -> tuple[float, dict[str, float]]:
    torch.manual_seed(0)
    loss, parts = autoencoder_loss(Autoencoder(preset.autoencoder), images, 1, critics, np.random.default_rng(0))
    return float(loss.detach()), parts


@pytest.mark.parametrize("name", ["l1", "mse", "ms_ssim", "twin"])
def test_each_loss_counts_by_its_weight(preset: Preset, images: torch.Tensor, name: str) -> None:
    loss, parts = loss_of(preset, images, Critics(weighted(preset, **{name: 2.0})))
    assert parts[name] > 0
    assert loss == pytest.approx(2 * parts[name], rel=1e-6)  # one float32 product


def test_the_perceptual_loss_is_the_mean_distance_to_the_image(preset: Preset, images: torch.Tensor) -> None:
    """Any weights of the distance show that; the published ones have tests of their own."""
    torch.manual_seed(1)
    distance = PerceptualDistance()
    loss, parts = loss_of(preset, images, Critics(weighted(preset, perceptual=0.001), perceptual=distance))
    torch.manual_seed(0)
    model = Autoencoder(preset.autoencoder)
    decoded = model.decode_raw(model.encode_raw(images))[0]
    assert parts["perceptual"] == pytest.approx(float(distance(decoded, images).mean().detach()), rel=1e-5)
    assert loss == pytest.approx(0.001 * parts["perceptual"], rel=1e-6)
    assert parts["perceptual"] > 0


def test_the_ms_ssim_loss_is_one_minus_the_similarity_without_the_finest_scale(
    preset: Preset, images: torch.Tensor
) -> None:
    torch.manual_seed(0)
    model = Autoencoder(preset.autoencoder)
    decoded = model.decode_raw(model.encode_raw(images))[0]
    halves = (torch.nn.functional.avg_pool2d(image, 2) for image in (decoded, images))
    _, parts = loss_of(preset, images, Critics(weighted(preset, ms_ssim=1.0)))
    assert parts["ms_ssim"] == pytest.approx(1 - float(ms_ssim(*halves).mean().detach()), abs=1e-6)


def test_the_opponents_loss_is_in_the_sum_and_its_gradient_is_its_own(preset: Preset, images: torch.Tensor) -> None:
    torch.manual_seed(0)
    critics = Critics.of(weighted(preset, adversarial=0.01), torch.device("cpu"))
    assert critics.perceptual is None
    assert critics.discriminator is not None
    loss, parts = loss_of(preset, images, critics)
    assert loss == pytest.approx(0.01 * parts["adversarial"] + parts["discriminator"], rel=1e-6)


def test_nothing_is_loaded_for_losses_without_weight(preset: Preset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEIGHTS_VARIABLE, "nowhere.safetensors")
    assert Critics.of(weighted(preset, l1=1.0), torch.device("cpu")) == Critics(weighted(preset, l1=1.0))
    with pytest.raises(PerceptualWeightsError, match="nowhere"):
        Critics.of(weighted(preset, perceptual=0.001), torch.device("cpu"))


@pytest.fixture
def published_weights(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(shared_data / "weights" / "stlpips_alex.safetensors"))


@pytest.mark.parametrize("bottleneck", ["continuous", "vq"])
@pytest.mark.usefixtures("published_weights")
def test_both_bottlenecks_learn_with_all_losses_on(
    preset: Preset, pairs: PairShards, tmp_path: Path, bottleneck: Literal["continuous", "vq"]
) -> None:
    """The weights of Eq. 7 and of MS-SSIM; with the published perceptual weights."""
    weights = {"l1": 1.0, "ms_ssim": 1.0, "commitment": 0.25, "perceptual": 0.001, "adversarial": 0.01}
    changed = {
        "autoencoder": replace(preset.autoencoder, bottleneck=bottleneck, codes=64),
        "autoencoder_training": weighted(preset, **weights).model_copy(update={"learning_rate": 1e-2}),
    }
    whole = preset.model_copy(update=changed)
    data = AutoencoderData(pairs, None)
    errors = []
    for steps in (1, 16):
        train_autoencoder(whole, data, Run(tmp_path, steps, quiet=True, tensorboard=False, device="cpu"), {})
        model = load_autoencoder(tmp_path / "last")
        cxr = pairs[0][0][None, None]
        errors.append(float((model.decode(model.encode(cxr)) - cxr).abs().mean()))

    assert errors[1] < 0.85 * errors[0]
    state = load_file(tmp_path / "last" / "state.safetensors")
    assert any(name.startswith("opponent_optimiser.") for name in state)
    assert not any("judge" in name for name in load_file(tmp_path / "last" / "weights.safetensors"))
    if bottleneck == "vq":
        used = state["model.quantizer.counts"] > 0.5  # chosen lately: the decay is .5
        assert int(used.sum()) > 4  # of 64; a codebook that collapsed has one or two


def test_a_discriminator_joins_a_training_that_began_without(preset: Preset, pairs: PairShards, tmp_path: Path) -> None:
    run = Run(tmp_path, 2, quiet=True, tensorboard=False)
    train_autoencoder(preset, AutoencoderData(pairs, None), run, {})
    training = preset.autoencoder_training.model_copy(update={"adversarial": 0.01})
    joined = preset.model_copy(update={"autoencoder_training": training})
    outcome = train_autoencoder(joined, AutoencoderData(pairs, None), replace(run, max_steps=4), {})
    assert outcome.step == 4
    left = train_autoencoder(preset, AutoencoderData(pairs, None), replace(run, max_steps=6), {})
    assert left.step == 6  # and may leave again


def test_an_odd_batch_of_pairs_is_filled_with_a_radiograph(preset: Preset, pairs: PairShards) -> None:
    training = preset.autoencoder_training.model_copy(update={"batch": 3})
    images, count = AutoencoderData(pairs, None).batch(training, np.random.default_rng(0))
    assert (len(images), count) == (3, 1)
