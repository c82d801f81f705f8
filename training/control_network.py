"""The plain one-pass U-Net that a latent diffusion model has to beat: pixels in, bone layer out."""

from dataclasses import dataclass

from torch import Tensor

from model.unet import UNet

__all__ = ["ControlConfig", "ControlNetwork"]


@dataclass(frozen=True, slots=True)
class ControlConfig:
    """Sizes of the control, as of `UNet`."""

    patch: int = 2
    widths: tuple[int, ...] = (24, 48, 80, 128, 128)
    blocks: tuple[int, ...] = (1, 1, 1, 1, 2)

    @property
    def multiple(self) -> int:
        """What rows and columns of an image must be a multiple of."""
        return self.patch << (len(self.widths) - 1)


class ControlNetwork(UNet):
    """U-Net whose untrained output is 0: no bone is found, the image stays."""

    def __init__(self, config: ControlConfig) -> None:
        super().__init__(1, config.patch, config.widths, config.blocks)
        self.config = config

    def forward(self, image: Tensor) -> Tensor:
        """Radiographs (B, 1, H, W) in [-1, 1] -> bone layers (B, 1, H, W), radiograph minus soft tissue, same units.

        H and W are multiples of ``config.multiple``.
        """
        return super().forward(image)
