"""One number for the weights of a module, to see that two stages of a training belong together."""

import hashlib

import torch
from torch import nn

__all__ = ["fingerprint"]


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of names, shapes and float32 values of the module's state; device and memory order do not matter."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().to(torch.float32).contiguous()
        digest.update(f"{name} {tuple(values.shape)} ".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()
