"""The autoencoder of Gusarev et al. (2017): radiograph in, soft tissue out, through a bottleneck of an eighth."""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Gusarev", "GusarevConfig"]

KERNEL = 5


@dataclass(frozen=True, slots=True)
class GusarevConfig:
    """Sizes.

    Attributes
    ----------
    channels : of each level, finest first; each level has half the rows of the one before.
    tied : the decoder uses the encoder's weights, transposed, and nothing has a bias: 64,400 weights. Else each layer
        has its own and a bias: 128,961.
    """

    channels: tuple[int, ...] = (16, 32, 64)
    tied: bool = True

    @property
    def multiple(self) -> int:
        """What rows and columns of an image must be a multiple of."""
        return 1 << len(self.channels)


class Gusarev(nn.Module):
    """Convolution 5 x 5, ReLU and maximum of 2 x 2, three times; then the mirror of it by transposed convolutions.

    Works on [0, 1] inside, as published: without biases, black stays black.

    References
    ----------
    Gusarev et al., Deep learning models for bone suppression in chest radiographs, CIBCB 2017, section III.
    """

    def __init__(self, config: GusarevConfig) -> None:
        super().__init__()
        self.config = config
        sizes = list(pairwise((1, *config.channels)))
        self.down = nn.ModuleList(
            nn.Conv2d(fine, coarse, KERNEL, padding=KERNEL // 2, bias=not config.tied) for fine, coarse in sizes
        )
        up = () if config.tied else (_transposed(coarse, fine) for fine, coarse in sizes)
        self.up = nn.ModuleList(up)
        for layer in (*self.down, *self.up):
            assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)  # noqa: S101 (for the type checker)
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor:
        """Radiographs (B, 1, H, W) in [-1, 1] -> soft tissue (B, 1, H, W), about [-1, 1].

        H and W are multiples of ``config.multiple``.
        """
        x = (image + 1) / 2
        for layer in self.down:
            x = functional.max_pool2d(functional.relu(layer(x)), 2)
        for level in reversed(range(len(self.down))):
            x = self._grown(x, level)
            x = functional.relu(x) if level else x  # the last one gives the picture
        return 2 * x - 1

    def _grown(self, x: Tensor, level: int) -> Tensor:
        if not self.config.tied:
            grown: Tensor = self.up[level](x)
            return grown
        weight = self.down[level].weight
        assert isinstance(weight, Tensor)  # noqa: S101 (for the type checker)
        return functional.conv_transpose2d(x, weight, stride=2, padding=KERNEL // 2, output_padding=1)


def _transposed(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, KERNEL, stride=2, padding=KERNEL // 2, output_padding=1)
