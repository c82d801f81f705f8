"""The denoiser: a U-Net on latents that sees the radiograph's latents beside the noisy ones.

The condition enters clean and unscaled, in training and in sampling alike (the paper's Eq. 2 scales it; its code does
so in training only).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.adm import MOST_GROUPS, DoublingBlock, HalvingBlock, adm_inputs
from model.layers import (
    GROUPS,
    Attention,
    Downsample,
    TimedBlock,
    TimeEmbedding,
    Upsample,
    conv,
    group_norm,
    zero_conv,
)
from model.process import Prediction

__all__ = ["Denoiser", "DenoiserConfig"]


@dataclass(frozen=True, slots=True)
class DenoiserConfig:
    """Sizes and meaning of the output.

    Attributes
    ----------
    base : width of the finest level; a multiple of 8.
    multipliers : width of each level over ``base``, finest first; in `compact` each doubles or keeps the one before it.
    blocks : residual blocks of each level on the way down, and again on the way up.
    attention : which levels attend, 0 is the finest; the middle always does.
    prediction : what the output stands for.
    architecture : `compact` resamples without losing anything and carries one skip per block; `adm` is the published
        network, see `model.adm`.
    """

    latent_channels: int = 4
    base: int = 48
    multipliers: tuple[int, ...] = (1, 2, 4)
    blocks: tuple[int, ...] = (1, 2, 2)
    attention: tuple[int, ...] = (2,)
    heads: int = 4
    prediction: Prediction = "x0"
    architecture: Literal["compact", "adm"] = "compact"


class _Level(nn.Module):
    """Blocks of one resolution, with or without attention after each."""

    def __init__(self, inputs: list[int], width: int, embedding: int, heads: int, groups: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(TimedBlock(channels, width, embedding, groups) for channels in inputs)
        self.attention = nn.ModuleList(Attention(width, heads, groups) if heads else nn.Identity() for _ in inputs)


def _inputs(config: DenoiserConfig, widths: list[int]) -> tuple[list[list[int]], list[list[int]]]:
    """Input channels of every block, on the way down and on the way up."""
    if config.architecture == "adm":
        return adm_inputs(widths, config.blocks)
    sizes = list(zip(widths, config.blocks, strict=True))
    return [[width] * blocks for width, blocks in sizes], [[2 * width] * blocks for width, blocks in sizes]


def _shrink(config: DenoiserConfig, fine: int, coarse: int) -> nn.Module:
    return HalvingBlock(fine, 4 * config.base) if config.architecture == "adm" else Downsample(fine, coarse)


def _grow(config: DenoiserConfig, fine: int, coarse: int) -> nn.Module:
    return DoublingBlock(coarse, 4 * config.base) if config.architecture == "adm" else Upsample(coarse, fine)


class Denoiser(nn.Module):
    """Conditional U-Net with a time embedding.

    With ``prediction="x0"`` the output is a correction added to the condition, and starts as 0: the untrained network
    returns the radiograph's own latents.
    """

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.base * multiplier for multiplier in config.multipliers]
        embedding = config.base * 4
        heads = [config.heads if level in config.attention else 0 for level in range(len(widths))]
        groups = MOST_GROUPS if config.architecture == "adm" else GROUPS
        down, up = _inputs(config, widths)
        self.time = TimeEmbedding(embedding)
        self.stem = conv(2 * config.latent_channels, widths[0])
        self.down = nn.ModuleList(
            _Level(inputs, width, embedding, attends, groups)
            for inputs, width, attends in zip(down, widths, heads, strict=True)
        )
        self.shrink = nn.ModuleList(_shrink(config, fine, coarse) for fine, coarse in pairwise(widths))
        self.middle_in = TimedBlock(widths[-1], widths[-1], embedding, groups)
        self.middle_attention = Attention(widths[-1], config.heads, groups)
        self.middle_out = TimedBlock(widths[-1], widths[-1], embedding, groups)
        self.up = nn.ModuleList(
            _Level(inputs, width, embedding, attends, groups)
            for inputs, width, attends in zip(up, widths, heads, strict=True)
        )
        self.grow = nn.ModuleList(_grow(config, fine, coarse) for fine, coarse in pairwise(widths))
        self.norm = group_norm(widths[0], groups)
        self.out = zero_conv(widths[0], config.latent_channels)

    def forward(self, x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """One evaluation.

        Parameters
        ----------
        x_t : (B, C, h, w) noisy latents; h and w multiples of ``2 ** (levels - 1)``.
        t : (B,) in [0, 1].
        condition : (B, C, h, w) clean latents of the radiograph, standardised.

        Returns
        -------
        (B, C, h, w): clean latents, noise or v, as ``config.prediction`` says.
        """
        embedding = self.time(t)
        adm = self.config.architecture == "adm"
        h = self.stem(torch.cat([x_t, condition], dim=1))
        skips: list[Tensor] = []
        for level, stage in enumerate(self.down):
            if level:
                h = self.shrink[level - 1](h, embedding) if adm else self.shrink[level - 1](h)
            skips += [h] if adm else []
            for block, attention in zip(stage.blocks, stage.attention, strict=True):  # type: ignore[arg-type]
                h = attention(block(h, embedding))
                skips.append(h)
        h = self.middle_out(self.middle_attention(self.middle_in(h, embedding)), embedding)
        for level in range(len(self.up) - 1, -1, -1):
            for block, attention in zip(self.up[level].blocks, self.up[level].attention, strict=True):  # type: ignore[arg-type]
                h = attention(block(torch.cat([h, skips.pop()], dim=1), embedding))
            if level:
                h = self.grow[level - 1](h, embedding) if adm else self.grow[level - 1](h)
        correction: Tensor = self.out(functional.silu(self.norm(h)))
        return condition + correction if self.config.prediction == "x0" else correction
