"""The network that is trained, and how it becomes the arrays that the service computes with."""

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pacs_node.imaging.gate_network import CLASSES

__all__ = ["GateNetwork", "arrays_of"]

CHANNELS = (2, 16, 32, 48, 64, 64)
STRIDES = (2, 2, 2, 1, 2)


class GateNetwork(nn.Module):
    """Five convolutions of 3 x 3, the mean of each quarter of what they see, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        pairs = pairwise(CHANNELS)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride, 1, bias=False) for (a, b), stride in zip(pairs, STRIDES, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in CHANNELS[1:])
        self.dropout = nn.Dropout(0.25)
        self.head = nn.Linear(4 * CHANNELS[-1], len(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 2, 64, 64) in [-1, 1] -> (n, classes) logits."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = torch.relu(norm(convolution(x)))
        quarters = nn.functional.avg_pool2d(x, 2).flatten(1)
        logits: Tensor = self.head(self.dropout(quarters))
        return logits


@torch.no_grad()
def arrays_of(network: GateNetwork) -> dict[str, NDArray[np.float16]]:
    """Weights with the normalisation folded in, as `pacs_node.imaging.gate_network.load_network` reads them."""
    arrays = {}
    for index, (convolution, norm) in enumerate(zip(network.convolutions, network.norms, strict=True)):
        assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)  # noqa: S101, PT018 - for mypy
        assert norm.running_mean is not None and norm.running_var is not None  # noqa: S101, PT018
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        arrays[f"weight{index}"] = convolution.weight * gain[:, None, None, None]
        arrays[f"bias{index}"] = norm.bias - norm.running_mean * gain
    arrays["head_weight"], arrays["head_bias"] = network.head.weight, network.head.bias
    return {name: value.numpy().astype(np.float16) for name, value in arrays.items()}
