"""Look at real dual-energy pairs while training on simulated ones: scores, and sheets of pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model.autoencoder import Autoencoder
from model.bundle import ClippingSpec, FusionSpec, SamplerName
from model.denoiser import Denoiser
from model.process import DIFFUSION, Process
from model.sampler import Recipe, sample
from pacs_node.imaging.fit import Placement
from pacs_node.imaging.fuse import shaped_layer, without_glow
from training.metrics import bsr_strict, bsr_tone, lung_mask, psnr, tone_fitted
from training.radiographs import load_square

__all__ = ["FUSIONS", "RealPairs", "Sampling", "bone_layers", "fused", "score_pairs", "write_sheet"]

FloatImage = NDArray[np.float32]
FUSIONS = tuple(
    FusionSpec(strength=strength, highpass_px=highpass)
    for highpass in (0.0, 48.0, 24.0, 12.0)
    for strength in (1.0, 0.75)
)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to run the diffusion."""

    steps: int
    clipping: ClippingSpec
    offset_noise: float = 0.1
    seed: int = 0
    process: Process = DIFFUSION
    sampler: SamplerName = "ddim"
    eta: float = 0.0


class RealPairs:
    """Radiographs and their soft-tissue truths, letterboxed to the grid; validation only, never trained on.

    Parameters
    ----------
    folder : pictures `NAME_cxr.png` (or another suffix), each with its `NAME_soft.png`.
    prefixes : of the names to take; all by default.

    Raises
    ------
    FileNotFoundError
        There is no pair, or a radiograph has no twin.
    """

    def __init__(self, folder: Path, grid: int, prefixes: tuple[str, ...] = ("",)) -> None:
        paths = [path for path in sorted(folder.glob("*_cxr.*")) if path.name.startswith(prefixes)]
        if not paths:
            raise FileNotFoundError(f"no real pair NAME_cxr.* in {folder}")
        self.names = [path.name.removesuffix(path.suffix).removesuffix("_cxr") for path in paths]
        loaded = [load_square(path, grid) for path in paths]
        self.cxr = [_unit(image) for image, _ in loaded]
        self.placements = [placement for _, placement in loaded]
        truths = [path.with_name(path.name.replace("_cxr", "_soft")) for path in paths]
        self.soft = [_unit(load_square(path, grid)[0]) for path in truths]
        self.body = [_picture(placement) for placement in self.placements]
        self.lungs = [lung_mask(truth, body) for truth, body in zip(self.soft, self.body, strict=True)]

    def images(self) -> Tensor:
        """(N, 1, grid, grid) float32 in [-1, 1]."""
        return torch.from_numpy(np.stack(self.cxr))[:, None] * 2 - 1


def _unit(image: Tensor) -> FloatImage:
    return ((image + 1) / 2).numpy()


def _picture(placement: Placement) -> NDArray[np.bool_]:
    """True where the letterbox holds a picture."""
    inside = np.zeros((placement.grid, placement.grid), dtype=bool)
    inside[placement.covered()] = True
    return inside


@torch.no_grad()
def bone_layers(autoencoder: Autoencoder, denoiser: Denoiser, images: Tensor, sampling: Sampling) -> Tensor:
    """What the service computes: decode the radiograph's latents and the sampled ones, and take the difference.

    Parameters
    ----------
    images : (N, 1, H, W) in [-1, 1].

    Returns
    -------
    (N, H, W) bone layers in units of [0, 1]; positive where bone brightens.
    """
    way = sampling.process, sampling.sampler, sampling.eta, sampling.offset_noise
    recipe = Recipe(denoiser.config.prediction, sampling.clipping, *way)
    layers = []
    for image in images.to(autoencoder.latent_mean.device):
        condition = autoencoder.encode(image[None])

        def predict(x_t: Tensor, t: float, condition: Tensor = condition) -> Tensor:
            out: Tensor = denoiser(x_t, torch.full((1,), t, device=x_t.device), condition)
            return out

        latents = sample(predict, condition, recipe, sampling.steps, sampling.seed)
        layers.append((autoencoder.decode(condition) - autoencoder.decode(latents))[0, 0].cpu() / 2)
    return torch.stack(layers)


def fused(cxr: FloatImage, layer: FloatImage, placement: Placement, fusion: FusionSpec) -> FloatImage:
    """The radiograph minus its bone layer, both in units of [0, 1], as the service subtracts it."""
    shaped = without_glow(shaped_layer(layer, placement, fusion), cxr, 0.0, 1.0)
    soft: FloatImage = np.clip(cxr - shaped, 0, 1)
    return soft


def score_pairs(pairs: RealPairs, layers: NDArray[np.float32]) -> dict[str, float]:
    """Mean scores over the pairs for each fusion; ``score`` is the best mean of `bsr_tone`.

    Keys are ``bsr_tone/1.00/hp24`` and the like, and ``lungs`` for the same inside the lungs.
    """
    scores: dict[str, float] = {}
    for fusion in FUSIONS:
        tag = f"{fusion.strength:.2f}/hp{fusion.highpass_px:.0f}"
        rows = [_row(pairs, index, layer, fusion) for index, layer in enumerate(layers)]
        for position, metric in enumerate(("bsr_tone", "lungs", "bsr_strict", "psnr_db")):
            scores[f"{metric}/{tag}"] = float(np.nanmean([row[position] for row in rows]))
    scores["score"] = max(value for key, value in scores.items() if key.startswith("bsr_tone"))
    return scores


def _row(pairs: RealPairs, index: int, layer: FloatImage, fusion: FusionSpec) -> tuple[float, float, float, float]:
    c, g, body, lungs = pairs.cxr[index], pairs.soft[index], pairs.body[index], pairs.lungs[index]
    b = fused(c, layer, pairs.placements[index], fusion)
    inside = bsr_tone(c, b, g, body, lungs) if lungs.any() else float("nan")
    fitted = tone_fitted(b, g, body)
    return bsr_tone(c, b, g, body), inside, bsr_strict(c[body], b[body], g[body]), psnr(fitted[body], g[body])


def write_sheet(path: Path, rows: list[list[FloatImage]]) -> None:
    """A picture of pictures: each row is one patient; values outside [0, 1] are cut."""
    sheet = np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(sheet.clip(0, 1) * 255).astype(np.uint8)).save(path)
