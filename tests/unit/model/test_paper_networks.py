"""The published networks: as large as the published ones, and trainable in miniature."""

import pytest
import torch
from torch import nn

from model.autoencoder import Autoencoder
from model.denoiser import Denoiser, DenoiserConfig
from model.layers import TimedBlock
from model.vqvae import WideUnit
from tests.networks import tiny_paper_network
from training.preset import load_preset


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)


def count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def test_the_paper_preset_has_the_published_sizes() -> None:
    preset = load_preset("paper")
    with torch.device("meta"):  # sizes without memory
        autoencoder, denoiser = Autoencoder(preset.autoencoder).eval(), Denoiser(preset.denoiser).eval()
        latents = autoencoder.encode(torch.zeros(1, 1, 1024, 1024))
        assert autoencoder.decode(latents).shape == (1, 1, 1024, 1024)
        assert denoiser(latents, torch.zeros(1), latents).shape == latents.shape == (1, 4, 128, 128)
    assert count(autoencoder) == pytest.approx(38.3e6, rel=0.01)
    assert count(denoiser) == pytest.approx(383.0e6, rel=0.01)
    assert autoencoder.quantizer is not None
    assert (autoencoder.quantizer.codebook.shape, autoencoder.quantizer.decay) == ((256, 4), 0.5)


def test_the_paper_preset_attends_at_an_eighth_a_sixteenth_and_a_thirty_second_of_the_latents() -> None:
    preset = load_preset("paper")
    with torch.device("meta"):
        denoiser = Denoiser(preset.denoiser)
    attends = [
        any(name.endswith("query_key_value.weight") for name, _ in level.named_parameters()) for level in denoiser.down
    ]
    assert [2**level for level, does in enumerate(attends) if does] == [8, 16, 32]
    assert preset.denoiser.heads == 8


def test_the_published_autoencoder_has_no_normalisation_and_wide_units() -> None:
    autoencoder = tiny_paper_network().autoencoder
    kinds = {type(module) for module in autoencoder.modules()}
    assert not kinds & {nn.GroupNorm, nn.BatchNorm2d, nn.LayerNorm, nn.InstanceNorm2d}
    units = [module for module in autoencoder.modules() if isinstance(module, WideUnit)]
    assert len(units) == 6
    assert {unit.first.out_channels for unit in units} == {32}


def test_a_wide_unit_adds_what_it_finds() -> None:
    unit = WideUnit(2, 8)
    for layer in (unit.first, unit.second):
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, 0.5)  # type: ignore[arg-type]
    x = torch.tensor([-2.0, -0.25, 1.0, 3.0]).reshape(1, 1, 2, 2).repeat(1, 2, 1, 1)
    torch.testing.assert_close(unit(x), (x + 0.5).clamp_min(0))


def test_latents_that_are_not_standardised_keep_the_units_of_the_encoder() -> None:
    autoencoder = tiny_paper_network().autoencoder
    images = torch.rand(2, 1, 64, 64) * 2 - 1
    autoencoder.set_statistics(autoencoder.encode_raw(images) * 7 + 3)
    torch.testing.assert_close(autoencoder.encode(images), autoencoder.encode_raw(images), rtol=0, atol=0)


def test_every_weight_of_the_published_networks_learns() -> None:
    network = tiny_paper_network()
    autoencoder, denoiser = network.autoencoder.train(), network.denoiser.train()
    for module in (autoencoder, denoiser):
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.1)
    image, commitment = autoencoder.decode_raw(autoencoder.encode_raw(torch.rand(2, 1, 32, 32)))
    (image.pow(2).mean() + 0.25 * commitment).backward()  # type: ignore[no-untyped-call]
    latents = torch.randn(2, 4, 8, 8)
    denoiser(latents, torch.tensor([0.2, 0.8]), torch.randn(2, 4, 8, 8)).pow(2).sum().backward()
    parameters = [*autoencoder.named_parameters(), *denoiser.named_parameters()]
    without = [name for name, p in parameters if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


def test_an_untrained_published_denoiser_answers_zero_or_the_condition() -> None:
    sizes = {"base": 16, "multipliers": (1, 2), "blocks": (1, 1), "attention": (1,), "heads": 2, "architecture": "adm"}
    x_t, t, condition = torch.randn(1, 4, 8, 8), torch.tensor([0.5]), torch.randn(1, 4, 8, 8)
    for prediction, expected in (("eps", torch.zeros_like(x_t)), ("v", torch.zeros_like(x_t)), ("x0", condition)):
        model = Denoiser(DenoiserConfig(**sizes, prediction=prediction))  # type: ignore[arg-type]
        assert torch.equal(model(x_t, t, condition), expected)


def test_every_skip_of_the_published_denoiser_is_used() -> None:
    """As many are read on the way up as are laid down: those of the blocks, of the stem and of each halving."""
    denoiser = tiny_paper_network().denoiser
    names = [name for name, module in denoiser.named_modules() if isinstance(module, TimedBlock)]
    down, up = (sum(name.startswith(way) for name in names) for way in ("down.", "up."))
    assert (down + len(denoiser.down), up) == (5, 5)
