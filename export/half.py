"""The same network computing in half precision, from and to float32.

Convolutions and what lies between them are in float16. In float32 stay the normalisations (sums of squares), the time
embedding and what follows from it, the scale of the latents and every number of the sampler.
"""

from copy import copy

import torch
from torch import Tensor, nn

from export.runtime_layers import Strided, for_runtime
from model.autoencoder import Autoencoder
from model.denoiser import Denoiser
from model.refiner import Refiner

__all__ = ["in_half"]


class _From32(nn.Module):
    """Rounds what enters a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.module(x.half())
        return out


class _To32(nn.Module):
    """Widens what leaves a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.module(x)
        return out.float()


def in_half(module: nn.Module) -> nn.Module:
    """A module for tracing that computes ``module`` (autoencoder, denoiser, refiner) in float16; it is not changed."""
    plain = for_runtime(module)
    match plain:
        case Autoencoder():
            plain.encoder = _ends(plain.encoder)
            plain.decoder = _ends(plain.decoder)
        case Denoiser():
            plain.stem, plain.out = _From32(plain.stem), _To32(plain.out)  # type: ignore[assignment]
        case Refiner():
            plain.unshuffle, plain.out = _From32(plain.unshuffle), _To32(plain.out)  # type: ignore[assignment]
        case _:
            raise TypeError(f"no part of a network: {type(module).__name__}")
    return _halved(plain)


def _ends(layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(_From32(layers), _To32(nn.Identity()))


def _halved(module: nn.Module) -> nn.Module:
    """Half the kernels, in copies of the layers: the tensors themselves are the trained ones."""
    for name, child in module.named_children():
        setattr(module, name, _halved(child))
    if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d | Strided):
        return module
    changed = copy(module)
    changed._parameters = {name: _rounded(tensor) for name, tensor in module._parameters.items()}
    changed._buffers = {name: None if tensor is None else tensor.half() for name, tensor in module._buffers.items()}
    return changed


def _rounded(tensor: nn.Parameter | None) -> nn.Parameter | None:
    return None if tensor is None else nn.Parameter(tensor.detach().to(torch.float16), requires_grad=False)
