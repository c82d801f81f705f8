"""Encoder and decoder with the published sizes of BS-LDM: strided convolutions and wide residual units, no norm."""

from torch import Tensor, nn
from torch.nn import functional

from model.layers import conv

__all__ = ["WideUnit", "vqvae_decoder", "vqvae_encoder"]


class WideUnit(nn.Module):
    """``relu(x + conv(relu(conv(x))))`` through ``width`` channels, which may be more than it comes from."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first = conv(channels, width)
        self.second = conv(width, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return functional.relu(x + self.second(functional.relu(self.first(x))))


def vqvae_encoder(channels: tuple[int, ...], units: tuple[int, ...], width: int, latents: int) -> nn.Sequential:
    """Image (B, 1, H, W) -> raw latents (B, ``latents``, H / r, W / r) with r = 2 ** levels.

    Parameters
    ----------
    channels, units : channels and residual units of each level, finest first.
    width : of the residual units.
    """
    layers: list[nn.Module] = []
    for before, after, count in zip((1, *channels[:-1]), channels, units, strict=True):
        layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
        layers += [WideUnit(after, width) for _ in range(count)]
    return nn.Sequential(*layers, conv(channels[-1], latents))


def vqvae_decoder(channels: tuple[int, ...], units: tuple[int, ...], width: int, latents: int) -> nn.Sequential:
    """Latents -> image: the mirror of `vqvae_encoder`."""
    layers: list[nn.Module] = [conv(latents, channels[-1])]
    levels = list(zip((1, *channels[:-1]), channels, units, strict=True))
    for after, before, count in reversed(levels):
        layers += [WideUnit(before, width) for _ in range(count)]
        layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers[:-1])  # no ReLU after the image
