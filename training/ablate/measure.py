"""Sample a cell for all test pairs at once, and score each of them.

`training.sweep` goes through the service, one radiograph at a time; a thousand steps of seventy cells would take it a
day. Here all test pairs are one batch of the same sampler, and the layer is subtracted as a training looks at it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.autoencoder import Autoencoder
from model.bundle import FusionSpec
from model.denoiser import Denoiser
from model.sampler import Recipe, sample
from pacs_node.records import FloatImage
from training.ablate.data import HeldOut
from training.ablate.plan import Cell as CellPlan
from training.ablate.plan import Way, preset_of
from training.diffusion import sampling_of
from training.evaluate.scores import Judge, Reference, Scores
from training.metrics import psnr
from training.preset import Preset
from training.validate import fused

__all__ = ["Bench", "Measured"]

WHOLE = FusionSpec()  # the layer as it was sampled, cut at 0: bone only adds brightness


@dataclass(frozen=True, slots=True)
class Measured:
    """What a cell scored.

    Attributes
    ----------
    scores : one for each test pair; NaN throughout where a sample is not finite.
    cpu_seconds : of the sampling.
    """

    scores: list[Scores]
    cpu_seconds: float


class Bench:
    """The test pairs and what scores them.

    Parameters
    ----------
    tested : the pairs, all of one grid.
    judge : see `training.evaluate.scores`.
    """

    def __init__(self, tested: Sequence[HeldOut], judge: Judge) -> None:
        self.tested, self.judge = tuple(tested), judge
        covered = [pair.placement.covered() for pair in self.tested]
        self.references = [Reference(pair.cxr[at], pair.soft[at]) for pair, at in zip(tested, covered, strict=True)]

    @property
    def images(self) -> Tensor:
        """(N, 1, grid, grid) in [-1, 1]."""
        return _tensor([pair.cxr for pair in self.tested])

    def without_network(self) -> dict[str, list[Scores]]:
        """The rows to compare with: the input, and the input under the best tone curve."""
        rows = {"identity": [each.cxr for each in self.references]}
        rows["tone"] = [each.fitted_cxr for each in self.references]
        return {
            name: [self.judge.scores(*each) for each in zip(self.references, outputs, strict=True)]
            for name, outputs in rows.items()
        }

    @torch.no_grad()
    def bound(self, autoencoder: Autoencoder) -> list[Scores]:
        """What the autoencoder lets through: the layer between the decoded twins, subtracted."""
        decoded = (autoencoder.decode(autoencoder.encode(twins)) for twins in (self.images, self._truths()))
        whole, soft = decoded
        return self._scored((whole - soft)[:, 0] / 2, soft[:, 0])

    def measure(self, networks: tuple[Autoencoder, Denoiser], cell: CellPlan, preset: Preset, seed: int) -> Measured:
        """Sample a cell and score it; the noise is the same in every cell of one seed."""
        began = time.process_time()
        layers, soft = _sampled(networks, self.images, _recipe(networks[1], cell, preset), cell.way, seed)
        spent = time.process_time() - began
        return Measured(self._scored(layers, soft), spent)

    def _truths(self) -> Tensor:
        return _tensor([pair.soft for pair in self.tested])

    def _scored(self, layers: Tensor, soft: Tensor) -> list[Scores]:
        rows = []
        for pair, reference, layer, shown in zip(
            self.tested, self.references, layers.numpy(), soft.numpy(), strict=True
        ):
            at = pair.placement.covered()
            output = fused(pair.cxr, layer, pair.placement, WHOLE)[at]
            decoded = np.clip((shown[at] + 1) / 2, 0, 1)
            if np.isfinite(layer).all():
                rows.append(self.judge.scores(reference, output) | {"psnr_decoded": psnr(decoded, reference.truth)})
            else:
                rows.append({})
        return _filled(rows)


def _recipe(denoiser: Denoiser, cell: CellPlan, preset: Preset) -> Recipe:
    sampling = sampling_of(preset_of(preset, cell.variant), cell.way.steps)
    way = sampling.process, sampling.sampler, sampling.eta, sampling.offset_noise
    return Recipe(denoiser.config.prediction, cell.way.clipping(preset.clipping), *way)


@torch.no_grad()
def _sampled(
    networks: tuple[Autoencoder, Denoiser], images: Tensor, recipe: Recipe, way: Way, seed: int
) -> tuple[Tensor, Tensor]:
    """Bone layers (N, H, W) in units of [0, 1], and the decoded soft tissue (N, H, W) in units of [-1, 1]."""
    autoencoder, denoiser = networks
    condition = autoencoder.encode(images)

    def predict(x_t: Tensor, t: float) -> Tensor:
        output: Tensor = denoiser(x_t, torch.full((len(x_t),), t), condition)
        return output

    latents = sample(predict, condition, recipe, way.steps, seed)
    soft = autoencoder.decode(latents)
    return (autoencoder.decode(condition) - soft)[:, 0] / 2, soft[:, 0]


def _filled(rows: list[Scores]) -> list[Scores]:
    """Every row with every figure; NaN where a sample is not finite."""
    names = {name: None for row in rows for name in row} or {"psnr": None}
    return [{name: row.get(name, float("nan")) for name in names} for row in rows]


def _tensor(images: Sequence[FloatImage]) -> Tensor:
    return torch.from_numpy(np.stack(images))[:, None] * 2 - 1
