"""The refiner: the bone layer that two decodes differ by, and the radiograph itself -> the same layer with its edges.

An autoencoder of r=8 cannot carry the rim of a rib, whoever samples its latents. The radiograph shows that rim; what it
does not show is which edges belong to bone, and that is what the sampled layer says. With two levels the refiner sees
some 60 px around each pixel: it can move and sharpen what was sampled, but not decide anew what is bone. With five it
sees the whole radiograph, and can finish a rib of which the sample holds a part.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.layers import Downsample, ResidualBlock, Upsample, conv, zero_conv

__all__ = ["Refiner", "RefinerConfig"]


@dataclass(frozen=True, slots=True)
class RefinerConfig:
    """Sizes.

    Attributes
    ----------
    patch : rows and columns that one position of the finest level stands for.
    channels : width of each level, finest first; each doubles or keeps the one before it.
    blocks : residual blocks of each level; those above the coarsest come again on the way up.
    normed : the first level whose blocks are normalised; None for none.
    """

    patch: int = 2
    channels: tuple[int, ...] = (32, 64, 128)
    blocks: tuple[int, ...] = (1, 1, 2)
    normed: int | None = None

    @property
    def multiple(self) -> int:
        """What rows and columns of an image must be a multiple of."""
        return self.patch << (len(self.channels) - 1)


class Refiner(nn.Module):
    """A small U-Net without normalisation or attention; untrained, it returns the layer as it came."""

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        self.config = config
        widths, pixels = config.channels, config.patch**2
        self.unshuffle = nn.PixelUnshuffle(config.patch)
        self.stem = conv(2 * pixels, widths[0])
        self.down = nn.ModuleList(self._blocks(level) for level in range(len(widths)))
        self.shrink = nn.ModuleList(Downsample(fine, coarse) for fine, coarse in pairwise(widths))
        self.grow = nn.ModuleList(Upsample(coarse, fine) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(self._blocks(level) for level in range(len(widths) - 1))
        self.out = zero_conv(widths[0], pixels)

    def _blocks(self, level: int) -> nn.Sequential:
        width, normed = self.config.channels[level], self.config.normed
        sure = normed is not None and level >= normed
        return nn.Sequential(*(ResidualBlock(width, normed=sure) for _ in range(self.config.blocks[level])))

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
