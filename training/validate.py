"""Look at real dual-energy pairs while training on simulated ones: scores, and sheets of pictures."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.autoencoder import Autoencoder
from model.bundle import ClippingSpec, FusionSpec, SamplerName
from model.denoiser import Denoiser
from model.process import DIFFUSION, Process
from model.sampler import Recipe, sample
from pacs_node.imaging.fit import Placement, to_grid
from pacs_node.imaging.fuse import shaped_layer, without_glow
from training.evaluate.cases import open_cases, with_bone
from training.ingest.manifest import Split
from training.metrics import bsr_strict, lung_mask, psnr, rib_correlation, tone_fitted, tone_ratio

__all__ = [
    "FUSIONS",
    "SHEET_ROWS",
    "RealPairs",
    "Sampling",
    "bone_layers",
    "choice_score",
    "fused",
    "score_pairs",
    "side_by_side",
]

FloatImage = NDArray[np.float32]
SHEET_ROWS = 4
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

    Pairs whose truth was computed from the radiograph are left out where there is dual energy.

    Parameters
    ----------
    folder : pictures `NAME_cxr.png` (or another suffix), each with its `NAME_soft.png`; or what `pacs-node ingest`
        wrote.
    prefixes : of the names to take; all by default.
    split : of an ingested folder; its validation pairs when None.

    Raises
    ------
    FileNotFoundError
        There is no pair.
    ConfigError
        A radiograph has no twin, or a file cannot be read.
    """

    def __init__(self, folder: Path, grid: int, prefixes: tuple[str, ...] = ("",), split: Split | None = None) -> None:
        if split is None and (folder / "manifest.json").is_file():
            split = "validation"
        if split is None and not any(folder.glob("*_cxr.*")):
            raise FileNotFoundError(f"no real pair NAME_cxr.* in {folder}")
        cases = [case for case in open_cases(folder, split) if f"{case.name}_".startswith(prefixes)]
        cases = [case for case in cases if case.dual_energy] or cases
        if not cases:
            raise FileNotFoundError(f"no real pair of those asked for in {folder}")
        cases, _ = with_bone(cases)
        self.names = [case.name for case in cases]
        self.cxr: list[FloatImage] = []
        self.soft: list[FloatImage] = []
        self.placements: list[Placement] = []
        for case in cases:
            twins = case.load()
            fitted = to_grid(twins.radiograph, grid)
            self.cxr.append(_unit(fitted.pixels))
            self.soft.append(_unit(to_grid(replace(twins.radiograph, pixels=twins.truth), grid).pixels))
            self.placements.append(fitted.placement)
        self.body = [_picture(placement) for placement in self.placements]
        self.lungs = [lung_mask(truth, body) for truth, body in zip(self.soft, self.body, strict=True)]
        # the best tone curve of the radiograph is the same for every network that is looked at
        self.toned = [tone_fitted(*each) for each in zip(self.cxr, self.soft, self.body, strict=True)]

    def images(self) -> Tensor:
        """(N, 1, grid, grid) float32 in [-1, 1]."""
        return torch.from_numpy(np.stack(self.cxr))[:, None] * 2 - 1


def _unit(pixels: FloatImage) -> FloatImage:
    image: FloatImage = (pixels[0, 0] + 1) / 2
    return image


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
        layers.append((autoencoder.decode(condition) - autoencoder.decode(latents))[0, 0].float().cpu() / 2)
    return torch.stack(layers)


def fused(cxr: FloatImage, layer: FloatImage, placement: Placement, fusion: FusionSpec) -> FloatImage:
    """The radiograph minus its bone layer, both in units of [0, 1], as the service subtracts it."""
    shaped = without_glow(shaped_layer(layer, placement, fusion), cxr, 0.0, 1.0)
    soft: FloatImage = np.clip(cxr - shaped, 0, 1)
    return soft


def side_by_side(pairs: RealPairs, layers: NDArray[np.float32], fusion: FusionSpec) -> list[list[FloatImage]]:
    """Rows of a sheet for the first pairs: the radiograph, the radiograph without its bone layer, the truth."""
    return [
        [pairs.cxr[index], fused(pairs.cxr[index], layer, pairs.placements[index], fusion), pairs.soft[index]]
        for index, layer in enumerate(layers)
    ]


def score_pairs(pairs: RealPairs, layers: NDArray[np.float32]) -> dict[str, float]:
    """Mean scores over the pairs for each fusion; ``score`` is that of the fusion with the best `choice_score`.

    Parameters
    ----------
    layers : (N, grid, grid) bone layers in units of [0, 1].

    Returns
    -------
    ``bsr_tone/1.00/hp24`` and the like for each fusion; ``lungs`` is `bsr_tone` inside the lungs, ``choice`` the
    `choice_score`; `ribs_left` of the input and of the truth are added, between which that of the output should lie.
    """
    extremes = {name: _mean(_ribs(pairs, of)) for name, of in (("input", pairs.toned), ("truth", pairs.soft))}
    scores = {f"ribs_left/{name}": value for name, value in extremes.items()}
    for fusion in FUSIONS:
        rows = [_row(pairs, index, layer, fusion) for index, layer in enumerate(layers)]
        means = {metric: _mean([row[metric] for row in rows]) for metric in rows[0]}
        tag = f"{fusion.strength:.2f}/hp{fusion.highpass_px:.0f}"
        scores |= {f"{metric}/{tag}": value for metric, value in means.items()}
        scores[f"choice/{tag}"] = choice_score(means, extremes)
    scores["score"] = max(value for key, value in scores.items() if key.startswith("choice/"))
    return scores


def choice_score(means: dict[str, float], extremes: dict[str, float]) -> float:
    """What a checkpoint is chosen by: `bsr_tone`, half whole and half in the lungs, less what is wrong with the ribs.

    Ribs are wrong where `ribs_left` lies below the truth by more than .05 (vessels were taken for ribs) or above a
    third of the way from the truth to the input; half of that excess is taken off.
    """
    tone, lungs, ribs = means["bsr_tone"], means["lungs"], means["ribs_left"]
    if not np.isfinite(lungs):  # none were found in any pair
        return tone
    least, most = extremes["truth"] - 0.05, extremes["truth"] + (extremes["input"] - extremes["truth"]) / 3
    return (tone + lungs) / 2 - (max(least - ribs, 0.0) + max(ribs - most, 0.0)) / 2


def _row(pairs: RealPairs, index: int, layer: FloatImage, fusion: FusionSpec) -> dict[str, float]:
    c, g, body, lungs = pairs.cxr[index], pairs.soft[index], pairs.body[index], pairs.lungs[index]
    b = fused(c, layer, pairs.placements[index], fusion)
    toned, fitted = pairs.toned[index], tone_fitted(b, g, body)
    return {
        "bsr_tone": tone_ratio(toned, fitted, g, body),
        "lungs": tone_ratio(toned, fitted, g, lungs) if lungs.any() else float("nan"),
        "ribs_left": rib_correlation(toned, fitted, g, lungs),
        "bsr_strict": bsr_strict(c[body], b[body], g[body]),
        "psnr_db": psnr(fitted[body], g[body]),
    }


def _ribs(pairs: RealPairs, images: list[FloatImage]) -> list[float]:
    everything = zip(pairs.toned, images, pairs.soft, pairs.lungs, strict=True)
    return [rib_correlation(*each) for each in everything]


def _mean(values: list[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
