"""Image formation with torch: the same story as with NumPy, on whatever device the maps lie on."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from training.simulate.canvas import FloatArray

__all__ = ["TorchBackend"]


class TorchBackend:
    """The operations of `training.simulate.backend.Backend` on float32 tensors.

    Parameters
    ----------
    device : "cpu" or "cuda"; compared with NumPy on a CPU, not tried on a GPU yet.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)

    def take(self, values: NDArray[Any]) -> Tensor:
        """Bring a NumPy array over."""
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def give(self, values: Tensor) -> NDArray[Any]:
        """Bring a tensor back to NumPy."""
        return values.cpu().numpy()

    def exp(self, values: Tensor) -> Tensor:
        """Natural exponential."""
        return torch.exp(values)

    def log(self, values: Tensor) -> Tensor:
        """Natural logarithm."""
        return torch.log(values)

    def clip(self, values: Tensor, low: float | None, high: float | None) -> Tensor:
        """Limit to [low, high]; None is no limit."""
        return torch.clamp(values, low, high)

    def where(self, condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
        """Choose pixel by pixel."""
        return torch.where(condition, yes, no)

    def round(self, values: Tensor) -> Tensor:
        """To the nearest integer, halves to the even one."""
        return torch.round(values)

    def percentile(self, values: Tensor, percent: float) -> float:
        """Of all values, interpolated linearly."""
        return float(torch.quantile(values.flatten(), percent / 100))

    def blur(self, image: Tensor, sigma_px: float, truncate: float = 4.0) -> Tensor:
        """Gaussian, cut at ``truncate`` deviations, edges repeated."""
        radius = int(truncate * sigma_px + 0.5)
        if radius == 0:
            return image
        at = torch.arange(-radius, radius + 1, dtype=torch.float32, device=image.device)
        kernel = torch.exp(-0.5 * (at / sigma_px) ** 2)
        kernel = (kernel / kernel.sum())[None, None]
        stack = image[None, None]
        for weight, pad in ((kernel[..., None], (0, 0, radius, radius)), (kernel[:, :, None], (radius, radius, 0, 0))):
            stack = functional.conv2d(functional.pad(stack, pad, mode="replicate"), weight)
        return stack[0, 0]

    def pool(self, image: Tensor, factor: int) -> Tensor:
        """Means of blocks of factor x factor."""
        return functional.avg_pool2d(image[None], factor)[0]

    def resample(self, image: Tensor, rows: FloatArray, columns: FloatArray) -> Tensor:
        """The image at coordinates (n, n) in shares of its side, linear, edges repeated."""
        at = torch.stack([self.take(columns), self.take(rows)], dim=-1) * 2 - 1
        seen = functional.grid_sample(
            image[None, None], at[None].float(), mode="bilinear", padding_mode="border", align_corners=False
        )
        return seen[0, 0]
