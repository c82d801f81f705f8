"""What every engine asks of its inputs: shapes of the Protocol, checked before the runtime sees them."""

from collections.abc import Sequence

import numpy as np

from model.bundle import ModelSpec
from pacs_node.records import FloatImage

__all__ = ["check_image", "check_latents", "check_order", "check_step"]


def check_image(spec: ModelSpec, image: FloatImage) -> FloatImage:
    """Pass on a (B, 1, H, W) float32 image of a size that the graphs take.

    Raises
    ------
    ValueError
        Another shape or type: a mistake of the caller, so it is neither retried nor blamed on the bundle.
    """
    sides = image.shape[2:]
    if image.ndim != 4 or image.shape[1] != 1 or not image.size or any(side % spec.downsampling for side in sides):
        raise ValueError(f"image of shape {image.shape}: (B, 1, H, W) with sides in multiples of {spec.downsampling}")
    if spec.shapes == "fixed" and sides != (spec.grid, spec.grid):
        raise ValueError(f"image of shape {image.shape}: this bundle's graphs take {spec.grid} x {spec.grid} only")
    return _float32(image)


def check_order(spec: ModelSpec, images: FloatImage, steps: int, seeds: Sequence[int]) -> None:
    """Check the inputs of `Engine.coarse_layers`.

    Raises
    ------
    ValueError
        The images are none, there is not one seed for each, or there are fewer steps than one.
    """
    check_image(spec, images)
    if len(seeds) != len(images):
        raise ValueError(f"{len(seeds)} seeds for {len(images)} images: one for each is asked for")
    if steps < 1:
        raise ValueError(f"{steps} steps: at least one is asked for")


def check_latents(spec: ModelSpec, latents: FloatImage) -> FloatImage:
    """Pass on (B, ``spec.latent_channels``, h, w) float32 latents.

    Raises
    ------
    ValueError
        Another shape or type.
    """
    if latents.ndim != 4 or latents.shape[1] != spec.latent_channels or not latents.size:
        raise ValueError(f"latents of shape {latents.shape}: (B, {spec.latent_channels}, h, w) is asked for")
    side = spec.grid // spec.downsampling
    if spec.shapes == "fixed" and latents.shape[2:] != (side, side):
        raise ValueError(f"latents of shape {latents.shape}: this bundle's graphs take {side} x {side} only")
    return _float32(latents)


def check_step(spec: ModelSpec, x_t: FloatImage, t: FloatImage, condition: FloatImage) -> None:
    """Check the inputs of one evaluation of the denoiser: equal latents, one time in [0, 1] for each of them.

    Raises
    ------
    ValueError
        The shapes do not belong together, or a time lies outside [0, 1].
    """
    check_latents(spec, x_t)
    check_latents(spec, condition)
    if x_t.shape != condition.shape or t.shape != x_t.shape[:1]:
        raise ValueError(f"x_t {x_t.shape}, t {t.shape} and condition {condition.shape} do not belong together")
    if not ((_float32(t) >= 0) & (t <= 1)).all():
        raise ValueError("a diffusion time lies outside [0, 1]")


def _float32(array: FloatImage) -> FloatImage:
    if array.dtype != np.float32:
        raise ValueError(f"{array.dtype} where float32 is asked for")
    return array
