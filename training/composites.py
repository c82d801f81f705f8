"""Simulated bones laid over real radiographs whose own bones a trained network took out.

The simulator's soft tissue is its weakest part; real tissue under known bones closes some of that gap without a single
real pair. What the network left of the real bones stays in both twins, so it teaches nothing either way but to leave
faint remains alone.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from model.autoencoder import Autoencoder
from model.denoiser import Denoiser
from training.metrics import lung_mask
from training.pairs import SHARD, PairShards, write_shard
from training.radiographs import Radiographs, from_bytes
from training.validate import Sampling, bone_layers

__all__ = ["Suppressed", "form_composites", "lay_over", "suppress"]

FloatImage = NDArray[np.float32]
Box = tuple[float, float, float, float]  # top, bottom, left, right of the lungs, px
Suppressed = list[tuple[FloatImage, Box]]
STRENGTH = (0.7, 1.4)
JITTER = 0.04  # of the lungs' height and width: bones need not lie exactly where the real ones were


def lung_box(image: FloatImage) -> Box | None:
    """Rows and columns that the lungs span, or None where they are not found."""
    rows, columns = np.nonzero(lung_mask(image, np.ones(image.shape, dtype=bool)))
    if not len(rows):
        return None
    top, bottom = np.quantile(rows, (0.01, 0.99))
    left, right = np.quantile(columns, (0.01, 0.99))
    plausible = 0.25 < (bottom - top) / len(image) < 0.95 and 0.35 < (right - left) / len(image) < 0.95
    return (float(top), float(bottom), float(left), float(right)) if plausible else None


def suppress(
    networks: tuple[Autoencoder, Denoiser], radiographs: Radiographs, sampling: Sampling, grid: int
) -> Suppressed:
    """Every training radiograph without the bones that the networks find, in [0, 1], and its lungs' box."""
    kept: Suppressed = []
    for stored in radiographs.images:
        image = torch.nn.functional.interpolate(from_bytes(stored)[None, None], size=(grid, grid), mode="area")
        layer = bone_layers(*networks, image, sampling)[0].numpy()
        soft = np.clip((image[0, 0].numpy() + 1) / 2 - layer, 0, 1).astype(np.float32)
        box = lung_box(soft)
        if box is not None:
            kept.append((soft, box))
    return kept


def lay_over(layer: FloatImage, own: Box, target: Box, rng: np.random.Generator) -> FloatImage:
    """Move a bone layer from one pair of lungs to another, with a little jitter, mirrored half of the time."""
    size = len(layer)
    if rng.random() < 0.5:
        layer, own = layer[:, ::-1], (own[0], own[1], size - own[3], size - own[2])
    scale, start = [], []
    for axis in (0, 2):
        extent = target[axis + 1] - target[axis]
        first, last = (target[axis + edge] + rng.normal(0, JITTER) * extent for edge in (0, 1))
        factor = (own[axis + 1] - own[axis]) / max(last - first, 0.3 * extent)
        scale.append(factor)
        start.append(own[axis] - first * factor)
    return np.asarray(affine_transform(layer, np.array(scale), np.array(start), order=1), dtype=np.float32)


def form_composites(suppressed: Suppressed, pairs: PairShards, folder: Path, count: int, seed: int = 0) -> int:
    """Form pairs of a real radiograph's soft tissue with and without simulated bones, as shards like the simulator's.

    Returns
    -------
    Number of pairs formed.
    """
    rng = np.random.default_rng([seed, 0xC0])
    for number in range(-(-count // SHARD)):
        twins = [_composite(suppressed, pairs, rng) for _ in range(min(SHARD, count - number * SHARD))]
        write_shard(folder / f"composite-{seed:04d}-{number:03d}.npy", twins)
    return count


def _composite(suppressed: Suppressed, pairs: PairShards, rng: np.random.Generator) -> tuple[FloatImage, FloatImage]:
    while True:  # about two simulated pairs in three have lungs that are found
        cxr, soft = (((image + 1) / 2).numpy() for image in pairs.draw(rng))
        box = lung_box(soft)
        if box is not None and float(np.mean(cxr - soft)) > 1e-3:
            break
    tissue, target = suppressed[int(rng.integers(len(suppressed)))]
    bone = lay_over(cxr - soft, box, target, rng)
    black = tissue <= 0.01  # beyond the picture there are no bones
    return np.where(black, tissue, tissue + rng.uniform(*STRENGTH) * bone).astype(np.float32), tissue
