"""The shipped torch modules at their smallest, with random weights."""

import torch
from torch import nn

from export.to_bundle import Network
from model.autoencoder import Autoencoder, AutoencoderConfig
from model.denoiser import Denoiser, DenoiserConfig

__all__ = ["tiny_network", "tiny_paper_network"]


def tiny_network(seed: int = 0) -> Network:
    """Both modules with every kind of layer: two levels, attention, statistics of the latents.

    Layers that start as 0 are filled, so that nothing in the graphs is without effect on the output.
    """
    return _network(
        AutoencoderConfig(channels=(16, 32), blocks=(1, 1)),
        DenoiserConfig(base=16, multipliers=(1, 2), blocks=(1, 1), attention=(1,), heads=2),
        seed,
    )


def tiny_paper_network(seed: int = 0) -> Network:
    """The published architectures at their smallest: quantised VQ-VAE and ADM, predicting v."""
    autoencoder = AutoencoderConfig(
        channels=(16, 16, 32),
        blocks=(1, 1, 1),
        bottleneck="vq",
        codes=32,
        architecture="vqvae",
        unit_width=32,
        standardised=False,
    )
    sizes = {"base": 16, "multipliers": (1, 2), "blocks": (2, 1), "attention": (1,), "heads": 2}
    return _network(autoencoder, DenoiserConfig(**sizes, prediction="v", architecture="adm"), seed)  # type: ignore[arg-type]


def _network(compression: AutoencoderConfig, diffusion: DenoiserConfig, seed: int) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        autoencoder, denoiser = Autoencoder(compression), Denoiser(diffusion)
        _fill_zeros(autoencoder)
        _fill_zeros(denoiser)
        with torch.no_grad():
            autoencoder.set_statistics(autoencoder.encode_raw(torch.rand(2, 1, 64, 64) * 2 - 1))
    return Network(autoencoder.eval(), denoiser.eval())


def _fill_zeros(module: nn.Module) -> None:
    for parameter in module.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
