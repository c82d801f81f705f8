"""A training in motion: the model, its average, the optimisers, the generator, and how a step is taken."""

import copy
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.checkpoint import (
    TrainingState,
    load_state,
    optimiser_tensors,
    restore_optimiser,
    save_state,
    save_weights,
)
from training.inherit import start_weights
from training.parallel import DeviceError, World, choose_device
from training.preset import Optimisation
from training.stage import Run, Scores, Stage, TrainingError

__all__ = ["Training", "learning_rate", "update_average"]

Gradients = tuple[Tensor | None, ...]


def learning_rate(optimisation: Optimisation, step: int, max_steps: int, spent: float = 0.0) -> float:
    """Linear warm-up, then a cosine from ``learning_rate`` to ``final_learning_rate`` at ``max_steps``.

    ``spent`` is the share of a budget of processor time that is used up; it counts where it is ahead of the steps.
    """
    warmup = min(1.0, (step + 1) / (optimisation.warmup_steps + 1))
    fall = 0.5 * (1 + math.cos(math.pi * min(max(step / max_steps, spent), 1.0)))
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


class _Batch(nn.Module):
    """The loss of one batch as a forward pass, which is what several processes can share."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage, self.model, self.opponent = stage, stage.model, stage.opponent

    def forward(self, generator: np.random.Generator) -> tuple[Tensor, Scores]:
        """Loss and parts for what the generator draws."""
        return self.stage.loss(self.model, generator)


class Training:
    """A stage in motion.

    Attributes
    ----------
    step, seconds, cpu_seconds, best : steps taken, time they took on the clock and of the processor, best score, of all
        runs of this training together.
    scores : of the last validation.
    """

    def __init__(self, stage: Stage, run: Run, world: World) -> None:
        self.stage, self.folder, self.workers, self.world = stage, run.folder, run.workers, world
        if world.size > 1 and run.workers > 1:
            raise DeviceError("several processes and --workers do not go together: take --accumulate instead")
        self.device = choose_device(run.device)
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # batches are all of one size
        self.started_from = start_weights(stage.model, stage.name, run.earlier) if run.earlier else None
        stage.model.to(self.device)
        self.average = copy.deepcopy(stage.model).eval().requires_grad_(False)
        self.optimiser = torch.optim.AdamW(stage.model.parameters(), lr=1.0, betas=(0.9, 0.99), weight_decay=1e-4)
        self.opponent_optimiser: torch.optim.Optimizer | None = None
        if stage.opponent is not None:
            stage.opponent.to(self.device).train()
            weights, rate = stage.opponent.parameters(), stage.opponent_learning_rate
            self.opponent_optimiser = torch.optim.Adam(weights, lr=rate, betas=(0.5, 0.9))
        self.generator = np.random.default_rng(run.seed)
        self.step, self.seconds, self.cpu_seconds, self.best = 0, 0.0, 0.0, -math.inf
        self.scores: Scores = {}
        self.saved_step: int | None = None
        self.batch = world.share(_Batch(stage))

    def resume(self) -> None:
        """Go on from `last/`, where there is one.

        Raises
        ------
        CheckpointError
            The state there is damaged.
        """
        state = load_state(self.folder / "last")
        if state is None:
            return
        for prefix, module in self._modules().items():
            own = {name.removeprefix(prefix): t for name, t in state.tensors.items() if name.startswith(prefix)}
            if own or prefix != "opponent.":  # a discriminator that joins later starts from nothing
                module.load_state_dict(own)
        for prefix, optimiser in self._optimisers().items():
            restore_optimiser(optimiser, state.tensors, prefix)
        header = state.header
        self.generator.bit_generator.state = header["generator"]
        self.step, self.seconds, self.best = header["step"], header["seconds"], header["best"]
        self.cpu_seconds = header.get("cpu_seconds", self.seconds)  # states of before it was counted
        self.scores, self.saved_step = header.get("scores", {}), header["step"]

    def advance(self, max_steps: int, max_cpu_seconds: float = math.inf) -> Scores:
        """Take one step and return the loss, its parts, the gradient's norm and the learning rate.

        The rate falls with the steps, or with the processor time of a budget where that is nearer its end.

        Raises
        ------
        TrainingError
            A loss or a gradient is not finite; the weights are as they were.
        """
        optimisation, model = self.stage.optimisation, self.stage.model
        rate = learning_rate(optimisation, self.step, max_steps, self._spent(max_cpu_seconds))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        model.train()
        for optimiser in self._optimisers().values():
            optimiser.zero_grad(set_to_none=True)
        parts = self._gradients()
        sides = [model] if self.stage.opponent is None else [model, self.stage.opponent]
        norms = [float(nn.utils.clip_grad_norm_(side.parameters(), optimisation.clip_gradient_norm)) for side in sides]
        parts["gradient_norm"] = norms[0]
        self._require_finite(parts, norms)
        for optimiser in self._optimisers().values():
            optimiser.step()
        self.world.average_buffers(model)
        update_average(self.average, model, optimisation.ema, self.step)
        self.step += 1
        return {**parts, "learning_rate": rate}

    def _spent(self, max_cpu_seconds: float) -> float:
        """Share of the budget that is used up; processes agree on the largest, so that their rates do not differ."""
        if math.isinf(max_cpu_seconds):
            return 0.0
        return self.world.largest(int(1000 * min(self.cpu_seconds / max(max_cpu_seconds, 1e-9), 1.0))) / 1000

    def _require_finite(self, parts: Scores, norms: Sequence[float]) -> None:
        """Every process sees the same means and norms, so that all of them end here or none."""
        wrong = [name for name, value in parts.items() if not math.isfinite(value)]
        if not wrong and all(math.isfinite(norm) for norm in norms):
            return
        kept = (
            "there is no checkpoint yet" if self.saved_step is None else f"the checkpoint of {self.saved_step} is kept"
        )
        told = (
            f"{self.stage.name}: not finite at step {self.step}: {', '.join(wrong) or 'the gradient of the opponent'}"
        )
        advice = "a lower learning_rate or clip_gradient_norm, or bfloat16 = false, in a preset of your own; then go on"
        raise TrainingError(f"{told}; {kept}; try {advice}")

    def _gradients(self) -> Scores:
        """Leave the mean gradient of the step's batches in the weights; return the mean of what they tell."""
        share = self.workers * self.stage.optimisation.accumulate
        seeds = self.generator.integers(2**63, size=share * self.world.size)
        generators = [np.random.default_rng(seed) for seed in seeds[self.world.rank :: self.world.size]]
        if len(seeds) == 1:
            generators = [self.generator]
        told = self._by_threads(generators) if self.workers > 1 else self._in_turn(generators)
        return self.world.mean({name: sum(parts[name] for parts in told) / share for name in told[0]})

    def _in_turn(self, generators: Sequence[np.random.Generator]) -> list[Scores]:
        told = []
        for index, generator in enumerate(generators, start=1):
            wait = index < len(generators) and isinstance(self.batch, DistributedDataParallel)
            with self.batch.no_sync() if wait else nullcontext():  # type: ignore[operator]  # processes meet once a step
                loss, parts = self.batch(generator)
                (loss / len(generators)).backward()
            told.append({"loss": float(loss.detach()), **parts})
        return told

    def _by_threads(self, generators: Sequence[np.random.Generator]) -> list[Scores]:
        """As many batches at a time as there are workers, added up in order: a sum of three depends on it."""
        weights = [weight for weight in self.batch.parameters() if weight.requires_grad]

        def compute(generator: np.random.Generator) -> tuple[Scores, Gradients]:
            loss, parts = self.batch(generator)
            gradients = torch.autograd.grad(loss / len(generators), weights, allow_unused=True)
            return {"loss": float(loss.detach()), **parts}, gradients

        told = []
        with ThreadPoolExecutor(self.workers) as pool:
            for parts, gradients in pool.map(compute, generators):
                told.append(parts)
                for weight, gradient in zip(weights, gradients, strict=True):
                    if gradient is not None:
                        weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)
        return told

    def _modules(self) -> dict[str, nn.Module]:
        found: dict[str, nn.Module] = {"model.": self.stage.model, "average.": self.average}
        return found if self.stage.opponent is None else found | {"opponent.": self.stage.opponent}

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        found: dict[str, torch.optim.Optimizer] = {"optimiser": self.optimiser}
        return found if self.opponent_optimiser is None else found | {"opponent_optimiser": self.opponent_optimiser}

    def save(self, name: str) -> None:
        """Write `last/` or `best/`."""
        if self.stage.prepare is not None:
            self.stage.prepare(self.average)
        save_weights(self.folder / name, self.average, self._meta())
        if name != "last":
            return
        tensors: dict[str, Tensor] = {}
        for prefix, module in self._modules().items():
            tensors |= {f"{prefix}{key}": tensor for key, tensor in module.state_dict().items()}
        for prefix, optimiser in self._optimisers().items():
            tensors |= optimiser_tensors(optimiser, prefix)
        header = {"step": self.step, "seconds": self.seconds, "best": self.best, "scores": self.scores}
        header["cpu_seconds"] = self.cpu_seconds
        header["generator"] = self.generator.bit_generator.state
        save_state(self.folder / name, TrainingState(tensors, header))
        self.saved_step = self.step

    def _meta(self) -> dict[str, Any]:
        return {
            "stage": self.stage.name,
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "cpu_seconds": round(self.cpu_seconds, 1),
            "config": asdict(self.stage.config),
            "scores": self.scores,
            "provenance": self.stage.provenance | ({"started_from": self.started_from} if self.started_from else {}),
        }
