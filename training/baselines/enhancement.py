"""The second stage of BS-Diff: an autoencoder that repairs what the diffusion drew."""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from model.layers import conv, group_norm, zero_conv
from training.baselines.diffusion_unet import GROUPS, Block, ImageAttention

__all__ = ["Enhancement", "EnhancementConfig"]


@dataclass(frozen=True, slots=True)
class EnhancementConfig:
    """Sizes.

    Attributes
    ----------
    widths : channels of each level, finest first; each level has half the rows of the one before.
    blocks : residual blocks of each level.
    attention : whether a level has attention after each block.
    latents : channels of the bottleneck.
    shortcut : the picture is added to what comes out, which is 0 untrained. Published without: only a long training
        makes up for what the bottleneck loses.
    """

    widths: tuple[int, ...] = (128, 256, 384)
    blocks: int = 2
    attention: tuple[bool, ...] = (False, True, True)
    latents: int = 8
    shortcut: bool = False


class Enhancement(nn.Module):
    """Convolutional autoencoder with attention, without the noise of a variational one.

    References
    ----------
    Chen et al. (arXiv 2311.15328), section 2.2.
    """

    def __init__(self, config: EnhancementConfig) -> None:
        super().__init__()
        self.config = config
        widths, deepest = config.widths, config.widths[-1]
        encoder: list[nn.Module] = [conv(1, widths[0])]
        for level, (inputs, width) in enumerate(pairwise((widths[0], *widths))):
            encoder += _level(inputs, width, config, level)
            encoder += [nn.Conv2d(width, width, 3, stride=2, padding=1)] if level < len(widths) - 1 else []
        encoder += [*_middle(deepest), group_norm(deepest, GROUPS), nn.SiLU(), conv(deepest, config.latents)]
        self.encoder = nn.Sequential(*encoder, conv(config.latents, config.latents, kernel=1))
        decoder: list[nn.Module] = [conv(config.latents, config.latents, kernel=1)]
        decoder += [conv(config.latents, deepest), *_middle(deepest)]
        inputs = deepest
        for level in reversed(range(len(widths))):
            decoder += _level(inputs, widths[level], config, level)
            decoder += [_Grow(widths[level])] if level else []
            inputs = widths[level]
        leave = zero_conv if config.shortcut else conv
        self.decoder = nn.Sequential(*decoder, group_norm(widths[0], GROUPS), nn.SiLU(), leave(widths[0], 1))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, H, W) in [-1, 1] -> (B, 1, H, W), about [-1, 1]; H and W divide by the coarsest level."""
        out: Tensor = self.decoder(self.encoder(image))
        return image + out if self.config.shortcut else out


class _Grow(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        grown: Tensor = self.conv(functional.interpolate(x, scale_factor=2, mode="nearest"))
        return grown


def _level(inputs: int, width: int, config: EnhancementConfig, level: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for index in range(config.blocks):
        layers.append(Block(width if index else inputs, width))
        layers += [ImageAttention(width)] if config.attention[level] else []
    return layers


def _middle(width: int) -> list[nn.Module]:
    return [Block(width, width), ImageAttention(width), Block(width, width)]
