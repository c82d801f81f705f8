"""`pacs-node train ...`: pairs, the stages of a run, or a rival of it; each goes on where it was stopped."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import UnidentifiedImageError

from pacs_node.commands.errors import ExitCode
from pacs_node.commands.interrupt import resumable
from pacs_node.commands.terminal import print_json, say, stdout
from pacs_node.errors import ConfigError, ModelError
from training.baselines.registry import BaselineName, Scale
from training.checkpoint import CheckpointError
from training.loop import Outcome, OutOfMemory, TrainingError
from training.parallel import DeviceError, joined
from training.perceptual import PerceptualWeightsError
from training.preset import Preset, PresetError, load_preset
from training.run import Amounts, Sources, StageName, stages_of, train, train_rival

__all__ = ["Order", "Rivalry", "require_one", "run", "run_folder"]

StageOrAll = StageName | Literal["all"]


@dataclass(frozen=True, slots=True)
class Rivalry:
    """A rival to train, and its sizes."""

    name: BaselineName
    scale: Scale


@dataclass(frozen=True, slots=True)
class Order:
    """What to train, from what, and for how long.

    Attributes
    ----------
    folder : of the run; gets `anatomy/ pairs/ autoencoder/ latents/ diffusion/ coarse/ refiner/ control/`.
    preset : name of a shipped preset, or path of a TOML file.
    amounts : people, pairs, framings.
    folders : of pairs to train on, of radiographs without twins, of real pairs to look at.
    limits : of `training.run.train`; what is None keeps its default.
    """

    folder: Path
    preset: str
    what: StageOrAll | Rivalry
    amounts: tuple[int, int, int]
    folders: tuple[tuple[Path, ...], Path | None, Path | None]
    limits: dict[str, Any]

    def stages(self, preset: Preset) -> tuple[StageName, ...]:
        """In the order in which they need each other; `all` are those that the preset has."""
        if isinstance(self.what, Rivalry):
            return ()
        return stages_of(preset) if self.what == "all" else (self.what,)


def require_one(stage: StageOrAll | None, rivalry: Rivalry | None) -> StageOrAll | Rivalry:
    """What is to be trained, which is named once.

    Raises
    ------
    ConfigError
        It is not named, or twice.
    """
    if stage is not None and rivalry is not None:
        raise ConfigError(
            f"{stage} and --baseline {rivalry.name} are two trainings: leave the stage out, or the option"
        )
    if stage is None and rivalry is None:
        raise ConfigError("name what to train: autoencoder, diffusion, refiner, control or all; or --baseline NAME")
    found = stage or rivalry
    assert found is not None  # noqa: S101 (for the type checker)
    return found


def run_folder(argument: Path | None, option: Path | None) -> Path:
    """The folder of the run, which is named once.

    Raises
    ------
    ConfigError
        It is not named, or twice.
    """
    if argument is not None and option is not None:
        raise ConfigError(f"the run is named twice, {argument} and -o {option}: take one of them")
    folder = argument or option
    if folder is None:
        raise ConfigError("name the folder of the training: -o RUN")
    return folder


def run(order: Order, *, as_json: bool) -> int:
    """Train, and say how each stage ended; 130 when Ctrl-C or SIGTERM stopped it, else 0.

    Under `torchrun` the first process alone says anything.

    Raises
    ------
    ConfigError
        The preset, a folder of images or an earlier checkpoint cannot be used, or a batch does not fit into memory.
    ModelError
        The loss is not finite.
    """
    pairs, radiographs, real_pairs = order.folders
    for folder in (*pairs, radiographs, real_pairs, order.limits.get("earlier")):
        if folder is not None and not folder.is_dir():  # said now, not after the simulation
            raise ConfigError(f"there is no folder {folder}")
    with _told(order.folder), joined(order.limits["device"]) as world:
        logging.basicConfig(level=logging.INFO if world.leads else logging.WARNING, format="%(message)s")
        preset = load_preset(order.preset)
        stages: Sequence[str] = order.stages(preset)
        limits = {key: value for key, value in order.limits.items() if value is not None} | {"quiet": as_json}
        given: dict[str, Any] = {"sources": Sources(radiographs, real_pairs, pairs), "amounts": Amounts(*order.amounts)}
        if isinstance(order.what, Rivalry):
            stages = (order.what.name,)
            outcomes = [train_rival(preset, order.folder, (order.what.name, order.what.scale), **given, **limits)]
        else:
            outcomes = train(preset, order.folder, order.stages(preset), **given, **limits)
    if world.leads:
        _report(stages, outcomes, as_json=as_json)
    return ExitCode.INTERRUPTED if any(outcome.ending == "stopped" for outcome in outcomes) else ExitCode.DONE


def _report(stages: Sequence[str], outcomes: Sequence[Outcome], *, as_json: bool) -> None:
    ended = [
        {"stage": stage, "ending": outcome.ending, "step": outcome.step, "folder": str(outcome.folder)}
        for stage, outcome in zip(stages, outcomes, strict=False)  # none after one that did not finish
    ]
    if as_json:
        print_json(ended)
    else:
        _show(ended)
    if any(outcome.ending != "finished" for outcome in outcomes):
        say("the same command goes on from there")


def _show(ended: Sequence[dict[str, Any]]) -> None:
    for outcome in ended:
        told = f"{outcome['stage']}: {outcome['ending']} at step {outcome['step']}, checkpoints in {outcome['folder']}"
        stdout().print(told, markup=False)


@contextmanager
def _told(run_folder: Path) -> Iterator[None]:
    """Errors of the training in words of the command line."""
    try:
        with resumable(run_folder, PresetError, CheckpointError, PerceptualWeightsError, OutOfMemory, DeviceError):
            try:
                yield
            except UnidentifiedImageError as error:
                raise ConfigError(f"{error}; the folders of pictures hold PNG and JPEG only") from error
    except TrainingError as error:
        raise ModelError(str(error)) from error
