"""Shapes, starting points and statistics of the two networks."""

import pytest
import torch

from model.autoencoder import Autoencoder, AutoencoderConfig, VectorQuantizer
from model.denoiser import Denoiser, DenoiserConfig
from model.layers import Downsample, ResidualBlock, Upsample

SMALL = AutoencoderConfig(patch=4, channels=(16, 32), blocks=(1, 1))
SMALL_DENOISER = DenoiserConfig(base=16, multipliers=(1, 2), blocks=(1, 1), attention=(1,), heads=2)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("bottleneck", ["continuous", "vq"])
def test_latents_have_four_channels_at_an_eighth(bottleneck: str) -> None:
    model = Autoencoder(AutoencoderConfig(4, (16, 32), (1, 1), bottleneck=bottleneck))  # type: ignore[arg-type]
    assert model.config.downsampling == 8
    latents = model.encode(torch.zeros(2, 1, 64, 96))
    assert latents.shape == (2, 4, 8, 12)
    assert model.decode(latents).shape == (2, 1, 64, 96)


def test_latents_leave_standardised_and_return() -> None:
    model = Autoencoder(SMALL).eval()
    images = torch.rand(6, 1, 64, 64) * 2 - 1
    with torch.no_grad():
        raw = model.encode_raw(images)
        model.set_statistics(raw)
        latents = model.encode(images)
        torch.testing.assert_close(latents.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)  # float32 sums
        torch.testing.assert_close(latents.std(dim=(0, 2, 3)), torch.ones(4), atol=1e-4, rtol=0)
        # undone before the decoder: standardising changes no picture, up to float32 rounding
        torch.testing.assert_close(model.decode(latents), model.decode_raw(raw)[0], atol=1e-5, rtol=1e-4)


def test_the_statistics_travel_with_the_weights() -> None:
    model, other = Autoencoder(SMALL), Autoencoder(SMALL)
    model.set_statistics(torch.randn(2, 4, 8, 8) * 3 + 1)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other.latent_std, model.latent_std)


def test_a_far_part_of_the_image_does_not_move_the_latents_here() -> None:
    """Without normalisation layers the receptive field is the only way that pixels act on latents."""
    model = Autoencoder(SMALL).eval()
    image = torch.rand(1, 1, 256, 64)
    changed = image.clone()
    changed[:, :, 200:] = 1.0
    torch.testing.assert_close(model.encode(image)[:, :, :8], model.encode(changed)[:, :, :8])


def test_a_codebook_follows_in_float32_under_autocast() -> None:
    quantizer = VectorQuantizer(codes=8, channels=4)
    before = quantizer.codebook.clone()
    z = torch.randn(2, 4, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, commitment = quantizer(z)
    assert (out.dtype, commitment.dtype, quantizer.codebook.dtype) == (torch.float32,) * 3
    assert not torch.equal(quantizer.codebook, before)


def test_quantised_latents_are_entries_of_the_codebook() -> None:
    quantizer = VectorQuantizer(codes=8, channels=4).eval()
    out, commitment = quantizer(torch.randn(2, 4, 3, 3))
    vectors = out.movedim(1, -1).reshape(-1, 4)
    distance = torch.cdist(vectors, quantizer.codebook).min(dim=1).values
    torch.testing.assert_close(distance, torch.zeros(18), atol=1e-3, rtol=0)  # cdist cancels in float32
    assert commitment > 0


def test_the_codebook_follows_the_data_only_while_training() -> None:
    quantizer = VectorQuantizer(codes=1, channels=4)
    data = torch.full((1, 4, 2, 2), 5.0)
    before = quantizer.codebook.clone()
    quantizer.eval()(data)
    assert torch.equal(quantizer.codebook, before)
    quantizer.train()
    for _ in range(20):
        quantizer(data)
    torch.testing.assert_close(quantizer.codebook, torch.full((1, 4), 5.0), atol=1e-3, rtol=0)  # .5 ** 20 of the start


def test_gradients_pass_straight_through_the_quantiser() -> None:
    z = torch.randn(1, 4, 2, 2, requires_grad=True)
    out, _ = VectorQuantizer(codes=8, channels=4)(z)
    out.sum().backward()
    assert z.grad is not None
    torch.testing.assert_close(z.grad, torch.ones_like(z))


def test_an_untrained_denoiser_returns_the_condition() -> None:
    model = Denoiser(SMALL_DENOISER)
    condition = torch.randn(2, 4, 16, 16)
    out = model(torch.randn(2, 4, 16, 16), torch.tensor([0.3, 1.0]), condition)
    assert torch.equal(out, condition)


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_other_predictions_start_at_zero(prediction: str) -> None:
    model = Denoiser(DenoiserConfig(base=16, multipliers=(1, 2), blocks=(1, 1), prediction=prediction))  # type: ignore[arg-type]
    out = model(torch.randn(1, 4, 16, 16), torch.tensor([0.5]), torch.randn(1, 4, 16, 16))
    assert torch.equal(out, torch.zeros_like(out))


def test_every_weight_of_the_denoiser_learns() -> None:
    model = Denoiser(SMALL_DENOISER)
    for parameter in model.parameters():  # zero-initialised ends would hide the gradient of what they follow
        torch.nn.init.normal_(parameter, std=0.1)
    model(torch.randn(2, 4, 16, 16), torch.tensor([0.2, 0.8]), torch.randn(2, 4, 16, 16)).pow(2).sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


def test_time_and_noise_both_matter() -> None:
    model = Denoiser(SMALL_DENOISER)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x_t, condition = torch.randn(1, 4, 16, 16), torch.randn(1, 4, 16, 16)
    out = model(x_t, torch.tensor([0.5]), condition)
    assert not torch.allclose(out, model(x_t, torch.tensor([0.9]), condition))
    assert not torch.allclose(out, model(x_t + 1, torch.tensor([0.5]), condition))


def test_residual_blocks_start_as_identity_and_resampling_undoes_itself() -> None:
    x = torch.randn(1, 8, 8, 8)
    assert torch.equal(ResidualBlock(8)(x), x)
    down, up = Downsample(8, 32), Upsample(32, 8)
    for layer in (down.conv, up.conv):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    torch.testing.assert_close(up(down(x)), x)  # the shortcuts lose nothing when no channel is averaged
