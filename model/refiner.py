"""The refiner: the bone layer that two decodes differ by, and the radiograph itself -> the same layer with its edges.

An autoencoder of r=8 cannot carry the rim of a rib, whoever samples its latents. The radiograph shows that rim; what it
does not show is which edges belong to bone, and that is what the sampled layer says. A small refiner can move and
sharpen what was sampled, but not decide anew what is bone. One that sees the whole radiograph can finish a rib of which
the sample holds a part, and give back what is no rib.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.layers import Downsample, ResidualBlock, Upsample, conv, zero_conv
from model.unet import UNet

__all__ = ["Refiner", "RefinerConfig"]


@dataclass(frozen=True, slots=True)
class RefinerConfig:
    """Sizes.

    Attributes
    ----------
    patch : rows and columns that one position of the finest level stands for.
    channels : width of each level, finest first; each doubles or keeps the one before it.
    blocks : residual blocks of each level; those above the coarsest come again on the way up.
    architecture : `local` is small, has no normalisation and sees some 60 px with two levels; `unet` is a `UNet`, which
        with five levels sees the whole radiograph.
    """

    patch: int = 2
    channels: tuple[int, ...] = (32, 64, 128)
    blocks: tuple[int, ...] = (1, 1, 2)
    architecture: Literal["local", "unet"] = "local"

    @property
    def multiple(self) -> int:
        """What rows and columns of an image must be a multiple of."""
        return self.patch << (len(self.channels) - 1)


class Refiner(nn.Module):
    """A U-Net in one of two forms, see `RefinerConfig`; untrained, it returns the layer as it came."""

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        self.config = config
        if config.architecture == "unet":
            self.unet = UNet(2, config.patch, config.channels, config.blocks)
            return
        widths, pixels = config.channels, config.patch**2
        self.unshuffle = nn.PixelUnshuffle(config.patch)
        self.stem = conv(2 * pixels, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
            for width, blocks in zip(widths, config.blocks, strict=True)
        )
        self.shrink = nn.ModuleList(Downsample(fine, coarse) for fine, coarse in pairwise(widths))
        self.grow = nn.ModuleList(Upsample(coarse, fine) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
            for width, blocks in zip(widths[:-1], config.blocks[:-1], strict=True)
        )
        self.out = zero_conv(widths[0], pixels)

    def forward(self, image: Tensor, layer: Tensor) -> Tensor:
        """Sharpen one layer.

        Parameters
        ----------
        image : (B, 1, H, W) radiograph in [-1, 1]; H and W multiples of ``config.multiple``.
        layer : (B, 1, H, W) bone layer as decoded, image minus soft tissue, in the same units.

        Returns
        -------
        (B, 1, H, W) the bone layer, refined.
        """
        if self.config.architecture == "unet":
            finished: Tensor = layer + self.unet(torch.cat([image, layer], dim=1))
            return finished
        x = self.stem(self.unshuffle(torch.cat([image, layer], dim=1)))
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.down):
            x = blocks(x)
            if level < len(self.shrink):
                skips.append(x)
                x = self.shrink[level](x)
        for level in reversed(range(len(self.up))):
            x = self.up[level](self.grow[level](x) + skips[level])
        out: Tensor = layer + functional.pixel_shuffle(self.out(functional.silu(x)), self.config.patch)
        return out
