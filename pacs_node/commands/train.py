"""`pacs-node train ...`: simulated pairs, the autoencoder, the denoiser; each goes on where it was stopped."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacs_node.commands.terminal import print_json, stdout
from pacs_node.errors import ConfigError, ModelError
from training.checkpoint import CheckpointError
from training.loop import TrainingError
from training.preset import PresetError, load_preset
from training.run import Amounts, Sources, StageName, train

__all__ = ["Order", "run"]


@dataclass(frozen=True, slots=True)
class Order:
    """What to train, from what, and for how long.

    Attributes
    ----------
    folder : of the run; gets `anatomy/ pairs/ autoencoder/ latents/ diffusion/`.
    preset : name of a shipped preset, or path of a TOML file.
    limits : fields of `training.loop.Run`; what is None keeps its default.
    """

    folder: Path
    preset: str
    stages: tuple[StageName, ...]
    amounts: tuple[int, int, int]  # people, pairs, framings
    radiographs: Path | None
    real_pairs: Path | None
    limits: dict[str, Any]


def run(order: Order, *, as_json: bool) -> int:
    """Train, and say how each stage ended.

    Raises
    ------
    ConfigError
        The preset, a folder of images or an earlier checkpoint cannot be used.
    ModelError
        The loss is not finite.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    limits = {key: value for key, value in order.limits.items() if value is not None}
    with _told():
        outcomes = train(
            load_preset(order.preset),
            order.folder,
            order.stages,
            sources=Sources(order.radiographs, order.real_pairs),
            amounts=Amounts(*order.amounts),
            quiet=as_json,
            **limits,
        )
    ended = [
        {"stage": stage, "ending": outcome.ending, "step": outcome.step, "folder": str(outcome.folder)}
        for stage, outcome in zip(order.stages, outcomes, strict=False)  # none after one that did not finish
    ]
    if as_json:
        print_json(ended)
    else:
        _show(ended)
    return 0


def _show(ended: Sequence[dict[str, Any]]) -> None:
    for outcome in ended:
        told = f"{outcome['stage']}: {outcome['ending']} at step {outcome['step']}, checkpoints in {outcome['folder']}"
        stdout().print(told, markup=False)


@contextmanager
def _told() -> Iterator[None]:
    """Errors of the training in words of the command line."""
    try:
        yield
    except (PresetError, CheckpointError, FileNotFoundError) as error:
        raise ConfigError(str(error)) from error
    except TrainingError as error:
        raise ModelError(str(error)) from error
