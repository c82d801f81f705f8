"""The refiner: its loss, and its training on what the frozen networks sampled, see `training.coarse`."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.refiner import Refiner, RefinerConfig
from training.coarse import CoarseBatch, CoarseShards
from training.loop import Outcome, Run, Stage, run_stage
from training.losses import gradient_difference, relative_energy, shadow_energy, weighed
from training.parallel import choose_device
from training.perceptual import PerceptualDistance, load_perceptual
from training.preset import Preset, PresetError, RefinerTraining
from training.stage import Rows
from training.validate import SHEET_ROWS, RealPairs, score_pairs, side_by_side

__all__ = ["RefinerData", "refined_layers", "refinement_loss", "require_refiner", "train_refiner"]


@dataclass(frozen=True, slots=True)
class RefinerData:
    """What the refiner sees.

    Attributes
    ----------
    shards : framings with true and sampled layers.
    real : real pairs to look at while training, never trained on, with their sampled layers (N, 1, grid, grid), as
        from `training.coarse.Sampler.layers`.
    """

    shards: CoarseShards
    real: tuple[RealPairs, Tensor] | None = None


def require_refiner(preset: Preset) -> RefinerConfig:
    """The sizes of the preset's refiner.

    Raises
    ------
    PresetError
        The preset has none.
    """
    if preset.refiner is None:
        raise PresetError(
            f"the preset {preset.name} has no refiner: add [refiner] to it, as in training/presets/default.toml"
        )
    return preset.refiner


Window = tuple[slice, slice]
EVERYWHERE: Window = (slice(None), slice(None))


def refinement_loss(
    model: Refiner,
    batch: CoarseBatch,
    training: RefinerTraining,
    perceptual: PerceptualDistance | None = None,
    window: Window = EVERYWHERE,
) -> tuple[Tensor, dict[str, float]]:
    """Errors of the refined layer and of its differences from pixel to pixel, and how the soft tissue looks.

    Parameters
    ----------
    batch : on the device of the model.
    perceptual : between radiograph less refined layer and radiograph less true layer; None leaves it out.
    window : rows and columns in which it is taken: it costs ten times what the refiner does.
    """
    with torch.autocast(batch.cxr.device.type, dtype=torch.bfloat16, enabled=training.bfloat16):
        layer = model(batch.cxr, batch.coarse)
    layer, wanted = layer.float(), batch.layer
    weight = batch.mark, training.shadow_weight
    parts = {"l1": weighed((layer - wanted).abs(), *weight), "gradient": gradient_difference(layer, wanted, *weight)}
    parts["energy"] = relative_energy(layer, wanted, *weight)
    parts["edge_energy"] = relative_energy(_differences(layer), _differences(wanted))
    if training.steady and batch.plain is not None and batch.mark is not None:
        with torch.no_grad(), torch.autocast(batch.cxr.device.type, dtype=torch.bfloat16, enabled=training.bfloat16):
            without = model(batch.plain, batch.plain_coarse)
        parts["steady"] = shadow_energy(layer - without.float(), batch.cxr - batch.plain, batch.mark)
    if perceptual is not None:
        shown, meant = ((batch.cxr - bone)[..., *window].clamp(-1, 1) for bone in (layer, wanted))
        parts["perceptual"] = perceptual(shown, meant).mean()
    loss = sum((getattr(training, name) * part for name, part in parts.items()), layer.new_zeros(()))
    # what the layer as it came scores, weighed alike: the figures to compare with
    parts["identity_l1"] = weighed((batch.coarse - wanted).abs(), *weight)
    parts["identity_gradient"] = gradient_difference(batch.coarse, wanted, *weight)
    parts["identity_energy"] = relative_energy(batch.coarse, wanted, *weight)
    return loss, {name: float(part.detach()) for name, part in parts.items()}


def _differences(layer: Tensor) -> Tensor:
    """Of neighbours, down and across, one above the other: (B, 1, 2 H - 2, W - 1)."""
    return torch.cat([layer.diff(dim=-2)[..., 1:], layer.diff(dim=-1)[..., 1:, :]], dim=-2)


@torch.no_grad()
def refined_layers(model: Refiner, images: Tensor, coarse: Tensor) -> NDArray[np.float32]:
    """Refine the layers of whole images.

    Parameters
    ----------
    images, coarse : (N, 1, H, W) in units of [-1, 1].

    Returns
    -------
    (N, H, W) in units of [0, 1], as `score_pairs` takes them.
    """
    device = next(model.parameters()).device
    each = zip(images.to(device), coarse.to(device), strict=True)
    layers: NDArray[np.float32] = torch.cat([model(*(x[None] for x in one))[:, 0].cpu() / 2 for one in each]).numpy()
    return layers


def _window(batch: CoarseBatch, training: RefinerTraining, rng: np.random.Generator) -> Window:
    """A square of ``training.perceptual_crop``, anywhere."""
    side = training.perceptual_crop
    if side is None:
        return EVERYWHERE
    top, left = (int(rng.integers(max(whole - side, 0) + 1)) for whole in batch.cxr.shape[-2:])
    return slice(top, top + side), slice(left, left + side)


def train_refiner(preset: Preset, data: RefinerData, run: Run, provenance: dict[str, Any]) -> Outcome:
    """Train, or go on training, the refiner.

    Parameters
    ----------
    run : ``run.folder`` gets `last/`, `best/` (by the real pairs), `sheets/` and `metrics.jsonl`.
    provenance : kept in `meta.json`.

    Raises
    ------
    PresetError
        The preset has no refiner, or asks for steadiness and no shard holds framings without their shadows.
    PerceptualWeightsError
        The preset asks for the perceptual loss, and its weights are not to be found.
    TrainingError
        The loss is not finite, or a batch does not fit into memory.
    """
    config, training, device = require_refiner(preset), preset.refiner_training, choose_device(run.device)
    if training.steady and not data.shards.have_plain:
        raise PresetError("steady wants framings with and without shadows: remove coarse/, so that it is sampled anew")
    torch.manual_seed(run.seed)
    perceptual = load_perceptual().to(device).requires_grad_(False) if training.perceptual else None

    def loss(network: nn.Module, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        assert isinstance(network, Refiner)  # noqa: S101
        batch = data.shards.batch(training.batch, training.crop, rng).to(device)
        return refinement_loss(network, batch, training, perceptual, _window(batch, training, rng))

    def validate(network: nn.Module, _step: int) -> dict[str, float]:
        assert isinstance(network, Refiner) and data.real is not None  # noqa: S101, PT018
        real, coarse = data.real
        return score_pairs(real, refined_layers(network, real.images(), coarse))

    def sheet(network: nn.Module) -> Rows:
        assert isinstance(network, Refiner) and data.real is not None  # noqa: S101, PT018
        real, coarse = data.real
        layers = refined_layers(network, real.images()[:SHEET_ROWS], coarse[:SHEET_ROWS])
        return side_by_side(real, layers, preset.fusion)

    stage = Stage(
        name="refiner",
        model=Refiner(config).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        config=config,
        optimisation=training,
        loss=loss,
        validate=validate if data.real is not None else None,
        sheet=sheet if data.real is not None else None,
        provenance=provenance | {"preset": preset.name, "grid": preset.grid},
    )
    return run_stage(stage, run)
