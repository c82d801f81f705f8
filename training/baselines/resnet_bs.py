"""ResNet-BS of Rajaraman et al. (2021): residual blocks at full resolution, soft tissue out."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from model.layers import conv

__all__ = ["ResNetBS", "ResNetBSConfig"]


@dataclass(frozen=True, slots=True)
class ResNetBSConfig:
    """Sizes; the published ones have 1.22 M weights.

    Attributes
    ----------
    width : channels throughout.
    blocks : residual blocks.
    scaling : of what a block adds.
    """

    width: int = 64
    blocks: int = 16
    scaling: float = 0.1

    @property
    def multiple(self) -> int:
        """Any size fits."""
        return 1


class _Block(nn.Module):
    def __init__(self, width: int, scaling: float) -> None:
        super().__init__()
        self.first, self.second, self.scaling = conv(width, width), conv(width, width), scaling

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.scaling * self.second(functional.relu(self.first(x)))
        return out


class ResNetBS(nn.Module):
    """A super-resolution network (EDSR) without the enlargement; no normalisation, no activation at the end.

    References
    ----------
    Rajaraman et al., Chest X-ray bone suppression for improving classification of tuberculosis-consistent findings,
    Diagnostics 2021, 11, 840, section 2.3; Lim et al. (2017), the blocks.
    """

    def __init__(self, config: ResNetBSConfig) -> None:
        super().__init__()
        self.config = config
        self.enter = conv(1, config.width)
        self.blocks = nn.Sequential(*(_Block(config.width, config.scaling) for _ in range(config.blocks)))
        self.gather = conv(config.width, config.width)
        self.leave = conv(config.width, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Radiographs (B, 1, H, W) in [-1, 1] -> soft tissue (B, 1, H, W), about [-1, 1]; any H and W."""
        features = self.enter(image)
        soft: Tensor = self.leave(features + self.gather(self.blocks(features)))
        return soft
