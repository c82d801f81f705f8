"""The same layers, written so that a runtime need not move their numbers about.

ONNX Runtime keeps channels in blocks of 16 between convolutions. Space-to-channel written as reshape and transpose
breaks the blocks and copies everything twice; as a strided convolution with kernels of zeros and one 1 it is exact, and
stays inside. The modules here are made for tracing: equal weights (the very tensors), equal results.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.layers import Attention, Downsample, TimedBlock, Upsample, resize_channels

__all__ = ["Norm", "Strided", "for_runtime", "grouped", "unshuffle_kernel"]

BLOCK = 16  # channels that the runtime keeps together on AVX-512; on AVX2 it is 8, which divides it


def unshuffle_kernel(channels: int, factor: int) -> Tensor:
    """Kernel (channels * factor**2, channels, factor, factor): convolved in strides of ``factor``, pixel_unshuffle."""
    kernel = torch.zeros(channels, factor**2, channels, factor, factor)
    for row in range(factor):
        for column in range(factor):
            for channel in range(channels):
                kernel[channel, row * factor + column, channel, row, column] = 1
    return kernel.flatten(0, 1)


def grouped(kernel: Tensor) -> tuple[Tensor, int]:
    """A dense kernel (O, I, h, w) as one of as many groups as its zeros and the runtime's blocks allow.

    Returns
    -------
    (O, I / groups, h, w), and the number of groups.
    """
    outputs, inputs = kernel.shape[:2]
    for groups in range(inputs // BLOCK, 1, -1):
        ins, outs = inputs // groups, outputs // groups
        if inputs % (groups * BLOCK) or outputs % (groups * BLOCK):
            continue
        blocks = kernel.reshape(groups, outs, groups, ins, *kernel.shape[2:])
        own = blocks.diagonal(dim1=0, dim2=2).movedim(-1, 0)
        if own.count_nonzero() == kernel.count_nonzero():
            return own.reshape(outputs, ins, *kernel.shape[2:]).contiguous(), groups
    return kernel, 1


class Strided(nn.Module):
    """Convolution with a constant kernel whose stride is its size."""

    kernel: Tensor

    def __init__(self, kernel: Tensor) -> None:
        super().__init__()
        kernel, self.groups = grouped(kernel)
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same with rows and columns divided by the size of the kernel."""
        return functional.conv2d(x, self.kernel, stride=self.kernel.shape[2], groups=self.groups)


class _Unshuffle(nn.Module):
    """pixel_unshuffle of however many channels come."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C factor**2, H / factor, W / factor)."""
        kernel = unshuffle_kernel(x.shape[1], self.factor)
        return functional.conv2d(x, kernel.to(x), stride=self.factor)


class _Downsample(nn.Module):
    """`Downsample` as its own convolution and two strided ones."""

    def __init__(self, layer: Downsample) -> None:
        super().__init__()
        self.conv = layer.conv
        self.unshuffle = Strided(unshuffle_kernel(layer.outputs // 4, 2))
        shortcut = resize_channels(unshuffle_kernel(layer.conv.in_channels, 2)[None].flatten(3), layer.outputs)
        self.shortcut = Strided(shortcut[0].reshape(layer.outputs, -1, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.unshuffle(self.conv(x)) + self.shortcut(x)
        return out


def _shuffled(x: Tensor) -> Tensor:
    """pixel_shuffle by 2 in two steps, columns and then rows: ONNX Runtime does both faster than its DepthToSpace."""
    batch, channels, rows, columns = x.shape
    wide = x.reshape(batch, channels // 2, 2, rows * columns).transpose(-1, -2)
    tall = wide.reshape(batch, channels // 4, 2, rows, 2 * columns).transpose(2, 3)
    return tall.reshape(batch, channels // 4, 2 * rows, 2 * columns)


class _Upsample(nn.Module):
    """`Upsample` with its shortcut as a convolution of 1 x 1."""

    def __init__(self, layer: Upsample) -> None:
        super().__init__()
        self.conv = layer.conv
        same = torch.eye(layer.conv.in_channels)[None, :, :, None]
        self.shortcut = Strided(resize_channels(same, layer.outputs * 4)[0, :, :, :, None])

    def forward(self, x: Tensor) -> Tensor:
        return _shuffled(self.conv(x) + self.shortcut(x))


class Norm(nn.Module):
    """Group normalisation with one scale and one shift after it, whoever asks for them."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """Values (B, C, H, W); scale and shift (B or 1, C, 1, 1), on top of the norm's own."""
        weight, bias = self.norm.weight[:, None, None], self.norm.bias[:, None, None]
        if scale is not None and shift is not None:
            weight, bias = weight * scale, bias * scale + shift
        # A sum over thousands of squares is no work for half precision; of float32 these casts leave nothing.
        normal = functional.group_norm(x.float(), self.norm.num_groups, eps=self.norm.eps)
        return (normal * weight + bias).to(x.dtype)


class _TimedBlock(nn.Module):
    """`TimedBlock` that scales and shifts once after each normalisation."""

    def __init__(self, block: TimedBlock) -> None:
        super().__init__()
        self.norm_in, self.norm_out = Norm(block.norm_in), Norm(block.norm_out)
        self.first, self.second, self.scale_shift = block.first, block.second, block.scale_shift
        self.shortcut, self.resample = block.shortcut, block.resample  # convolution, pooling, or nothing

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.first(self.resample(functional.silu(self.norm_in(x))))
        scale, shift = self.scale_shift(functional.silu(embedding))[:, :, None, None].chunk(2, dim=1)
        h = self.second(functional.silu(self.norm_out(h, 1 + scale, shift)))
        out: Tensor = self.shortcut(self.resample(x)) + h
        return out


class _Attention(nn.Module):
    """`Attention` with channels before positions throughout, as they come and go: no transposition."""

    def __init__(self, layer: Attention) -> None:
        super().__init__()
        self.heads = layer.heads
        self.norm = Norm(layer.norm)
        self.query_key_value, self.out = layer.query_key_value, layer.out

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, rows, columns = x.shape
        width = channels // self.heads
        packed = self.query_key_value(self.norm(x)).reshape(batch, 3, self.heads, width, rows * columns)
        query, key, value = packed.unbind(dim=1)
        weights = ((query * width**-0.5).transpose(-1, -2) @ key).softmax(dim=-1)
        mixed = value @ weights.transpose(-1, -2)
        out: Tensor = x + self.out(mixed.reshape(batch, channels, rows, columns))
        return out


def for_runtime(module: nn.Module) -> nn.Module:
    """A module for tracing that computes ``module`` from the very same tensors; the original is not changed."""
    tensors = [*module.parameters(), *module.buffers()]
    return _replaced(deepcopy(module, {id(tensor): tensor for tensor in tensors}))


REWRITTEN: tuple[tuple[type[nn.Module], Callable[[Any], nn.Module]], ...] = (
    (nn.PixelUnshuffle, lambda layer: _Unshuffle(layer.downscale_factor)),
    (Downsample, _Downsample),
    (Upsample, _Upsample),
    (TimedBlock, _TimedBlock),
    (Attention, _Attention),
    (nn.GroupNorm, Norm),
)


def _replaced(module: nn.Module) -> nn.Module:
    for kind, rewrite in REWRITTEN:
        if isinstance(module, kind):
            return rewrite(module)
    for name, child in module.named_children():
        setattr(module, name, _replaced(child))
    return module
