"""The training loop of both stages: bar, average weights, checkpoints, exact resume, a clean stop."""

import copy
import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn

from training.checkpoint import (
    TrainingState,
    load_state,
    optimiser_tensors,
    restore_optimiser,
    save_state,
    save_weights,
)
from training.preset import Optimisation

__all__ = ["Ending", "Outcome", "Run", "Stage", "TrainingError", "learning_rate", "run_stage", "update_average"]

Scores = dict[str, float]
Ending = Literal["finished", "out of time", "stopped"]


class TrainingError(Exception):
    """The loss is not a number; the last checkpoint is from before."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What the loop trains.

    Attributes
    ----------
    name : folder of its checkpoints.
    model : trained in place.
    loss : (model, generator) -> loss and its parts; every random number comes from the generator.
    validate : averaged model -> scores; ``score`` is better when higher.
    prepare : last touch to the averaged model before it is saved, such as latent statistics.
    provenance : what it was trained on, for the model card.
    """

    name: str
    model: nn.Module
    config: Any
    optimisation: Optimisation
    loss: Callable[[nn.Module, np.random.Generator], tuple[Tensor, Scores]]
    validate: Callable[[nn.Module, int], Scores] | None = None
    prepare: Callable[[nn.Module], None] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """Where and how long to train.

    Attributes
    ----------
    folder : gets `last/`, `best/` and `metrics.jsonl`.
    max_steps : of the whole training, earlier runs included.
    max_minutes : of this run.
    resume : go on from `last/` where there is one, as if the run had never stopped; else start at step 0.
    workers : batches computed at the same time, each by a thread, and averaged into one step. On a busy machine two
        threads that meet once a step get far more done than one operation split over both cores.
    """

    folder: Path
    max_steps: int
    max_minutes: float = math.inf
    seed: int = 0
    resume: bool = True
    quiet: bool = False
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; ``seconds`` is the time of all runs of this training together."""

    ending: Ending
    step: int
    seconds: float
    folder: Path


def learning_rate(optimisation: Optimisation, step: int, max_steps: int) -> float:
    """Linear warm-up, then a cosine from ``learning_rate`` to ``final_learning_rate`` at ``max_steps``."""
    warmup = min(1.0, (step + 1) / (optimisation.warmup_steps + 1))
    fall = 0.5 * (1 + math.cos(math.pi * min(step / max_steps, 1.0)))
    low, high = optimisation.final_learning_rate, optimisation.learning_rate
    return warmup * (low + (high - low) * fall)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights towards the trained ones; early steps count more, so that the start is forgotten."""
    keep = min(decay, (1 + step) / (10 + step))
    for weight, trained in zip(average.parameters(), model.parameters(), strict=True):
        weight.lerp_(trained, 1 - keep)
    for buffer, current in zip(average.buffers(), model.buffers(), strict=True):
        buffer.copy_(current)


class _Training:
    """A stage in motion: model, average, optimiser, generator, step."""

    def __init__(self, stage: Stage, run: Run) -> None:
        self.stage, self.folder, self.workers = stage, run.folder, run.workers
        self.average = copy.deepcopy(stage.model).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(stage.model.parameters(), lr=1.0, betas=(0.9, 0.99), weight_decay=1e-4)
        self.generator = np.random.default_rng(run.seed)
        self.step, self.seconds, self.best = 0, 0.0, -math.inf

    def resume(self) -> None:
        state = load_state(self.folder / "last")
        if state is None:
            return
        for module, prefix in ((self.stage.model, "model."), (self.average, "average.")):
            own = {name.removeprefix(prefix): t for name, t in state.tensors.items() if name.startswith(prefix)}
            module.load_state_dict(own)
        restore_optimiser(self.optimiser, state.tensors)
        header = state.header
        self.generator.bit_generator.state = header["generator"]
        self.step, self.seconds, self.best = header["step"], header["seconds"], header["best"]

    def advance(self, max_steps: int) -> Scores:
        optimisation = self.stage.optimisation
        rate = learning_rate(optimisation, self.step, max_steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.stage.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        parts = self._gradients()
        norm = nn.utils.clip_grad_norm_(self.stage.model.parameters(), optimisation.clip_gradient_norm)
        if not bool(torch.isfinite(norm)):
            raise TrainingError(f"{self.stage.name}: the gradient at step {self.step} is not finite")
        self.optimiser.step()
        update_average(self.average, self.stage.model, optimisation.ema, self.step)
        self.step += 1
        return {**parts, "gradient_norm": float(norm), "learning_rate": rate}

    def _gradients(self) -> Scores:
        """Add the gradient of each worker's batch; the sum of two does not depend on who is first."""
        seeds = self.generator.integers(2**63, size=self.workers)
        generators = [self.generator] if self.workers == 1 else [np.random.default_rng(seed) for seed in seeds]
        with ThreadPoolExecutor(self.workers) as pool:
            results = list(pool.map(self._backward, generators))
        return {name: sum(result[name] for result in results) / self.workers for name in results[0]}

    def _backward(self, generator: np.random.Generator) -> Scores:
        loss, parts = self.stage.loss(self.stage.model, generator)
        if not bool(torch.isfinite(loss)):
            raise TrainingError(f"{self.stage.name}: the loss at step {self.step} is not finite")
        (loss / self.workers).backward()  # type: ignore[no-untyped-call]
        return {"loss": float(loss.detach()), **parts}

    def tensors(self) -> dict[str, Tensor]:
        parts = {f"model.{name}": tensor for name, tensor in self.stage.model.state_dict().items()}
        parts |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        return parts | optimiser_tensors(self.optimiser)

    def save(self, name: str, scores: Scores) -> None:
        if self.stage.prepare is not None:
            self.stage.prepare(self.average)
        meta = {
            "stage": self.stage.name,
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "config": asdict(self.stage.config),
            "scores": scores,
            "provenance": self.stage.provenance,
        }
        save_weights(self.folder / name, self.average, meta)
        if name == "last":
            header = {
                "step": self.step,
                "seconds": self.seconds,
                "best": self.best,
                "generator": self.generator.bit_generator.state,
            }
            save_state(self.folder / name, TrainingState(self.tensors(), header))


@contextmanager
def _stop_requested() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM become a question that the loop asks between two steps."""
    received: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    previous = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _bar(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
        console=Console(stderr=True),
        disable=quiet,
    )


def _log(folder: Path, entry: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({key: round(v, 6) if isinstance(v, float) else v for key, v in entry.items()}) + "\n")


def _look(training: _Training) -> Scores:
    """Validate the averaged model, log the scores, keep the best."""
    if training.stage.validate is None:
        return {}
    if training.stage.prepare is not None:
        training.stage.prepare(training.average)
    scores = training.stage.validate(training.average, training.step)
    _log(training.folder, {"step": training.step, "kind": "validation", **scores})
    if scores.get("score", -math.inf) > training.best:
        training.best = scores["score"]
        training.save("best", scores)
    return scores


def run_stage(stage: Stage, run: Run) -> Outcome:
    """Train until a limit or a signal; the last checkpoint is always of the last step.

    Raises
    ------
    TrainingError
        A loss or gradient is not finite. Checkpoints stay as they were.
    CheckpointError
        The state in `last/` is damaged.
    """
    training = _Training(stage, run)
    if run.resume:
        training.resume()
    started, earlier = time.monotonic(), training.seconds
    optimisation, scores = stage.optimisation, {}
    ending: Ending = "finished"
    with _stop_requested() as stopped, _bar(run.quiet) as bar:
        task = bar.add_task(stage.name, total=run.max_steps, completed=training.step, loss="")
        while training.step < run.max_steps:
            parts = training.advance(run.max_steps)
            training.seconds = earlier + time.monotonic() - started
            bar.update(task, completed=training.step, loss=f"loss {parts['loss']:.4f}")
            if training.step % 10 == 0:
                _log(run.folder, {"step": training.step, "kind": "training", "seconds": training.seconds, **parts})
            if optimisation.validate_every and training.step % optimisation.validate_every == 0:
                scores = _look(training)
            if stopped() or time.monotonic() - started > run.max_minutes * 60:
                ending = "stopped" if stopped() else "out of time"
                break
            if training.step % optimisation.save_every == 0:
                training.save("last", scores)
    training.save("last", scores)
    return Outcome(ending, training.step, training.seconds, run.folder)
