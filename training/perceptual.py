"""The perceptual distance of two images: a metric of the evaluation, and a loss of the autoencoder.

LPIPS compares the features of a network for natural images (Zhang et al. 2018). Taken here is its shift-tolerant
form: a difference of one pixel in register, which no reader sees, moves it little. Lower is more alike.

The weights are published with the package `stlpips-pytorch`. Only its file is read, so none of what that package
imports is needed; nothing is downloaded.
"""

import os
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from export.fingerprint import fingerprint

__all__ = [
    "SMALLEST",
    "WEIGHTS_VARIABLE",
    "PerceptualDistance",
    "PerceptualWeightsError",
    "find_weights",
    "load_perceptual",
]

WEIGHTS_VARIABLE = "PACS_NODE_LPIPS_WEIGHTS"
PACKAGED = Path("weights") / "vST0.0" / "alex_shift_tolerant.pth"
FINGERPRINT = "e98236cfa7c023be474df679b02aad18b81280dfae3d651870669f469a76501d"
SMALLEST = 24  # rows and columns; fewer leave nothing to pool
# AlexNet's convolutions: channels in and out, kernel, padding; and what the published file calls them.
CONVOLUTIONS = ((3, 64, 11, 2), (64, 192, 5, 2), (192, 384, 3, 1), (384, 256, 3, 1), (256, 256, 3, 1))
PUBLISHED = ("net.slice1.0", "net.slice2.5", "net.slice3.9", "net.slice4.11", "net.slice5.13")
# Mean and deviation of natural images per colour, for values in [-1, 1] (LPIPS 0.1).
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class PerceptualWeightsError(Exception):
    """The weights of the perceptual distance are missing, or are others than the published ones."""


class _BlurredStride(nn.Module):
    """Every second row and column of an image blurred by [1 2 1] / 4: a stride that does not alias."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        tent = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", (tent[:, None] * tent)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H // 2 + 1, W // 2 + 1)."""
        kernel = self.kernel.expand(x.shape[1], 1, 3, 3)
        return functional.conv2d(functional.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=x.shape[1])


class PerceptualDistance(nn.Module):
    """Weighted distance of unit feature vectors at five depths of an AlexNet whose strides are blurred.

    The module is frozen; gradients flow to the images. An untrained one has random weights.

    References
    ----------
    Zhang et al. (2018), eq. 1; Ghildyal & Liu (2022), section 4.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        sizes = CONVOLUTIONS
        self.convolutions = nn.ModuleList(nn.Conv2d(i, o, kernel, padding=pad) for i, o, kernel, pad in sizes)
        self.heads = nn.ParameterList(torch.full((1, size[1], 1, 1), 1 / size[1]) for size in sizes)
        self.blur = _BlurredStride()
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)
        self.eval().requires_grad_(False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance of each pair of images.

        Parameters
        ----------
        a, b : (B, 1, H, W) or (B, 3, H, W) in [-1, 1], at least 24 x 24.

        Returns
        -------
        (B,) float32, 0 for equal images.

        Raises
        ------
        ValueError
            The shapes differ or are too small.
        """
        if a.shape != b.shape or min(a.shape[-2:]) < SMALLEST:
            raise ValueError(f"two images of one shape, at least {SMALLEST} px: {tuple(a.shape)}, {tuple(b.shape)}")
        return self.between(self.features(a), self.features(b))

    def between(self, features_a: list[Tensor], features_b: list[Tensor]) -> Tensor:
        """Distance (B,) of images whose `features` are known: those of a truth need computing once."""
        total = features_a[0].new_zeros(features_a[0].shape[0], dtype=torch.float32)
        for head, of_a, of_b in zip(self.heads, features_a, features_b, strict=True):
            squared = (_unit(of_a.float()) - _unit(of_b.float())).pow(2)
            total = total + (head * squared).sum(dim=1).mean(dim=(1, 2))
        return total

    def features(self, image: Tensor) -> list[Tensor]:
        """Features at five depths, (B, 64 | 192 | 384 | 256 | 256, h, w)."""
        x = (image.expand(-1, 3, -1, -1) - self.shift) / self.scale
        first, second, third, fourth, fifth = self.convolutions
        levels = [functional.relu(self.blur(first(x)))]
        for layer in (second, third):
            pooled = self.blur(functional.max_pool2d(levels[-1], 3, stride=1))
            levels.append(functional.relu(layer(pooled)))
        for layer in (fourth, fifth):
            levels.append(functional.relu(layer(levels[-1])))
        return levels


def _unit(features: Tensor) -> Tensor:
    # the root of 0 has no gradient: the smallest length keeps a flat patch from making one that is not finite
    return features / (features.pow(2).sum(dim=1, keepdim=True) + 1e-20).sqrt()


def find_weights(path: Path | None = None) -> Path:
    """The file of the published weights: ``path``, else the environment's, else that of the package.

    Raises
    ------
    PerceptualWeightsError
        There is none; the message says how to get it.
    """
    named = path or (Path(value) if (value := os.environ.get(WEIGHTS_VARIABLE)) else None)
    if named is not None:
        if not named.is_file():
            raise PerceptualWeightsError(f"there is no file {named} with the weights of the perceptual distance")
        return named
    spec = find_spec("stlpips_pytorch")
    for place in spec.submodule_search_locations or () if spec is not None else ():
        if (Path(place) / PACKAGED).is_file():
            return Path(place) / PACKAGED
    raise PerceptualWeightsError(
        "the perceptual distance needs published weights: pip install stlpips-pytorch==0.0.2, "
        f"or name the file in {WEIGHTS_VARIABLE}"
    )


def load_perceptual(path: Path | None = None) -> PerceptualDistance:
    """The distance with its published weights, on the CPU, frozen.

    Parameters
    ----------
    path : `.safetensors` or the package's `.pth`; found by `find_weights` when None.

    Raises
    ------
    PerceptualWeightsError
        No file, or weights other than the published ones: figures would not be comparable.
    """
    found = find_weights(path)
    try:
        published = load_file(found) if found.suffix == ".safetensors" else _load_pth(found)
        state = _renamed(published)
    except Exception as error:  # each reader has errors of its own
        raise PerceptualWeightsError(f"{found} holds no weights of the perceptual distance") from error
    module = PerceptualDistance()
    module.load_state_dict(state)
    if fingerprint(module) != FINGERPRINT:
        raise PerceptualWeightsError(f"{found} holds other weights than stlpips-pytorch 0.0.2 published")
    return module


def _load_pth(path: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)  # tensors only, no code
    return state


def _renamed(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published names in those of `PerceptualDistance`."""
    state: dict[str, Tensor] = {}
    for index, name in enumerate(PUBLISHED):
        for kind in ("weight", "bias"):
            state[f"convolutions.{index}.{kind}"] = published[f"{name}.{kind}"]
        state[f"heads.{index}"] = published[f"lin{index}.model.1.weight"]
    return state
