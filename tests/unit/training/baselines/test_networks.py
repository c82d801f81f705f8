"""What the rebuilt networks compute: sizes, ranges, tied weights, edges, and a sampler that repeats itself."""

from typing import get_args

import numpy as np
import pytest
import torch

from training.baselines.bs_diff import BSDiff, BSDiffConfig, DiffusionAndEnhancement
from training.baselines.diffusion_unet import DiffusionUNetConfig
from training.baselines.enhancement import EnhancementConfig
from training.baselines.gusarev import Gusarev, GusarevConfig
from training.baselines.mca_net import EdgeDiscriminator
from training.baselines.registry import BASELINES, BaselineName
from training.baselines.rival import Rival

LITTLE = BSDiffConfig(
    side=32,
    steps=2,
    unet=DiffusionUNetConfig((8, 16), 1, (False, True)),
    enhancement=EnhancementConfig((8, 16), 1, (False, True), latents=4),
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    values = np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)
    return torch.from_numpy(values)


def untrained(name: BaselineName) -> Rival:
    torch.manual_seed(0)
    network = BASELINES[name].build("small").eval().requires_grad_(False)
    return Rival(BASELINES[name], "small", network, 1, {"config": {}})


@pytest.mark.parametrize("name", get_args(BaselineName))
@pytest.mark.parametrize("size", [(64, 128), (192, 64)])
def test_every_rival_takes_any_size_that_is_a_multiple_of_64(name: BaselineName, size: tuple[int, int]) -> None:
    images = noise(2, 1, *size)
    for made in (untrained(name).soft(images), untrained(name).plain(images)):
        assert made.shape == images.shape
        assert bool(torch.isfinite(made).all())
        assert float(made.abs().max()) <= 1


def test_one_image_of_a_batch_does_not_change_the_other() -> None:
    """Instance normalisation and padding know one image only."""
    rival, images = untrained("mca_net"), noise(2, 1, 64, 64)
    alone = rival.soft(images[:1])
    assert torch.equal(rival.soft(images)[:1], alone)


def test_the_tied_decoder_of_gusarev_is_the_encoder_transposed() -> None:
    """Without ReLU and pooling, one level of decoding is the adjoint of encoding: <Ax, y> = <x, A'y>."""
    network = Gusarev(GusarevConfig(channels=(3,)))
    (layer,) = network.down
    assert isinstance(layer, torch.nn.Conv2d)
    weight = layer.weight.detach()
    x, y = noise(1, 1, 16, 16), noise(1, 3, 8, 8, seed=1)
    encoded = torch.nn.functional.conv2d(x, weight, stride=2, padding=2)
    decoded = network._grown(y, 0).detach()
    assert float((encoded * y).sum()) == pytest.approx(float((x * decoded).sum()), abs=1e-3)  # sums of 200 float32


def test_black_stays_black_in_a_gusarev_without_biases() -> None:
    black = torch.full((1, 1, 32, 32), -1.0)
    assert torch.equal(Gusarev(GusarevConfig())(black), black)


def test_the_discriminator_of_mca_net_is_given_the_edges_of_both_images() -> None:
    seen: list[torch.Tensor] = []
    judge = EdgeDiscriminator(base=4)
    judge.judge[0].register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    across, down = (torch.linspace(-1, 1, 32).expand(32, 32), torch.linspace(-1, 1, 32)[:, None].expand(32, 32))
    judge(torch.stack([across, down])[None])
    inner = seen[0][0, :, 8:-8, 8:-8]
    step = 2 * 2 / 31  # over two pixels, of which Sobel's weights make a mean
    strengths = inner.abs().mean(dim=(1, 2)).tolist()
    assert strengths[:2] == pytest.approx([step, 0], abs=1e-5)  # a ramp across has edges along x alone
    assert strengths[3:5] == pytest.approx([0, step], abs=1e-5)
    assert torch.equal(inner[[2, 5]], torch.stack([across, down])[:, 8:-8, 8:-8])


def test_bs_diff_draws_the_same_picture_from_the_same_seed_and_another_from_another() -> None:
    torch.manual_seed(0)
    network, image = BSDiff(LITTLE).eval(), noise(1, 1, 64, 64)
    with torch.no_grad():
        one, again, other = (network(image, seed=seed) for seed in (3, 3, 4))
    assert one.shape == (1, 1, 32, 32)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_an_untrained_small_bs_diff_takes_nothing_away_and_keeps_the_detail_it_does_not_see() -> None:
    images = noise(1, 1, 256, 256)
    assert float((untrained("bs_diff").soft(images) - images).abs().max()) < 1e-5
    assert float((untrained("bs_diff").plain(images) - images).abs().max()) > 0.5  # of 128 px


def test_the_two_stages_of_bs_diff_are_trained_by_one_loss_that_reaches_both() -> None:
    torch.manual_seed(0)
    network = BSDiff(LITTLE)
    objective = DiffusionAndEnhancement(torch.nn.Conv2d(1, 1, 3), None, bfloat16=False)
    loss, parts = objective(network, (noise(2, 1, 64, 64), noise(2, 1, 64, 64, seed=1)), np.random.default_rng(0))
    loss.backward()  # type: ignore[no-untyped-call]
    assert {"diffusion", "l1", "dissimilarity", "fooled", "judged"} <= parts.keys()
    for part in (network.denoiser.leave, network.enhancement.encoder[0]):
        assert isinstance(part, torch.nn.Conv2d)
        assert part.weight.grad is not None
        assert float(part.weight.grad.abs().max()) > 0


def test_the_enhancement_does_not_pull_at_the_denoiser() -> None:
    """Without the diffusion's own error, the denoiser gets no gradient."""
    torch.manual_seed(0)
    network = BSDiff(LITTLE)
    objective = DiffusionAndEnhancement(torch.nn.Conv2d(1, 1, 3), None, bfloat16=False)
    guess = network.denoiser(noise(1, 1, 32, 32), torch.ones(1), noise(1, 1, 32, 32))
    objective._enhanced(network, guess.detach(), noise(1, 1, 32, 32))[0].backward()  # type: ignore[no-untyped-call]
    assert network.denoiser.leave.weight.grad is None
