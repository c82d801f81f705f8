"""`pacs-node train ...`: simulated pairs, the autoencoder, the denoiser; each goes on where it was stopped."""

import errno
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import UnidentifiedImageError

from pacs_node.commands.errors import ExitCode
from pacs_node.commands.terminal import print_json, say, stdout
from pacs_node.errors import ConfigError, DiskFull, ModelError
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
    """Train, and say how each stage ended; 130 when Ctrl-C or SIGTERM stopped it, else 0.

    Raises
    ------
    ConfigError
        The preset, a folder of images or an earlier checkpoint cannot be used.
    ModelError
        The loss is not finite.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    limits = {key: value for key, value in order.limits.items() if value is not None}
    for folder in (order.radiographs, order.real_pairs):
        if folder is not None and not folder.is_dir():  # said now, not after the simulation
            raise ConfigError(f"there is no folder {folder}")
    with _told(order.folder):
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
    if any(outcome.ending != "finished" for outcome in outcomes):
        say("the same command goes on from there")
    return ExitCode.INTERRUPTED if any(outcome.ending == "stopped" for outcome in outcomes) else ExitCode.DONE


def _show(ended: Sequence[dict[str, Any]]) -> None:
    for outcome in ended:
        told = f"{outcome['stage']}: {outcome['ending']} at step {outcome['step']}, checkpoints in {outcome['folder']}"
        stdout().print(told, markup=False)


@contextmanager
def _told(run_folder: Path) -> Iterator[None]:
    """Errors of the training in words of the command line."""
    try:
        yield
    except KeyboardInterrupt:  # while simulating; between two steps it is no error
        say("interrupted; the same command goes on from there")
        raise
    except (PresetError, CheckpointError) as error:
        raise ConfigError(str(error)) from error
    except UnidentifiedImageError as error:
        raise ConfigError(f"{error}; the folders of pictures hold PNG and JPEG only") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"{run_folder} cannot be written: {error.strerror}") from error
        told = f"{error.filename} cannot be used: {error.strerror}" if error.filename else str(error)
        raise ConfigError(told) from error
    except TrainingError as error:
        raise ModelError(f"{error}; take a lower learning_rate in a preset of your own, and go on") from error
