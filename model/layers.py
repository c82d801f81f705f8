"""Building blocks of the autoencoder and of the denoiser."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "GROUPS",
    "Attention",
    "Downsample",
    "ResidualBlock",
    "TimeEmbedding",
    "TimedBlock",
    "Upsample",
    "conv",
    "group_norm",
    "resize_channels",
    "zero_conv",
]

GROUPS = 8  # of a normalisation, where a network does not ask for more


def conv(inputs: int, outputs: int, kernel: int = 3) -> nn.Conv2d:
    """Convolution that keeps rows and columns."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


def zero_conv(inputs: int, outputs: int, kernel: int = 3) -> nn.Conv2d:
    """Convolution that starts as 0, so that the block it ends starts as its shortcut."""
    layer = conv(inputs, outputs, kernel)
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def group_norm(channels: int, groups: int = GROUPS) -> nn.GroupNorm:
    """Normalisation of ``groups`` groups, or of as many as divide both numbers."""
    return nn.GroupNorm(math.gcd(groups, channels), channels)


def resize_channels(x: Tensor, outputs: int) -> Tensor:
    """Average or repeat neighbouring channels until ``outputs`` are left: a shortcut without weights (DC-AE, 3.1)."""
    inputs = x.shape[1]
    if inputs == outputs:
        return x
    if inputs > outputs:
        return x.reshape(x.shape[0], outputs, inputs // outputs, x.shape[2], x.shape[3]).mean(dim=2)
    return x.repeat_interleave(outputs // inputs, dim=1)


class ResidualBlock(nn.Module):
    """``x + conv(silu(conv(silu(x))))``; normalised only where asked for: without, far parts do not move each other."""

    def __init__(self, channels: int, *, normed: bool = False) -> None:
        super().__init__()
        self.norm_in = group_norm(channels) if normed else nn.Identity()
        self.first = conv(channels, channels)
        self.norm_out = group_norm(channels) if normed else nn.Identity()
        self.second = zero_conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        h = self.first(functional.silu(self.norm_in(x)))
        out: Tensor = x + self.second(functional.silu(self.norm_out(h)))
        return out


class Downsample(nn.Module):
    """Halve rows and columns by space-to-channel, with a shortcut that has no weights.

    References
    ----------
    DC-AE (arXiv 2410.10733), residual autoencoding. The channel counts must divide: ``4 * inputs`` by ``outputs``.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.conv = conv(inputs, outputs // 4)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / 2, W / 2)."""
        shortcut = resize_channels(functional.pixel_unshuffle(x, 2), self.outputs)
        return functional.pixel_unshuffle(self.conv(x), 2) + shortcut


class Upsample(nn.Module):
    """Double rows and columns by channel-to-space: the mirror of `Downsample`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.conv = conv(inputs, outputs * 4)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, 2 * H, 2 * W)."""
        shortcut = resize_channels(x, self.outputs * 4)
        return functional.pixel_shuffle(self.conv(x) + shortcut, 2)

    def silence(self) -> None:
        """Let the convolution take away what the shortcut gives: the output is 0 until training changes it."""
        inputs, outputs = self.conv.in_channels, self.conv.out_channels
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.weight[:, :, 1, 1] = -resize_channels(torch.eye(inputs)[..., None, None], outputs)[..., 0, 0].T
            if self.conv.bias is not None:
                self.conv.bias.zero_()


class TimeEmbedding(nn.Module):
    """Sines and cosines of the diffusion time, then a small network (Ho et al. 2020, appendix B)."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 4
        frequencies = torch.exp(torch.linspace(0.0, math.log(1000.0), half))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * half, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """(B,) in [0, 1] -> (B, width)."""
        angles = t[:, None] * self.frequencies[None, :]
        out: Tensor = self.layers(torch.cat([angles.sin(), angles.cos()], dim=1))
        return out


class TimedBlock(nn.Module):
    """Residual block whose second normalisation the time embedding scales and shifts (Dhariwal & Nichol 2021)."""

    def __init__(self, inputs: int, outputs: int, embedding: int, groups: int = GROUPS) -> None:
        super().__init__()
        self.norm_in = group_norm(inputs, groups)
        self.first = conv(inputs, outputs)
        self.scale_shift = nn.Linear(embedding, 2 * outputs)
        self.norm_out = group_norm(outputs, groups)
        self.second = zero_conv(outputs, outputs)
        self.shortcut = nn.Identity() if inputs == outputs else conv(inputs, outputs, kernel=1)
        self.resample: nn.Module = nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(B, inputs, H, W), (B, embedding) -> (B, outputs, H, W), or the rows and columns of ``resample``."""
        h = self.first(self.resample(functional.silu(self.norm_in(x))))
        scale, shift = self.scale_shift(functional.silu(embedding))[:, :, None, None].chunk(2, dim=1)
        h = self.second(functional.silu(self.norm_out(h) * (1 + scale) + shift))
        out: Tensor = self.shortcut(self.resample(x)) + h
        return out


class Attention(nn.Module):
    """Self-attention over all positions, as a residual."""

    def __init__(self, channels: int, heads: int, groups: int = GROUPS) -> None:
        super().__init__()
        self.heads = heads
        self.norm = group_norm(channels, groups)
        self.query_key_value = conv(channels, 3 * channels, kernel=1)
        self.out = zero_conv(channels, channels, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W); C is a multiple of the number of heads."""
        batch, channels, rows, columns = x.shape
        packed = self.query_key_value(self.norm(x)).reshape(
            batch, 3, self.heads, channels // self.heads, rows * columns
        )
        query, key, value = packed.transpose(-1, -2).unbind(dim=1)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = x + self.out(mixed.transpose(-1, -2).reshape(batch, channels, rows, columns))
        return out
