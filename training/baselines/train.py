"""Training a rival: the shared loop, the shared pairs, the loss of its paper."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.bundle import FusionSpec
from training.baselines.registry import BASELINES, Baseline, BaselineName, Scale
from training.baselines.rival import FOLDER, Rival, padded
from training.baselines.settings import BaselineTraining
from training.checkpoint import META, CheckpointError, read_meta
from training.control import ControlData
from training.loop import Outcome, Run, Stage, run_stage
from training.parallel import choose_device
from training.stage import Rows
from training.validate import SHEET_ROWS, RealPairs, score_pairs, side_by_side

__all__ = ["Terms", "train_baseline"]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a training may be told besides its pairs.

    Attributes
    ----------
    grid : rows and columns of a framing, px: those of the pairs; a rival's ``crop`` is cut out at that scale.
    settings : in the place of the rival's own.
    provenance : kept in `meta.json`.
    """

    grid: int = 512
    settings: BaselineTraining | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


def train_baseline(
    name: BaselineName,
    scale: Scale,
    data: ControlData,
    run: Run,
    terms: Terms | None = None,
) -> Outcome:
    """Train, or go on training, a rival.

    Parameters
    ----------
    data : pairs to train on, and perhaps real ones to look at.
    run : ``run.folder`` gets `last/`, `best/` (by the pairs looked at), `sheets/` and `metrics.jsonl`.
    terms : its defaults when None.

    Raises
    ------
    TrainingError
        The loss is not finite, or a batch does not fit into memory.
    CheckpointError
        What is gone on with is of another rival or scale, or damaged.
    PerceptualWeightsError
        BS-Diff at the paper's sizes, and the weights of its perceptual loss are not to be found.
    """
    baseline, terms = BASELINES[name], terms or Terms()
    settings, device = terms.settings or baseline.training(scale), choose_device(run.device)
    torch.manual_seed(run.seed)
    network, objective = baseline.build(scale), baseline.objective(scale)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    config = baseline.configs[scale]
    if run.resume:
        _require_same(run, baseline, config)
    size, multiple = min(settings.crop or terms.grid, terms.grid), config.multiple

    def loss(model: nn.Module, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        halves = data.batch(settings.batch, size, rng)
        cxr, soft = (padded(half, multiple).to(device, memory_format=torch.channels_last) for half in halves)
        return objective(model, (cxr, soft), rng)

    def rival(model: nn.Module) -> Rival:
        steps = getattr(config, "steps", 1)
        return Rival(baseline, scale, model, steps, {"config": asdict(config)})

    real = data.real
    stage = Stage(
        name=f"{FOLDER}/{name}",
        model=network,
        config=config,
        optimisation=settings,
        loss=loss,
        validate=None if real is None else lambda model, _step: score_pairs(real, _layers(rival(model), real)),
        sheet=None if real is None else lambda model: _sheet(rival(model), real),
        provenance=terms.provenance | {"baseline": name, "scale": scale, "grid": terms.grid},
        opponent=objective.opponent,
        opponent_learning_rate=settings.opponent_learning_rate,
    )
    return run_stage(stage, run)


def _require_same(run: Run, baseline: Baseline, config: Any) -> None:
    """See that what is gone on with has these sizes."""
    last = run.folder / "last"
    if not (last / META).is_file():
        return
    meta = read_meta(last)
    if meta.get("stage") != f"{FOLDER}/{baseline.name}" or meta["config"] != json.loads(json.dumps(asdict(config))):
        told = "--scale as before, --restart, or another folder"
        raise CheckpointError(f"{last} is of another network than {baseline.title} of this scale: {told}")


def _layers(rival: Rival, real: RealPairs, count: int | None = None) -> NDArray[np.float32]:
    layers: NDArray[np.float32] = (rival.layers(real.images()[:count])[:, 0] / 2).numpy()
    return layers


def _sheet(rival: Rival, real: RealPairs) -> Rows:
    return side_by_side(real, _layers(rival, real, SHEET_ROWS), FusionSpec())
