"""The whole way from nothing to a trained run: draw people, form pairs, train, encode, train.

Everything lies under one folder, `anatomy/ pairs/ autoencoder/ latents/ diffusion/`; whatever is there already is used
and not made again, so that the same call goes on where an earlier one ended.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from export.fingerprint import fingerprint
from model.autoencoder import Autoencoder
from model.denoiser import Denoiser
from training.autoencoder import AutoencoderData, train_autoencoder
from training.checkpoint import STATE, CheckpointError, load_autoencoder, require_sizes
from training.diffusion import train_diffusion
from training.latents import LatentShards, form_latents
from training.loop import Outcome, Run
from training.pairs import PairShards, form_shards
from training.preset import Preset
from training.radiographs import Radiographs
from training.simulate.cache import AnatomyCache, write_cache
from training.validate import RealPairs

__all__ = ["Amounts", "Sources", "StageName", "train"]

log = logging.getLogger(__name__)
StageName = Literal["autoencoder", "diffusion"]


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much to simulate; pairs are formed in hundreds and latents in fifties."""

    anatomies: int = 300
    pairs: int = 2000
    latents: int = 3000


@dataclass(frozen=True, slots=True)
class Sources:
    """What is not simulated; both may be missing.

    Attributes
    ----------
    radiographs : folder of grey pictures without twins, for the autoencoder; the last 30 by name are held out.
    real_pairs : folder of `*_cxr.*` with `*_soft.*`, looked at while training and never trained on.
    """

    radiographs: Path | None = None
    real_pairs: Path | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    preset: Preset
    folder: Path
    sources: Sources
    amounts: Amounts


def train(
    preset: Preset,
    folder: Path,
    stages: tuple[StageName, ...] = ("autoencoder", "diffusion"),
    *,
    sources: Sources | None = None,
    amounts: Amounts | None = None,
    **limits: Any,
) -> list[Outcome]:
    """Train a run, or go on training it.

    Parameters
    ----------
    folder : of the run; the export reads `autoencoder/` and `diffusion/` there.
    stages : which to train now; the diffusion needs a trained autoencoder.
    limits : fields of `training.loop.Run` other than the folder, the same for each stage: ``max_steps`` (default: the
        preset's), ``max_minutes``, ``seed``, ``resume``, ``quiet``, ``workers``.

    Returns
    -------
    How each stage ended; the stages after one that did not finish are not begun.

    Raises
    ------
    TrainingError, CheckpointError
        The loss is not finite; an earlier state is damaged or of other sizes; the autoencoder is missing, or the
        latents are not its own.
    """
    plan = _Plan(preset, folder, sources or Sources(), amounts or Amounts())
    _check_earlier(plan, stages, resume=limits.get("resume", True))
    pairs = _pairs(plan)
    outcomes: list[Outcome] = []
    for stage in stages:
        optimisation = preset.autoencoder_training if stage == "autoencoder" else preset.diffusion
        run = Run(**({"max_steps": optimisation.max_steps} | limits | {"folder": folder / stage}))
        outcomes.append((_autoencoder if stage == "autoencoder" else _diffusion)(plan, pairs, run))
        if outcomes[-1].ending != "finished":
            break
    return outcomes


def _check_earlier(plan: _Plan, stages: tuple[StageName, ...], *, resume: bool) -> None:
    """See that what was trained before fits the preset, before time goes into simulating."""
    autoencoder, denoiser = (plan.folder / stage / "last" for stage in ("autoencoder", "diffusion"))
    if "autoencoder" not in stages or (resume and (autoencoder / STATE).is_file()):
        require_sizes(autoencoder, plan.preset.autoencoder)
    if "diffusion" in stages and resume and (denoiser / STATE).is_file():
        require_sizes(denoiser, plan.preset.denoiser)


def _pairs(plan: _Plan) -> PairShards:
    """Draw and form what is missing."""
    folder, size = plan.folder, plan.preset.grid
    write_cache(folder / "anatomy", range(plan.amounts.anatomies), size)
    formed = form_shards([(AnatomyCache(folder / "anatomy"), 1.0)], folder / "pairs", plan.amounts.pairs, size=size)
    log.info("formed %d pairs", formed)
    return PairShards(folder / "pairs")


def _provenance(plan: _Plan, pairs: PairShards) -> dict[str, Any]:
    return {
        "preset": plan.preset.name,
        "anatomies": plan.amounts.anatomies,
        "pairs": len(pairs),
        "torch": torch.__version__,
    }


def _autoencoder(plan: _Plan, pairs: PairShards, run: Run) -> Outcome:
    radiographs = Radiographs(plan.sources.radiographs) if plan.sources.radiographs else None
    facts = _provenance(plan, pairs) | {"radiographs": len(radiographs) if radiographs else 0}
    return train_autoencoder(plan.preset, AutoencoderData(pairs, radiographs), run, facts)


def _diffusion(plan: _Plan, pairs: PairShards, run: Run) -> Outcome:
    preset, folder = plan.preset, plan.folder
    autoencoder = load_autoencoder(folder / "autoencoder" / "last")
    _claim_latents(folder / "latents", autoencoder)
    formed = form_latents(autoencoder, pairs, folder / "latents", count=plan.amounts.latents, grid=preset.grid)
    log.info("encoded %d framings", formed)
    torch.manual_seed(run.seed)
    networks = autoencoder, Denoiser(preset.denoiser).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    real = RealPairs(plan.sources.real_pairs, preset.grid) if plan.sources.real_pairs else None
    data = LatentShards(folder / "latents"), real
    return train_diffusion(preset, networks, data, run, _provenance(plan, pairs))


def _claim_latents(folder: Path, autoencoder: Autoencoder) -> None:
    """Note whose latents are in ``folder``: those of an earlier state of the autoencoder would teach nonsense."""
    own, note = fingerprint(autoencoder), folder / "autoencoder.sha256"
    if note.is_file() and note.read_text(encoding="ascii") != own:
        raise CheckpointError(f"{folder} is from before the autoencoder was trained on: remove it to encode again")
    if not folder.is_dir():
        folder.mkdir()
        note.write_text(own, encoding="ascii")
