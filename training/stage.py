"""What the training loop is given, and what it gives back."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from training.preset import Optimisation

__all__ = ["Ending", "OutOfMemory", "Outcome", "Rows", "Run", "Scores", "Stage", "TrainingError"]

Scores: TypeAlias = dict[str, float]
Rows: TypeAlias = list[list[NDArray[np.float32]]]  # of a sheet of pictures, each in [0, 1], all of one height a row
Ending: TypeAlias = Literal["finished", "out of time", "stopped"]


class TrainingError(Exception):
    """The training cannot go on; the checkpoints are from before, and the message says what to try."""


class OutOfMemory(TrainingError):
    """A batch does not fit; the message says which smaller one takes the same steps."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What the loop trains.

    Attributes
    ----------
    name : folder of its checkpoints.
    model : trained in place, on the device of the run.
    loss : (model, generator) -> loss and its parts; every random number comes from the generator. With an opponent
        the loss is the sum of both sides, each detached from the other's weights.
    validate : averaged model -> scores; ``score`` is better when higher.
    prepare : last touch to the averaged model before it is saved, such as latent statistics.
    sheet : averaged model -> rows of pictures to look at: input, output, truth.
    opponent : a network trained against the model (a discriminator), with a learning rate of its own.
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
    sheet: Callable[[nn.Module], Rows] | None = None
    opponent: nn.Module | None = None
    opponent_learning_rate: float = 5e-4


@dataclass(frozen=True, slots=True)
class Run:
    """Where and how long to train.

    Attributes
    ----------
    folder : gets `last/`, `best/`, `sheets/`, `tensorboard/` and `metrics.jsonl`.
    max_steps : of the whole training, earlier runs included.
    max_minutes : of this run.
    max_cpu_minutes : processor time of the whole training, earlier runs, validation and all threads included; what a
        comparison on a busy machine is fair in. The learning rate then falls with the time that is spent, where that is
        ahead of the steps. Of the process that spent most under torchrun.
    resume : go on from `last/` where there is one, as if the run had never stopped; else start at step 0.
    workers : batches computed at the same time, each by a thread, and averaged into one step. On a busy machine two
        threads that meet once a step get far more done than one operation split over both cores. Not under torchrun.
    device : of the weights: `cpu`, `cuda`, `cuda:1`; `auto` takes CUDA where it is, each process its own GPU.
    tensorboard : write event files where the package is installed.
    earlier : folder of another run whose weights a new training starts with; not looked at when it goes on.
    """

    folder: Path
    max_steps: int
    max_minutes: float = math.inf
    max_cpu_minutes: float = math.inf
    seed: int = 0
    resume: bool = True
    quiet: bool = False
    workers: int = 1
    device: str = "auto"
    tensorboard: bool = True
    earlier: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; ``seconds`` and ``cpu_seconds`` (of the processor) are those of all its runs together."""

    ending: Ending
    step: int
    seconds: float
    folder: Path
    cpu_seconds: float = 0.0
