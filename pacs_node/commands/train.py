"""`pacs-node train ...`: pairs, then the autoencoder, then the denoiser; each goes on where it was stopped."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from model.denoiser import Denoiser
from pacs_node.commands.terminal import print_json, say, stdout
from pacs_node.errors import ConfigError, ModelError
from training.autoencoder import AutoencoderData, train_autoencoder
from training.checkpoint import CheckpointError, load_autoencoder
from training.diffusion import train_diffusion
from training.latents import LatentShards, form_latents
from training.loop import Outcome, Run, TrainingError
from training.pairs import SHARD, PairShards, form_shards
from training.preset import Preset, PresetError, load_preset
from training.radiographs import Radiographs
from training.simulate.cache import AnatomyCache, write_cache
from training.validate import RealPairs

__all__ = ["Order", "autoencoder", "diffusion", "pairs"]


@dataclass(frozen=True, slots=True)
class Order:
    """What both stages are told.

    Attributes
    ----------
    run : folder of the training; gets `autoencoder/`, `latents/` and `diffusion/`.
    pairs : folder that `pacs-node train pairs` wrote.
    steps, minutes : end after so many steps of the whole training, or minutes of this run; None: the preset's, no end.
    restart : forget what an earlier run left.
    """

    run: Path
    pairs: Path
    preset: str
    steps: int | None
    minutes: float | None
    seed: int
    workers: int
    restart: bool
    as_json: bool

    def stage(self, name: str, max_steps: int) -> Run:
        """Where and how long to train one stage."""
        return Run(
            folder=self.run / name,
            max_steps=self.steps or max_steps,
            max_minutes=self.minutes or math.inf,
            seed=self.seed,
            resume=not self.restart,
            quiet=self.as_json,
            workers=self.workers,
        )


def pairs(folder: Path, *, people: int, count: int, seed: int) -> int:
    """Draw ``people`` phantoms and form ``count`` pairs, rounded up to whole shards; what is there already is kept."""
    anatomies = folder / "people"
    first = seed * 1_000_000
    drawn = write_cache(anatomies, range(first, first + people))
    formed = form_shards([(AnatomyCache(anatomies), 1.0)], folder, -(-count // SHARD) * SHARD, seed)
    say(f"{drawn} people drawn and {formed} pairs formed now; {len(PairShards(folder))} pairs in {folder}")
    return 0


def autoencoder(order: Order, *, radiographs: Path | None) -> int:
    """Train the autoencoder on pairs and, where there are some, real radiographs without a twin."""
    with _told():
        preset = load_preset(order.preset)
        real = Radiographs(radiographs) if radiographs else None
        data = AutoencoderData(PairShards(order.pairs), real)
        run = order.stage("autoencoder", preset.autoencoder_training.max_steps)
        facts = {"preset": preset.name, "simulated_pairs": len(PairShards(order.pairs)), "radiographs": len(real or ())}
        return _end(train_autoencoder(preset, data, run, facts), order)


def diffusion(order: Order, *, framings: int, validate: Path | None) -> int:
    """Encode framings of the pairs once, then train the denoiser on them.

    Parameters
    ----------
    framings : how many random framings of the pairs are encoded.
    validate : folder of real dual-energy pairs (`NAME_cxr.png`, `NAME_soft.png`) that choose `best/`; never trained on.
    """
    with _told():
        preset = load_preset(order.preset)
        compression = load_autoencoder(_best(order.run / "autoencoder"))
        shards = PairShards(order.pairs)
        say(f"encoding {framings} framings of {len(shards)} pairs; those that are there already are kept")
        form_latents(compression, shards, order.run / "latents", count=framings, grid=preset.grid)
        real = RealPairs(validate, preset.grid) if validate else None
        networks = (compression, _denoiser(preset))
        run = order.stage("diffusion", preset.diffusion.max_steps)
        facts = {"preset": preset.name, "simulated_pairs": len(shards), "framings": framings}
        return _end(train_diffusion(preset, networks, (LatentShards(order.run / "latents"), real), run, facts), order)


def _denoiser(preset: Preset) -> Denoiser:
    return Denoiser(preset.denoiser)


def _best(stage: Path) -> Path:
    folder = next((stage / name for name in ("best", "last") if (stage / name).is_dir()), None)
    if folder is None:
        raise ConfigError(f"{stage} holds no checkpoint: run pacs-node train autoencoder first")
    return folder


def _end(outcome: Outcome, order: Order) -> int:
    facts = {"ending": outcome.ending, "step": outcome.step, "seconds": round(outcome.seconds, 1)}
    if order.as_json:
        print_json({**facts, "folder": str(outcome.folder)})
    else:
        stdout().print(f"{outcome.ending} at step {outcome.step}; checkpoints are in {outcome.folder}", markup=False)
    return 0


@contextmanager
def _told() -> Iterator[None]:
    """Errors of the training in words of the command line."""
    try:
        yield
    except (PresetError, CheckpointError) as error:
        raise ConfigError(str(error)) from error
    except FileNotFoundError as error:
        raise ConfigError(f"{error}: pacs-node train pairs makes some") from error
    except TrainingError as error:
        raise ModelError(str(error)) from error
