"""Random framing, tone and bone strength, the same for all images of one patient."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["random_frame", "random_nodules", "random_strength", "random_tone"]

LARGEST_ROTATION = math.radians(8)
STRENGTHS = (0.6, 1.3)
NODULE_SHARE = 0.7


def random_frame(stack: Tensor, crop: int, rng: np.random.Generator, zoom: tuple[float, float]) -> Tensor:
    """Cut one random square out of images in register: zoom, turn, mirror, stretch, shift.

    Parameters
    ----------
    stack : (N, H, W) in [-1, 1], square.
    crop : rows and columns of the result.
    zoom : smallest and largest size of an object in the result over its size in ``stack``.

    Returns
    -------
    (N, crop, crop); black (-1) where the frame lies outside the images.
    """
    size = stack.shape[-1]
    scale = math.exp(rng.uniform(math.log(zoom[0]), math.log(zoom[1])))
    stretch = math.exp(rng.uniform(-0.06, 0.06))
    turn = rng.uniform(-LARGEST_ROTATION, LARGEST_ROTATION)
    extent = crop / size / scale  # of the frame, as a share of the image
    room = max(1 - extent, 0.06)
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    cosine, sine = math.cos(turn) * extent, math.sin(turn) * extent
    theta = torch.tensor(
        [
            [mirror * cosine * stretch, -sine, rng.uniform(-room, room)],
            [mirror * sine, cosine / stretch, rng.uniform(-room, room)],
        ],
        dtype=torch.float32,
    )
    grid = functional.affine_grid(theta[None], [1, 1, crop, crop], align_corners=False)
    # outside is 0 to grid_sample; black is -1
    framed = functional.grid_sample(stack[None] + 1, grid, mode="bilinear", align_corners=False)
    return framed[0] - 1


def random_tone(stack: Tensor, rng: np.random.Generator) -> Tensor:
    """One random monotone curve from [-1, 1] onto [-1, 1] for all images: gamma, then an S or its inverse, then gain.

    The ends stay where they are up to the gain, because the service stretches every radiograph to this range.
    """
    value = ((stack + 1) / 2).clamp(0, 1)
    value = value ** math.exp(rng.uniform(-0.35, 0.35))
    bend = rng.uniform(-0.25, 0.5)
    value = value + bend * value * (1 - value) * (2 * value - 1)
    gain = rng.uniform(0.88, 1.02)
    return (value * gain + rng.uniform(0.0, 0.04)) * 2 - 1


def random_strength(cxr: Tensor, soft: Tensor, rng: np.random.Generator) -> Tensor:
    """The radiograph with its bones made fainter or denser; its soft-tissue twin stays."""
    return (soft + rng.uniform(*STRENGTHS) * (cxr - soft)).clamp(-1, 1)


def random_nodules(stack: Tensor, rng: np.random.Generator) -> Tensor:
    """Round and oval shadows in all images alike, in most draws: what is no bone has to stay, even where bone is.

    Parameters
    ----------
    stack : (N, H, W) in [-1, 1]; a shadow is 1 to 6 % of W wide (two deviations) and brightens by up to .25.
    """
    if rng.random() > NODULE_SHARE:
        return stack
    size = stack.shape[-1]
    axis = torch.arange(size, dtype=torch.float32)
    shadows = torch.zeros_like(stack[0])
    for _ in range(int(rng.integers(1, 6))):
        row, column = (rng.uniform(0.12, 0.88) * size for _ in range(2))
        height, width = math.exp(rng.uniform(math.log(0.005), math.log(0.03))) * size * np.exp(rng.normal(0, 0.15, 2))
        profile = torch.exp(-0.5 * ((axis - row) / height) ** 2)[:, None] * torch.exp(
            -0.5 * ((axis - column) / width) ** 2
        )
        flat = rng.uniform(1, 2.5)  # above 1 the top is flat and the rim steeper, as of a dense round nodule
        shadows += rng.uniform(0.04, 0.25) * (profile * flat).clamp(max=1)
    inside = (stack > -0.98).float()  # not beside the picture
    return stack + shadows * inside
