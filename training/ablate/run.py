"""The whole ablation: data, one autoencoder, then for each seed every training and every cell that is not there yet."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model.denoiser import Denoiser
from pacs_node.bench.environment import describe_environment
from training.ablate.data import Amounts, Data, given, simulated
from training.ablate.measure import Bench
from training.ablate.networks import Budget, Ground, denoiser_of, prepare, train_variant
from training.ablate.plan import Cell, Study, Values, Variant, trainings_of
from training.ablate.results import Results
from training.evaluate.scores import Judge
from training.loop import Outcome, Run
from training.preset import Preset

__all__ = ["Told", "Wish", "ablate", "quick"]

USED = {"name", "grid", "autoencoder", "autoencoder_training", "denoiser", "diffusion", "clipping"}  # of a preset
Part = tuple[Variant, int, list[Cell]]


@dataclass(frozen=True, slots=True)
class Told:
    """Who is told how far it is.

    Attributes
    ----------
    say : one sentence for each part that begins.
    advance : what is made, how many are done, of how many.
    quiet : trainings show no bar.
    """

    say: Callable[[str], None]
    advance: Callable[[str, int, int], None]
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """What to ablate and with what.

    Attributes
    ----------
    folder : of the run; gets `data/ autoencoder/ latents-*/ trainings/ results.json`.
    studies : see `training.ablate.plan`.
    seeds : of weights, batches and sampling noise: 0, 1, ...
    data : a folder of pairs, or None to simulate them from ``data_seed``.
    threads : of torch; one number of them sums in one order, so that the same call gives the same figures.
    """

    folder: Path
    preset: Preset
    values: Values
    studies: tuple[Study, ...]
    seeds: int
    budget: Budget
    amounts: Amounts
    data: Path | None = None
    data_seed: int = 1
    threads: int = 1

    @property
    def settings(self) -> dict[str, Any]:
        """What the figures depend on, whichever studies and seeds are asked for."""
        return {
            # what a preset leaves at its default may gain fields without becoming another preset
            "preset": self.preset.model_dump(mode="json", include=USED, exclude_defaults=True),
            "budget": asdict(self.budget),
            "pairs": asdict(self.amounts),
            "data": f"seed {self.data_seed}" if self.data is None else "given",
        }


def quick(preset: Preset) -> Preset:
    """The preset cut down until all of it runs in seconds; its figures say nothing."""
    autoencoder = preset.autoencoder_training.model_copy(update={"max_steps": 6, "batch": 2, "crop": 64})
    diffusion = preset.diffusion.model_copy(update={"max_steps": 6, "batch": 2, "sampling_steps": 4})
    return preset.model_copy(
        update={
            "name": f"{preset.name}, quick",
            "grid": 64,
            "autoencoder_training": autoencoder,
            "diffusion": diffusion,
        }
    )


def ablate(wish: Wish, judge: Callable[[], Judge], told: Told) -> Results:
    """Make what is missing of the studies, and return everything that the folder holds.

    Raises
    ------
    KeyboardInterrupt
        A training was stopped by a signal; the same call goes on from there.
    ConfigError
        The folder was made with other settings, or the data cannot be used.
    TrainingError, CheckpointError
        As from `training.loop.run_stage`.
    """
    results = Results(wish.folder, wish.settings)
    missing = _missing(wish, results)
    finished = not missing and bool(results.document["references"])
    if finished and wish.data is None:
        return results
    torch.set_num_threads(wish.threads)
    data = _data(wish, told)
    results.bind(data.identity)  # also where all is made: the figures of other pairs must not pass for those of these
    if finished:
        return results
    begun = {"environment": describe_environment(wish.threads)}
    results.note("facts", begun | results.document["facts"])  # those of the first call, where there was one
    ground = _ground(wish, data, results, told)
    bench = Bench(data.tested, judge())
    _references(results, bench, ground)
    for number, (variant, seed, cells) in enumerate(missing, start=1):
        if not results.trained(variant, seed):
            told.say(f"training {number} of {len(missing)}: {variant.name}, seed {seed}")
            outcome = _ended(train_variant(ground, variant, _run(wish, told, seed)))
            results.add_training(variant, seed, outcome)
        networks = ground.autoencoders[variant.raw_latents], denoiser_of(ground, variant, seed)
        for done, cell in enumerate(cells):
            told.advance(f"sampling {variant.name}, seed {seed}", done, len(cells))
            results.add_cell(cell, seed, bench.measure(networks, cell, wish.preset, seed))
        told.advance(f"sampling {variant.name}, seed {seed}", len(cells), len(cells))
    return results


def _missing(wish: Wish, results: Results) -> list[Part]:
    """Trainings with the cells that have no figures yet: all of one seed, then the next."""
    parts = []
    for seed in range(wish.seeds):
        for variant, cells in trainings_of(wish.studies, wish.values).items():
            lacking = [cell for cell in cells if not results.measured(cell, seed)]
            if lacking:
                parts.append((variant, seed, lacking))
    return parts


def _data(wish: Wish, told: Told) -> Data:
    if wish.data is not None:
        return given(wish.data, wish.folder / "data", wish.amounts.test, wish.preset.grid)
    return simulated(wish.folder / "data", wish.amounts, wish.data_seed, wish.preset.grid, told.advance)


def _ground(wish: Wish, data: Data, results: Results, told: Told) -> Ground:
    told.say("the autoencoder of all trainings, and its latents")
    outcome, ground = prepare(wish.folder, wish.preset, data, wish.budget, _run(wish, told, 0))
    _ended(outcome)
    assert ground is not None  # noqa: S101  (a training that was stopped has raised)
    weights = {"autoencoder_weights": _count(ground.autoencoders[False])}
    weights |= {"denoiser_weights": _count(Denoiser(wish.preset.denoiser))}
    results.note("facts", {"data": data.facts, **weights})
    statistics = {
        "latent_std": [float(each) for each in ground.autoencoders[False].latent_std.flatten()],
        "latent_mean": [float(each) for each in ground.autoencoders[False].latent_mean.flatten()],
    }
    ended = {"ending": outcome.ending, "step": outcome.step, "cpu_seconds": round(outcome.cpu_seconds, 1)}
    results.note("autoencoder", statistics | ended)
    return ground


def _count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def _references(results: Results, bench: Bench, ground: Ground) -> None:
    if not results.document["references"]:
        results.note("references", bench.without_network() | {"bound": bench.bound(ground.autoencoders[False])})


def _run(wish: Wish, told: Told, seed: int) -> Run:
    """Folder and steps are filled in by whoever trains."""
    return Run(wish.folder, 0, seed=seed, quiet=told.quiet, device="cpu", tensorboard=False)


def _ended(outcome: Outcome) -> Outcome:
    if outcome.ending == "stopped":
        raise KeyboardInterrupt
    return outcome
