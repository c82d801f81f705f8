"""MCA-Net of Zhou et al. (2018): a U-Net that adds pictures of four scales, against a discriminator that sees edges."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.layers import conv

__all__ = ["EdgeDiscriminator", "MCANet", "MCANetConfig"]

SLOPE = 0.01  # of LeakyReLU in the generator; the discriminator has .2


@dataclass(frozen=True, slots=True)
class MCANetConfig:
    """Sizes; the published ones have 23.13 M weights.

    Attributes
    ----------
    widths : channels on the way down, finest (half the rows) first; the way up mirrors them.
    last : channels at full resolution.
    heads : coarser scales of the way up that also give a picture.
    normed : instance normalisation after each convolution but those that give a picture.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 512, 512, 512)
    last: int = 32
    heads: int = 3
    normed: bool = True

    @property
    def multiple(self) -> int:
        """What rows and columns of an image must be a multiple of."""
        return 1 << len(self.widths)


class _Norm(nn.Module):
    """Instance normalisation that passes a single value on: of it there is no deviation."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(2, 3), keepdim=True)
        variance = (x - mean).pow(2).mean(dim=(2, 3), keepdim=True)
        return (x - mean) * torch.rsqrt(variance + 1e-5)


def _active(layer: nn.Module, *, normed: bool) -> nn.Sequential:
    return nn.Sequential(layer, nn.LeakyReLU(SLOPE), *([_Norm()] if normed else []))


class _Head(nn.Module):
    """A picture of a coarser scale, brought to full size."""

    def __init__(self, inputs: int, enlarge: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(conv(inputs, 1), nn.ReLU(), conv(1, 1), nn.ReLU(), conv(1, 1))
        self.enlarge = enlarge

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(self.layers(x), scale_factor=self.enlarge, mode="bilinear", align_corners=False)


class MCANet(nn.Module):
    """The generator: seven convolutions of stride 2 down, seven steps up, pictures of four scales summed, tanh.

    References
    ----------
    Zhou et al., Generation of virtual dual energy images from standard single-shot radiographs using multi-scale and
    conditional adversarial network, ACCV 2018 (arXiv 1810.09354), section 2.
    """

    def __init__(self, config: MCANetConfig) -> None:
        super().__init__()
        self.config = config
        widths, normed = config.widths, config.normed
        self.down = nn.ModuleList(
            _active(nn.Conv2d(fine, coarse, 3, stride=2, padding=1), normed=normed)
            for fine, coarse in pairwise((1, *widths))
        )
        targets = (config.last, *widths[:-1])
        sources = (*(2 * width for width in widths[:-1]), widths[-1])  # each but the coarsest with its skip
        self.up = nn.ModuleList(
            nn.Sequential(
                _active(nn.ConvTranspose2d(source, target, 2, stride=2), normed=normed),
                _active(conv(target, target), normed=normed),
            )
            for source, target in zip(sources, targets, strict=True)
        )
        self.leave = conv(config.last, 1, kernel=1)
        self.heads = nn.ModuleList(_Head(targets[level], 1 << level) for level in range(1, config.heads + 1))

    def forward(self, image: Tensor) -> Tensor:
        """Radiographs (B, 1, H, W) in [-1, 1] -> soft tissue (B, 1, H, W) in [-1, 1].

        H and W are multiples of ``config.multiple``.
        """
        skips, x = [], image
        for layer in self.down:
            x = layer(x)
            skips.append(x)
        skips.pop()  # the coarsest is where the way up begins
        picture = torch.zeros_like(image)
        for level in reversed(range(len(self.up))):
            x = self.up[level](x)
            if 1 <= level <= len(self.heads):
                picture = picture + self.heads[level - 1](x)
            x = torch.cat([x, skips[level - 1]], dim=1) if level else x
        return torch.tanh(picture + self.leave(x))


class EdgeDiscriminator(nn.Module):
    """Real or made, from [Sobel x, Sobel y, image] of the soft tissue and of the radiograph.

    References
    ----------
    Zhou et al. (2018), section 2.2.
    """

    sobel: Tensor

    def __init__(self, base: int = 64) -> None:
        super().__init__()
        across = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]) / 4
        self.register_buffer("sobel", torch.stack([across, across.T])[:, None], persistent=False)
        sizes = pairwise((6, base, 2 * base, 4 * base))
        layers: list[nn.Module] = []
        for index, (inputs, outputs) in enumerate(sizes):
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), *([_Norm()] if index else [])]
            layers += [nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(4 * base, 8 * base, 4, padding=1), _Norm(), nn.LeakyReLU(0.2)]
        self.judge = nn.Sequential(*layers, nn.Conv2d(8 * base, 1, 1))
        for layer in self.judge:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0.0, 0.02)  # as published

    def forward(self, twins: Tensor) -> Tensor:
        """(B, 2, H, W) in [-1, 1], soft tissue then radiograph -> (B, 1, h, w) judgements: 1 for real, 0 for made."""
        rows, columns = twins.shape[-2:]
        images = twins.reshape(-1, 1, rows, columns)
        edges = functional.conv2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), self.sobel)
        seen = torch.cat([edges, images], dim=1).reshape(-1, 6, rows, columns)
        verdict: Tensor = self.judge(seen)
        return verdict
