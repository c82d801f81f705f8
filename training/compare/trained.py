"""Train each system under the budget, or take one over; what it cost is kept beside it."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.baselines.registry import BASELINES, BaselineName, BaselineTraining, Scale
from training.baselines.train import Terms, train_baseline
from training.checkpoint import META, CheckpointError, read_meta
from training.compare.ground import Ground
from training.compare.ours import SHARES, between_seconds, train_ours
from training.compare.systems import Name
from training.control import ControlData, train_control
from training.loop import Outcome, Run
from training.preset import Preset
from training.readers.durable import write_atomically

__all__ = [
    "ENOUGH_STEPS",
    "FACTS",
    "Budget",
    "Task",
    "Trained",
    "described",
    "earlier",
    "settings",
    "taken_over",
    "train_system",
]

FACTS, CLAIM = "trained.json", "settings.json"
ENOUGH_STEPS = 1_000_000  # the budget ends a training, not its steps
SAVE_EVERY = 50
WARMUP = 50
# Batch and patch of the published sizes in minutes of one thread: a step of eight images of 256 px would leave a dozen.
PATCHES: dict[tuple[BaselineName, Scale], dict[str, int]] = {
    ("gusarev", "paper"): {"batch": 4},
    ("resnet_bs", "paper"): {"batch": 4, "crop": 64},
    ("bs_diff", "small"): {"batch": 2},
}


@dataclass(frozen=True, slots=True)
class Budget:
    """The same for every system.

    Attributes
    ----------
    cpu_minutes : processor time of one thread.
    max_steps : of each stage; for tests.
    framings : of the training pairs that ours encodes once.
    """

    cpu_minutes: float = math.inf
    max_steps: int = ENOUGH_STEPS
    framings: int = 600
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training cost.

    Attributes
    ----------
    folder : what `training.compare.systems.open_system` opens.
    scale : `paper` or `small`, or the preset's name.
    steps : of each stage.
    cpu_minutes : all stages and what comes between them; None where it is not known.
    loaded : trained elsewhere, on pairs and under a budget that this comparison does not know.
    """

    folder: Path
    scale: str
    steps: dict[str, int]
    cpu_minutes: float | None
    loaded: bool = False

    @property
    def identity(self) -> str:
        """Changes when the weights do."""
        return json.dumps([str(self.folder), self.scale, self.steps, self.cpu_minutes])


@dataclass(frozen=True, slots=True)
class Task:
    """One system to train.

    Attributes
    ----------
    scale : of a rival.
    preset : sizes of ours and of the control, and everybody's grid.
    folder : of the training.
    """

    name: Name
    scale: Scale
    preset: Preset
    ground: Ground
    budget: Budget
    folder: Path
    quiet: bool = False


def train_system(task: Task) -> Trained | None:
    """Train one system, go on with it, or find that it is trained.

    Returns
    -------
    None when it was stopped on the way.

    Raises
    ------
    TrainingError, CheckpointError
        The loss is not finite; an earlier state is damaged.
    """
    folder, own = task.folder, task.name in ("ours", "control")
    _claim(task)
    if (folder / FACTS).is_file():
        return earlier(folder)
    outcomes = _outcomes(task)
    if any(outcome.ending == "stopped" for outcome in outcomes):
        return None
    between = between_seconds(folder) if task.name == "ours" else 0.0
    minutes = (sum(outcome.cpu_seconds for outcome in outcomes) + between) / 60
    steps = {outcome.folder.name: outcome.step for outcome in outcomes}
    trained = Trained(folder, f"preset {task.preset.name}" if own else task.scale, steps, minutes)
    write_atomically(folder / FACTS, json.dumps(asdict(trained) | {"folder": "."}, indent=1).encode())
    return trained


def _claim(task: Task) -> None:
    """Note what a system is trained with, before it begins: nobody goes on with, or reports, another training."""
    used, chosen = (_settings_of(task, exclude_defaults=only) for only in (False, True))
    path = task.folder / CLAIM
    if path.is_file():
        before = _leaves(json.loads(path.read_text(encoding="utf-8")))
        # a setting that came later is the same where it has its default
        if not (before <= _leaves(used) and _leaves(chosen) <= before):
            raise CheckpointError(
                f"{task.folder} was trained at another scale or with another preset: take another folder"
            )
        return
    task.folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(used, indent=1).encode())


def _settings_of(task: Task, *, exclude_defaults: bool) -> dict[str, Any]:
    kind: dict[str, Any] = {"mode": "json", "exclude_defaults": exclude_defaults}
    if task.name == "ours":
        return task.preset.model_dump(exclude={"control", "control_training"}, **kind) | {"shares": SHARES}
    if task.name == "control":
        return task.preset.model_dump(include={"grid", "control", "control_training", "fusion"}, **kind)
    return settings(task.name, task.scale).model_dump(**kind) | {"scale": task.scale}


def _leaves(value: Any, path: str = "") -> set[tuple[str, str]]:
    """Every value of nested settings with the way to it."""
    if isinstance(value, Mapping):
        return {leaf for key, each in value.items() for leaf in _leaves(each, f"{path}/{key}")}
    return {(path, json.dumps(value))}


def _outcomes(task: Task) -> Sequence[Outcome]:
    name, ground, budget = task.name, task.ground, task.budget
    run = Run(
        task.folder,
        budget.max_steps,
        max_cpu_minutes=budget.cpu_minutes,
        seed=budget.seed,
        quiet=task.quiet,
        tensorboard=False,
        device="cpu",
    )
    facts = {"compared": True, "pairs": len(ground.pairs), "pairs_sha256": ground.identity}
    if name == "ours":
        return train_ours(task.preset, ground, run, budget.framings, facts)
    data = ControlData([(source, 1.0) for source in ground.sources])
    if name == "control":
        return [train_control(task.preset, data, run, facts)]
    training, grid = settings(name, task.scale), task.preset.grid
    return [train_baseline(name, task.scale, data, run, Terms(grid, training, facts))]


def settings(name: BaselineName, scale: Scale) -> BaselineTraining:
    """A rival's own settings, with batches and patches that leave many steps in minutes of one thread."""
    changes = PATCHES.get((name, scale), {}) | {"save_every": SAVE_EVERY, "validate_every": 0, "warmup_steps": WARMUP}
    return BASELINES[name].training(scale).model_copy(update=changes)


def earlier(folder: Path) -> Trained:
    """What `train_system` noted when it had ended."""
    told: Mapping[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return Trained(**(dict(told) | {"folder": folder}))


def described(name: Name, trained: Trained, preset: Preset) -> str:
    """How far a system is from its published size, and what it was trained on at a time, for a table."""
    if trained.loaded or name == "ours":
        return trained.scale
    if name == "control":
        return f"{trained.scale}, {preset.control_training.batch} x {preset.grid} px"
    own = settings(name, "paper" if trained.scale == "paper" else "small")
    return f"{trained.scale}, {own.batch} x {min(own.crop or preset.grid, preset.grid)} px"


def taken_over(name: Name, folder: Path) -> Trained:
    """A system that was trained elsewhere.

    Raises
    ------
    CheckpointError
        The folder holds no checkpoint of it.
    """
    stages = ("autoencoder", "diffusion", "refiner") if name == "ours" else ("",)
    metas = {}
    for stage in stages:
        for place in (folder / stage / "last", folder / stage):
            if (place / META).is_file():
                metas[stage or name] = read_meta(place)
                break
    if not metas or (name == "ours" and "diffusion" not in metas):
        raise CheckpointError(f"{folder} holds no training of {name}")
    seconds = [float(meta["cpu_seconds"]) for meta in metas.values() if "cpu_seconds" in meta]
    minutes = sum(seconds) / 60 if len(seconds) == len(metas) else None
    meta = next(iter(metas.values()))
    scale = str(
        (meta.get("provenance") or {}).get("scale") or (meta.get("provenance") or {}).get("preset") or "unknown"
    )
    return Trained(folder, scale, {stage: int(each["step"]) for stage, each in metas.items()}, minutes, loaded=True)
