"""The discriminator: each side's gradient stays on its side, and the pair of them learns."""

import pytest
import torch
from torch import nn

from training.adversarial import PatchDiscriminator, adversarial_losses


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_it_has_the_size_of_the_published_one() -> None:
    """3 layers from 64 channels: 2.76 million weights (Isola et al. with one colour), each seeing 70 px."""
    discriminator = PatchDiscriminator()
    assert sum(weight.numel() for weight in discriminator.parameters()) == pytest.approx(2.76e6, rel=0.01)
    image = torch.zeros(1, 1, 256, 256, requires_grad=True)
    verdict = PatchDiscriminator(base=4)
    # statistics of the batch see all of the image: without them only the patch is left
    plain = nn.Sequential(*(layer for layer in verdict.judge if not isinstance(layer, nn.BatchNorm2d)))
    (gradient,) = torch.autograd.grad(plain(image)[0, 0, 15, 15], image)
    seen = gradient[0, 0].abs().sum(dim=0).nonzero()
    assert int(seen.max() - seen.min()) + 1 == 70


def test_the_autoencoder_wish_moves_the_image_and_not_the_discriminator(images: torch.Tensor) -> None:
    discriminator, decoded = PatchDiscriminator(8), images.clone().requires_grad_()
    wish, _ = adversarial_losses(discriminator, images, decoded)
    torch.autograd.backward(wish)
    assert decoded.grad is not None
    assert float(decoded.grad.abs().max()) > 0
    assert all(weight.grad is None for weight in discriminator.parameters())


def test_the_judgement_moves_the_discriminator_and_not_the_image(images: torch.Tensor) -> None:
    discriminator, decoded = PatchDiscriminator(8), images.clone().requires_grad_()
    _, judgement = adversarial_losses(discriminator, images, decoded)
    torch.autograd.backward(judgement)
    assert decoded.grad is None
    assert all(weight.grad is not None for weight in discriminator.parameters())


def test_the_losses_are_those_of_least_squares() -> None:
    """A judge that answers the mean of what it sees: real 1 and decoded 0 leave it nothing to learn."""

    class Mean(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image.mean(dim=(1, 2, 3))

    ones, zeros, halves = torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.5)
    for real, decoded, wanted in ((ones, zeros, (1.0, 0.0)), (ones, ones, (0.0, 0.5)), (halves, halves, (0.25, 0.25))):
        found = adversarial_losses(Mean(), real, decoded)
        assert tuple(float(loss) for loss in found) == wanted


def test_a_discriminator_learns_to_tell_noise_from_smooth() -> None:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(8)
    optimiser = torch.optim.Adam(discriminator.parameters(), lr=2e-3, betas=(0.5, 0.9))
    judgements = []
    for _ in range(30):
        smooth = torch.linspace(-1, 1, 64).expand(2, 1, 64, 64) * torch.rand(2, 1, 1, 1)
        _, judgement = adversarial_losses(discriminator, smooth, smooth + 0.3 * torch.randn(2, 1, 64, 64))
        optimiser.zero_grad()
        torch.autograd.backward(judgement)
        optimiser.step()
        judgements.append(float(judgement.detach()))
    assert judgements[-1] < 0.5 * judgements[0]
