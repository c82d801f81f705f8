"""Ours from nothing under one budget: autoencoder, denoiser and refiner in stated shares of it.

Encoding framings and sampling layers, which come between the stages, is paid from the share of the stage that needs
them.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from export.fingerprint import fingerprint
from model.denoiser import Denoiser
from training.autoencoder import AutoencoderData, train_autoencoder
from training.checkpoint import load_autoencoder
from training.claims import claim
from training.coarse import CoarseShards, Sampler, form_coarse
from training.compare.ground import Ground
from training.diffusion import sampling_of, train_diffusion
from training.latents import LatentShards, form_latents
from training.loop import Outcome, Run
from training.preset import Preset
from training.refinement import RefinerData, train_refiner

__all__ = ["SHARES", "between_seconds", "train_ours"]

SHARES = {"autoencoder": 0.2, "diffusion": 0.4, "refiner": 0.4}
LEDGER = "between.json"  # processor seconds of what comes between the stages, for a training that goes on


@dataclass(frozen=True, slots=True)
class _Plan:
    preset: Preset
    ground: Ground
    run: Run
    framings: int
    facts: dict[str, Any]


def train_ours(preset: Preset, ground: Ground, run: Run, framings: int, facts: dict[str, Any]) -> list[Outcome]:
    """Train the stages of a preset one after the other, or go on.

    Parameters
    ----------
    run : its ``max_cpu_minutes`` are for all stages together; ``max_steps`` for each.
    framings : encoded for the denoiser; the refiner takes as many as its preset says, and no more than these.
    facts : provenance.

    Returns
    -------
    How each stage ended; none after one that was stopped.
    """
    plan = _Plan(preset, ground, run, framings, facts | {"preset": preset.name})
    outcomes: list[Outcome] = []
    for name, train in (("autoencoder", _autoencoder), ("diffusion", _diffusion), ("refiner", _refiner)):
        if name == "refiner" and preset.refiner is None:
            continue
        outcomes.append(train(plan))
        if outcomes[-1].ending == "stopped":
            break
    return outcomes


def _share(plan: _Plan, stage: str) -> Run:
    """What is left to the training of a stage after what had to be made for it."""
    parts = SHARES if plan.preset.refiner is not None else {"autoencoder": 0.5, "diffusion": 0.5}
    minutes = plan.run.max_cpu_minutes * parts[stage] - _spent(plan.run.folder).get(stage, 0.0) / 60
    return replace(plan.run, folder=plan.run.folder / stage, max_cpu_minutes=minutes)


def _autoencoder(plan: _Plan) -> Outcome:
    data = AutoencoderData(plan.ground.pairs, None)
    return train_autoencoder(plan.preset, data, _share(plan, "autoencoder"), plan.facts)


def _diffusion(plan: _Plan) -> Outcome:
    folder, preset = plan.run.folder, plan.preset
    autoencoder = load_autoencoder(folder / "autoencoder" / "last")
    with _counted(folder, "diffusion"):
        claim(folder / "latents", {"autoencoder": autoencoder}, plan.ground.identity)
        form_latents(autoencoder, plan.ground.pairs, folder / "latents", count=plan.framings, grid=preset.grid)
    torch.manual_seed(plan.run.seed)
    networks = autoencoder, Denoiser(preset.denoiser).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    shards = LatentShards(folder / "latents")
    return train_diffusion(preset, networks, (shards, None), _share(plan, "diffusion"), plan.facts)


def _refiner(plan: _Plan) -> Outcome:
    folder, preset = plan.run.folder, plan.preset
    sampler = Sampler.of(folder, sampling_of(preset), torch.device("cpu"))
    count = min(plan.framings, preset.refiner_training.framings)
    with _counted(folder, "refiner"):
        claim(folder / "coarse", sampler.named(), plan.ground.identity)
        form_coarse(sampler, plan.ground.pairs, folder / "coarse", count=count, grid=preset.grid)
    facts = plan.facts | {f"{name}_sha256": fingerprint(network) for name, network in sampler.named().items()}
    return train_refiner(preset, RefinerData(CoarseShards(folder / "coarse")), _share(plan, "refiner"), facts)


def _spent(folder: Path) -> dict[str, float]:
    path = folder / LEDGER
    found: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


@contextmanager
def _counted(folder: Path, stage: str) -> Iterator[None]:
    """Charge the processor time of what is done inside to a stage, also when it is interrupted."""
    started = time.process_time()
    try:
        yield
    finally:
        spent = _spent(folder)
        spent[stage] = spent.get(stage, 0.0) + time.process_time() - started
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{LEDGER}.part"
        part.write_text(json.dumps(spent), encoding="utf-8")
        part.replace(folder / LEDGER)


def between_seconds(run: Path) -> float:
    """Processor time that was spent between the stages of a run, s."""
    return sum(_spent(run).values())
