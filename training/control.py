"""The control: a one-pass U-Net trained on the same pairs, in the same framings, as the latents of the diffusion.

Whatever a latent diffusion model shows must be more than what this shows for a hundredth of the work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from training.checkpoint import WEIGHTS, CheckpointError, read_meta
from training.control_network import ControlConfig, ControlNetwork
from training.latents import random_twins
from training.loop import Outcome, Run, Stage, run_stage
from training.losses import gradient_difference
from training.pairs import PairShards
from training.parallel import choose_device
from training.preset import ControlTraining, Preset
from training.stage import Rows
from training.validate import SHEET_ROWS, RealPairs, score_pairs, side_by_side

__all__ = ["ControlData", "control_layers", "control_loss", "load_control", "train_control"]


@dataclass(frozen=True, slots=True)
class ControlData:
    """What the control sees.

    Attributes
    ----------
    sources : folders of pairs and the share of a batch that each gives, in any unit; at least one.
    real : real pairs to look at while training; never trained on.
    """

    sources: Sequence[tuple[PairShards, float]]
    real: RealPairs | None = None

    def batch(self, size: int, grid: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Radiographs and their twins, each (size, 1, grid, grid) in [-1, 1], framed and toned at random."""
        shares = np.array([share for _, share in self.sources], dtype=np.float64)
        chosen = rng.choice(len(self.sources), size, p=shares / shares.sum())
        twins = torch.stack([random_twins(self.sources[int(index)][0], grid, rng) for index in chosen])
        return twins[:, :1], twins[:, 1:]


def control_loss(
    model: ControlNetwork, cxr: Tensor, soft: Tensor, training: ControlTraining
) -> tuple[Tensor, dict[str, float]]:
    """L1 of the bone layer and of its differences from pixel to pixel.

    Parameters
    ----------
    cxr, soft : (B, 1, H, W) in [-1, 1].
    """
    images = cxr.to(memory_format=torch.channels_last)
    with torch.autocast(cxr.device.type, dtype=torch.bfloat16, enabled=training.bfloat16):
        layer = model(images)
    layer, wanted = layer.float(), cxr - soft
    parts = {"l1": functional.l1_loss(layer, wanted), "gradient": gradient_difference(layer, wanted)}
    loss = sum((getattr(training, name) * part for name, part in parts.items()), layer.new_zeros(()))
    # what an empty layer would score: the figure to compare with
    parts["identity_l1"] = wanted.abs().mean()
    return loss, {name: float(part.detach()) for name, part in parts.items()}


@torch.no_grad()
def control_layers(model: ControlNetwork, images: Tensor) -> NDArray[np.float32]:
    """Bone layers of (N, 1, H, W) images in [-1, 1]: (N, H, W) in units of [0, 1], as `score_pairs` takes them."""
    there = images.to(next(model.parameters()).device)
    layers: NDArray[np.float32] = torch.cat([model(image[None]).float()[:, 0].cpu() / 2 for image in there]).numpy()
    return layers


def train_control(preset: Preset, data: ControlData, run: Run, provenance: dict[str, Any]) -> Outcome:
    """Train, or go on training, the control.

    Parameters
    ----------
    run : ``run.folder`` gets `last/`, `best/` (by the real pairs), `sheets/` and `metrics.jsonl`.
    provenance : kept in `meta.json`.

    Raises
    ------
    TrainingError
        The loss is not finite.
    """
    torch.manual_seed(run.seed)
    training, real, device = preset.control_training, data.real, choose_device(run.device)
    model = ControlNetwork(preset.control).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(network: nn.Module, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        assert isinstance(network, ControlNetwork)  # noqa: S101
        cxr, soft = data.batch(training.batch, preset.grid, rng)
        return control_loss(network, cxr.to(device), soft.to(device), training)

    def validate(network: nn.Module, _step: int) -> dict[str, float]:
        assert isinstance(network, ControlNetwork) and real is not None  # noqa: S101, PT018
        return score_pairs(real, control_layers(network, real.images()))

    def sheet(network: nn.Module) -> Rows:
        assert isinstance(network, ControlNetwork) and real is not None  # noqa: S101, PT018
        return side_by_side(real, control_layers(network, real.images()[:SHEET_ROWS]), preset.fusion)

    stage = Stage(
        name="control",
        model=model,
        config=preset.control,
        optimisation=training,
        loss=loss,
        validate=validate if real is not None else None,
        sheet=sheet if real is not None else None,
        provenance=provenance | {"preset": preset.name, "grid": preset.grid},
    )
    return run_stage(stage, run)


def load_control(folder: Path) -> ControlNetwork:
    """The averaged control of a checkpoint (`last/` or `best/`), frozen, in evaluation mode.

    Raises
    ------
    CheckpointError
        There is none, or its weights do not fit its description.
    """
    meta = read_meta(folder)
    if meta.get("stage") != "control":
        raise CheckpointError(f"{folder} holds the stage {meta.get('stage')}, not a control")
    sizes = meta["config"]  # JSON has no tuples
    model = ControlNetwork(ControlConfig(sizes["patch"], tuple(sizes["widths"]), tuple(sizes["blocks"])))
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"the weights in {folder} do not fit their description") from error
    return model.eval().requires_grad_(False)
