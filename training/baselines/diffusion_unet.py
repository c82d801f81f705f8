"""The denoiser of BS-Diff: a U-Net in pixel space with attention at its coarser levels."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.layers import TimeEmbedding, conv, group_norm, zero_conv

__all__ = ["Block", "DiffusionUNet", "DiffusionUNetConfig", "ImageAttention"]

GROUPS = 32


@dataclass(frozen=True, slots=True)
class DiffusionUNetConfig:
    """Sizes.

    Attributes
    ----------
    widths : channels of each level, finest first; each level has half the rows of the one before.
    blocks : residual blocks of each level on the way down; one more on the way up.
    attention : whether a level has attention after each block.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 768)
    blocks: int = 3
    attention: tuple[bool, ...] = (False, True, True, True, True)

    @property
    def multiple(self) -> int:
        """What rows and columns of an image must be a multiple of."""
        return 1 << (len(self.widths) - 1)


class ImageAttention(nn.Module):
    """Self-attention over all positions, one head as wide as the features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = group_norm(width, GROUPS)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.leave = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        q, k, v = self.queries_keys_values(tokens).chunk(3, dim=-1)
        seen = functional.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        out: Tensor = x + self.leave(seen).transpose(1, 2).reshape(x.shape)
        return out


class Block(nn.Module):
    """Residual block; the embedding of the time, where there is one, is added between its convolutions."""

    def __init__(self, inputs: int, outputs: int, embedding: int = 0) -> None:
        super().__init__()
        self.norm_in, self.norm_out = group_norm(inputs, GROUPS), group_norm(outputs, GROUPS)
        self.first, self.second = conv(inputs, outputs), zero_conv(outputs, outputs)
        self.time = nn.Linear(embedding, outputs) if embedding else None
        self.shortcut = nn.Identity() if inputs == outputs else conv(inputs, outputs, kernel=1)

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """(B, inputs, H, W), (B, embedding) -> (B, outputs, H, W)."""
        h = self.first(functional.silu(self.norm_in(x)))
        if self.time is not None and embedding is not None:
            h = h + self.time(functional.silu(embedding))[:, :, None, None]
        out: Tensor = self.shortcut(x) + self.second(functional.silu(self.norm_out(h)))
        return out


class DiffusionUNet(nn.Module):
    """What the noise in an image is, given the image of the radiograph.

    References
    ----------
    Chen et al., BS-Diff: effective bone suppression using conditional diffusion models from chest X-ray images (arXiv
    2311.15328), section 2.1; Ho et al. (2020), appendix B.
    """

    def __init__(self, config: DiffusionUNetConfig) -> None:
        super().__init__()
        self.config = config
        widths, count, embedding = config.widths, config.blocks, 4 * config.widths[0]
        self.time = TimeEmbedding(embedding)
        self.enter = conv(2, widths[0])
        self.down, self.down_attention = nn.ModuleList(), nn.ModuleList()
        kept = [widths[0]]  # channels of the skips
        for level, width in enumerate(widths):
            for _ in range(count):
                self.down.append(Block(kept[-1], width, embedding))
                self.down_attention.append(_attention(width, wanted=config.attention[level]))
                kept.append(width)
            if level < len(widths) - 1:
                kept.append(width)
        self.shrink = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1) for width in widths[:-1])
        self.middle = nn.ModuleList(Block(widths[-1], widths[-1], embedding) for _ in range(2))
        self.middle_attention = ImageAttention(widths[-1])
        self.up, self.up_attention = nn.ModuleList(), nn.ModuleList()
        width = widths[-1]
        for level in reversed(range(len(widths))):
            for _ in range(count + 1):
                self.up.append(Block(width + kept.pop(), widths[level], embedding))
                self.up_attention.append(_attention(widths[level], wanted=config.attention[level]))
                width = widths[level]
        self.grow = nn.ModuleList(conv(coarse, coarse) for _, coarse in pairwise(widths))
        self.norm = group_norm(widths[0], GROUPS)
        self.leave = zero_conv(widths[0], 1)

    def forward(self, x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """Noisy soft tissue and radiograph, each (B, 1, H, W), and times (B,) in [0, 1] -> (B, 1, H, W)."""
        count, levels = self.config.blocks, len(self.config.widths)
        embedding = self.time(t)
        x = self.enter(torch.cat([x_t, condition], dim=1))
        skips = [x]
        for level in range(levels):
            for index in range(level * count, (level + 1) * count):
                x = self.down_attention[index](self.down[index](x, embedding))
                skips.append(x)
            if level < levels - 1:
                x = self.shrink[level](x)
                skips.append(x)
        x = self.middle[1](self.middle_attention(self.middle[0](x, embedding)), embedding)
        for step, level in enumerate(reversed(range(levels))):
            for index in range(step * (count + 1), (step + 1) * (count + 1)):
                x = self.up[index](torch.cat([x, skips.pop()], dim=1), embedding)
                x = self.up_attention[index](x)
            if level:
                x = self.grow[level - 1](functional.interpolate(x, scale_factor=2, mode="nearest"))
        out: Tensor = self.leave(functional.silu(self.norm(x)))
        return out


def _attention(width: int, *, wanted: bool) -> nn.Module:
    return ImageAttention(width) if wanted else nn.Identity()
