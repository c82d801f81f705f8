"""The plain one-pass U-Net that a latent diffusion model has to beat: pixels in, bone layer out."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.layers import GROUPS, conv, zero_conv

__all__ = ["ControlConfig", "ControlNetwork"]


@dataclass(frozen=True, slots=True)
class ControlConfig:
    """Sizes of the control.

    Attributes
    ----------
    patch : pixels that one position of the finest level stands for, in each direction; a power of 2.
    widths : channels of each level, finest first, multiples of 8; each level has half the rows of the one before.
    blocks : residual blocks of each level on the way down, and again on the way up.
    """

    patch: int = 2
    widths: tuple[int, ...] = (24, 48, 80, 128, 128)
    blocks: tuple[int, ...] = (1, 1, 1, 1, 2)

    @property
    def multiple(self) -> int:
        """What rows and columns of an image must be a multiple of."""
        return self.patch << (len(self.widths) - 1)


class _Block(nn.Module):
    """Residual block; the finest level is not normalised, which would cost as much as its convolutions."""

    def __init__(self, inputs: int, outputs: int, *, normed: bool) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(GROUPS, inputs) if normed else nn.Identity()
        self.first = conv(inputs, outputs)
        self.norm_out = nn.GroupNorm(GROUPS, outputs) if normed else nn.Identity()
        self.second = zero_conv(outputs, outputs)
        self.shortcut = nn.Identity() if inputs == outputs else conv(inputs, outputs, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        h = self.first(functional.silu(self.norm_in(x)))
        h = self.second(functional.silu(self.norm_out(h)))
        out: Tensor = self.shortcut(x) + h
        return out


class ControlNetwork(nn.Module):
    """U-Net (Ronneberger et al. 2015) whose untrained output is 0: no bone is found, the image stays.

    Down by a convolution of stride 2, up by repeating pixels and a convolution, skips by concatenation; the first
    layer takes squares of ``patch`` pixels as channels and the last one gives them back, so that full resolution costs
    no convolution.
    """

    def __init__(self, config: ControlConfig) -> None:
        super().__init__()
        self.config = config
        widths, pixels = config.widths, config.patch**2
        self.enter = conv(pixels, widths[0])
        self.down = nn.ModuleList(_level(width, width, n, i) for i, (width, n) in self._levels())
        self.shrink = nn.ModuleList(
            nn.Conv2d(fine, coarse, 3, stride=2, padding=1) for fine, coarse in pairwise(widths)
        )
        self.grow = nn.ModuleList(conv(coarse, fine) for fine, coarse in pairwise(widths))
        # the coarsest level has no way up of its own: its blocks are the middle
        self.up = nn.ModuleList(_level(2 * width, width, n, i) for i, (width, n) in self._levels()[:-1])
        self.leave = zero_conv(widths[0], pixels)

    def _levels(self) -> list[tuple[int, tuple[int, int]]]:
        return list(enumerate(zip(self.config.widths, self.config.blocks, strict=True)))

    def forward(self, image: Tensor) -> Tensor:
        """Radiographs (B, 1, H, W) in [-1, 1] -> bone layers (B, 1, H, W), radiograph minus soft tissue, same units.

        H and W are multiples of ``config.multiple``.
        """
        x = self.enter(functional.pixel_unshuffle(image, self.config.patch))
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.down):
            x = blocks(x)
            if level < len(self.shrink):
                skips.append(x)
                x = self.shrink[level](x)
        for level in reversed(range(len(self.up))):
            x = self.grow[level](functional.interpolate(x, scale_factor=2, mode="nearest"))
            x = self.up[level](torch.cat([x, skips[level]], dim=1))
        layer: Tensor = functional.pixel_shuffle(self.leave(functional.silu(x)), self.config.patch)
        return layer


def _level(inputs: int, width: int, blocks: int, level: int) -> nn.Sequential:
    sizes = [inputs, *[width] * (blocks - 1)]
    return nn.Sequential(*(_Block(size, width, normed=level > 0) for size in sizes))
