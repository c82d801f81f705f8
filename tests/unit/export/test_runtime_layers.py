"""Layers written anew for the runtime compute what the trained ones compute, from the very same tensors."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.half import in_half
from export.runtime_layers import for_runtime, grouped, unshuffle_kernel
from export.to_bundle import Network
from model.autoencoder import Autoencoder
from model.layers import Downsample, Upsample
from model.refiner import Refiner, RefinerConfig
from tests.networks import tiny_network, tiny_paper_network


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("channels", [1, 2, 3, 16, 24, 48, 64])
@pytest.mark.parametrize(("factor", "rows", "columns"), [(2, 2, 2), (2, 6, 34), (4, 8, 20)])
def test_unshuffling_by_convolution_is_exact(channels: int, factor: int, rows: int, columns: int) -> None:
    x = noise(2, channels, rows, columns)
    kernel, groups = grouped(unshuffle_kernel(channels, factor))
    moved = functional.conv2d(x, kernel, stride=factor, groups=groups)
    assert torch.equal(moved, functional.pixel_unshuffle(x, factor))


@pytest.mark.parametrize(("channels", "groups"), [(2, 1), (24, 1), (16, 1), (32, 2), (48, 3), (64, 4)])
def test_kernels_are_grouped_by_the_blocks_of_the_runtime(channels: int, groups: int) -> None:
    assert grouped(unshuffle_kernel(channels, 2))[1] == groups


def test_a_kernel_that_mixes_all_channels_is_left_alone() -> None:
    kernel = noise(64, 64, 2, 2)
    assert grouped(kernel) == (kernel, 1)


@pytest.mark.parametrize("kind", [Downsample, Upsample])
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 128), (128, 64), (48, 96), (16, 16), (64, 64), (8, 64)])
def test_resampling_is_the_same(kind: type[nn.Module], inputs: int, outputs: int) -> None:
    layer = kind(inputs, outputs)
    x = noise(2, inputs, 6, 10)
    # the mean of two or more channels is a sum in another order
    torch.testing.assert_close(for_runtime(layer)(x), layer(x), atol=1e-6, rtol=0)


def assert_near(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)  # float32 sums in another order


@pytest.mark.parametrize("network", [tiny_network(), tiny_paper_network()], ids=["compact", "published"])
@torch.inference_mode()
def test_a_whole_network_is_the_same(network: Network) -> None:
    image, x_t, t = noise(2, 1, 64, 96), noise(2, 4, 8, 12, seed=1), torch.tensor([0.2, 0.9])
    latents = network.autoencoder.encode(image)
    autoencoder = for_runtime(network.autoencoder)
    assert isinstance(autoencoder, Autoencoder)
    assert_near(autoencoder.encode(image), latents)
    assert_near(autoencoder.decode(x_t), network.autoencoder.decode(x_t))
    assert_near(for_runtime(network.denoiser)(x_t, t, latents), network.denoiser(x_t, t, latents))


@torch.inference_mode()
def test_one_time_for_a_whole_batch_is_that_time_for_each() -> None:
    denoiser = for_runtime(tiny_network().denoiser)
    x_t = noise(3, 4, 8, 8)
    both = (denoiser(x_t, torch.full((count,), 0.4), x_t) for count in (1, 3))
    torch.testing.assert_close(*both)


def test_the_tensors_are_the_trained_ones_and_the_module_stays_as_it_was() -> None:
    denoiser = tiny_network().denoiser
    kinds = [type(module) for module in denoiser.modules()]
    own = {id(parameter) for parameter in denoiser.parameters()}
    assert {id(parameter) for parameter in for_runtime(denoiser).parameters()} == own
    in_half(denoiser)
    assert [type(module) for module in denoiser.modules()] == kinds
    assert {parameter.dtype for parameter in denoiser.parameters()} == {torch.float32}


@torch.inference_mode()
def test_in_half_precision_every_kernel_is_rounded_and_the_result_is_near_and_float32() -> None:
    refiner = Refiner(RefinerConfig(patch=4, channels=(16, 32), blocks=(1, 1)))
    nn.init.normal_(refiner.out.weight, std=0.05)
    half = in_half(refiner)
    assert {module.weight.dtype for module in half.modules() if isinstance(module, nn.Conv2d)} == {torch.float16}
    image, layer = noise(1, 1, 32, 32), noise(1, 1, 32, 32, seed=1)
    out, expected = half(image, layer), refiner(image, layer)
    assert out.dtype == torch.float32
    error = (out - expected).abs().max()
    assert 0 < error < 0.01  # 2**-11 of each of a few roundings of numbers up to 4


def test_what_is_no_part_of_a_network_is_refused() -> None:
    with pytest.raises(TypeError, match="Linear"):
        in_half(nn.Linear(2, 2))
