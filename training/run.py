"""The whole way from nothing to a trained run: draw people, form pairs, train, encode, train.

Everything lies under one folder, `anatomy/ pairs/ autoencoder/ latents/ diffusion/ coarse/ refiner/ control/` and
`baselines/`; whatever is there already is used and not made again, so that the same call goes on where an earlier one
ended. With folders of pairs of its own a run simulates nothing; what it keeps of them is in `data/`.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from export.fingerprint import fingerprint
from model.denoiser import Denoiser
from pacs_node.errors import ConfigError
from training.autoencoder import AutoencoderData, train_autoencoder
from training.baselines.registry import BASELINES, BaselineName, Scale
from training.baselines.train import Terms, train_baseline
from training.checkpoint import META, STATE, load_autoencoder, require_sizes
from training.claims import SIMULATED, claim
from training.coarse import CoarseShards, Sampler, denoiser_folder, form_coarse
from training.control import ControlData, train_control
from training.diffusion import sampling_of, train_diffusion
from training.inherit import bring_stage
from training.latents import LatentShards, form_latents
from training.loop import Outcome, Run
from training.pairs import PairShards, form_shards
from training.parallel import choose_device, current_world
from training.perceptual import find_weights
from training.preset import Optimisation, Preset
from training.radiographs import Radiographs
from training.refinement import RefinerData, require_refiner, train_refiner
from training.simulate.cache import AnatomyCache, write_cache
from training.sources import Gathered, gather, held_out_images, is_ingested, validation_pairs
from training.validate import RealPairs

__all__ = ["STAGES", "Amounts", "Sources", "StageName", "stages_of", "train", "train_rival"]

log = logging.getLogger(__name__)
StageName = Literal["autoencoder", "diffusion", "refiner", "control"]
STAGES: tuple[StageName, ...] = ("autoencoder", "diffusion", "refiner", "control")
OPTIMISATIONS = {
    "autoencoder": "autoencoder_training",
    "diffusion": "diffusion",
    "refiner": "refiner_training",
    "control": "control_training",
}


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much to simulate; pairs are formed in hundreds and latents in fifties.

    The refiner takes as many framings as there are latents, and no more than its preset says.
    """

    anatomies: int = 300
    pairs: int = 2000
    latents: int = 3000


@dataclass(frozen=True, slots=True)
class Sources:
    """What is not simulated; all may be missing.

    Attributes
    ----------
    radiographs : folder of grey pictures without twins, for the autoencoder; the last 30 by name are held out.
    real_pairs : folder of `*_cxr.*` with `*_soft.*`, looked at while training and never trained on.
    pairs : folders of pairs to train on in the place of simulated ones, see `training.sources.gather`.
    """

    radiographs: Path | None = None
    real_pairs: Path | None = None
    pairs: tuple[Path, ...] = ()


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

    Under `torchrun` every process calls this; the first one alone simulates, encodes, validates and writes.

    Parameters
    ----------
    folder : of the run; the export reads `autoencoder/` and `diffusion/` there.
    stages : which to train now; the diffusion needs a trained autoencoder, the refiner both.
    limits : the same for each stage: ``batch`` and ``accumulate`` in the place of the preset's, and the fields of
        `training.loop.Run` other than the folder; ``max_steps`` is the preset's unless given. With ``earlier`` the
        autoencoder of that run is taken over where none is trained now, and for a refiner its denoiser too.

    Returns
    -------
    How each stage ended; the stages after one that did not finish are not begun.

    Raises
    ------
    ConfigError
        A folder of pairs cannot be used.
    PresetError
        The refiner of a preset that has none.
    PerceptualWeightsError
        The preset asks for a perceptual loss, and its weights are not to be found.
    TrainingError, CheckpointError
        The loss is not finite; a batch does not fit into memory; an earlier state is damaged or of other sizes; a
        stage that comes before is missing, or what was made with it is not its own.
    """
    preset = _with(preset, {key: limits.pop(key) for key in ("batch", "accumulate") if key in limits})
    if limits.get("earlier") is not None and current_world().leads:
        for stage in _taken_over(stages):
            bring_stage(folder, limits["earlier"], stage)
    current_world().wait()  # nobody looks for what the first process is still copying
    plan = _Plan(preset, folder, sources or Sources(), amounts or Amounts())
    _check_earlier(plan, stages, resume=limits.get("resume", True))
    if not current_world().leads:
        limits["quiet"] = True
    data = _in_order(lambda: _gathered(plan))
    outcomes: list[Outcome] = []
    for stage in stages:
        run = Run(**({"max_steps": _optimisation(preset, stage).max_steps} | limits | {"folder": folder / stage}))
        outcomes.append(TRAINERS[stage](plan, data, run))
        if outcomes[-1].ending != "finished":
            break
    return outcomes


def train_rival(
    preset: Preset,
    folder: Path,
    rival: tuple[BaselineName, Scale],
    *,
    sources: Sources | None = None,
    amounts: Amounts | None = None,
    **limits: Any,
) -> Outcome:
    """Train a rival on the pairs of a run, or go on training it, in `baselines/NAME/` of its folder.

    Parameters
    ----------
    preset : whose grid the pairs have; the rest of it is not looked at.
    rival : its name and its sizes.
    limits : as of `train`; with ``earlier`` it starts with the weights of the same rival in that run.

    Raises
    ------
    ConfigError, TrainingError, CheckpointError, PerceptualWeightsError
        As `train` and `train_baseline`.
    """
    name, scale = rival
    sizes: dict[str, Any] = {key: limits.pop(key) for key in ("batch", "accumulate") if key in limits}
    settings = BASELINES[name].training(scale).model_copy(update=sizes)
    if not current_world().leads:
        limits["quiet"] = True
    plan = _Plan(preset, folder, sources or Sources(), amounts or Amounts())
    data = _in_order(lambda: _gathered(plan))
    run = Run(**({"max_steps": settings.max_steps} | limits | {"folder": folder / "baselines" / name}))
    pairs = ControlData([(source, 1.0) for source in data.sources], data.real)
    return train_baseline(name, scale, pairs, run, Terms(preset.grid, settings, _provenance(plan, data)))


def stages_of(preset: Preset) -> tuple[StageName, ...]:
    """Every stage that the preset has, in the order in which they need each other."""
    return tuple(stage for stage in STAGES if stage != "refiner" or preset.refiner is not None)


def _taken_over(stages: tuple[StageName, ...]) -> list[StageName]:
    """What of an earlier run is used as it is by the stages that are trained now."""
    needed: tuple[StageName, ...] = ("autoencoder", "diffusion") if "refiner" in stages else ("autoencoder",)
    return [stage for stage in needed if stage not in stages]


def _optimisation(preset: Preset, stage: StageName) -> Optimisation:
    found: Optimisation = getattr(preset, OPTIMISATIONS[stage])
    return found


def _with(preset: Preset, sizes: dict[str, int]) -> Preset:
    """The preset with other batches in every stage."""
    changed = {OPTIMISATIONS[stage]: _optimisation(preset, stage).model_copy(update=sizes) for stage in STAGES}
    return preset.model_copy(update=changed)


def _in_order(work: Callable[[], Gathered]) -> Gathered:
    """What the first process makes, the others find; all come back with it."""
    world = current_world()
    if not world.leads:
        world.wait()
    found = work()
    if world.leads:
        world.wait()
    return found


def _check_earlier(plan: _Plan, stages: tuple[StageName, ...], *, resume: bool) -> None:
    """See that all is there and that what was trained before fits the preset, before time goes into simulating."""
    preset = plan.preset
    configs: dict[StageName, Any] = {"autoencoder": preset.autoencoder, "diffusion": preset.denoiser}
    configs["control"] = preset.control
    if "refiner" in stages:
        configs["refiner"] = require_refiner(preset)
    weighed = {"autoencoder": preset.autoencoder_training.perceptual, "refiner": preset.refiner_training.perceptual}
    if any(weighed.get(stage) for stage in stages):
        find_weights()
    needed = _taken_over(stages) if {"diffusion", "refiner"} & set(stages) else []
    for stage, config in configs.items():
        last = plan.folder / stage / "last"
        if stage in needed:
            require_sizes(denoiser_folder(plan.folder) if stage == "diffusion" else last, config)
        elif stage in stages and resume and (last / STATE).is_file():
            require_sizes(last, config)


def _gathered(plan: _Plan) -> Gathered:
    """Open the pairs to train on; draw and form what is missing where they are simulated."""
    folder, size = plan.folder, plan.preset.grid
    if plan.sources.pairs:
        found = gather(plan.sources.pairs, folder / "data", size)
    else:
        write_cache(folder / "anatomy", range(plan.amounts.anatomies), size)
        formed = form_shards([(AnatomyCache(folder / "anatomy"), 1.0)], folder / "pairs", plan.amounts.pairs, size=size)
        log.info("formed %d pairs", formed)
        found = Gathered((PairShards(folder / "pairs"),))
    looked_at = plan.sources.real_pairs
    if looked_at is None:
        return found
    real = validation_pairs(looked_at, size) if is_ingested(looked_at) else RealPairs(looked_at, size)
    if real is None:  # asked for, and so not to be left out in silence
        raise ConfigError(f"{looked_at} holds no pair of the split validation: ingest more patients, or other pairs")
    return replace(found, real=real)


def _provenance(plan: _Plan, data: Gathered) -> dict[str, Any]:
    facts: dict[str, Any] = {"preset": plan.preset.name, "pairs": len(data.pairs), "torch": torch.__version__}
    if data.identity is None:
        return facts | {"anatomies": plan.amounts.anatomies}
    real = sum(is_ingested(folder) for folder in plan.sources.pairs)
    if real:  # what an evaluation warns of: these pairs are not new to the bundle
        facts["data"] = {"real_pairs": f"the training split of {real} ingested folder{'s' if real > 1 else ''}"}
    return facts | {"folders_of_pairs": len(data.sources), "pairs_sha256": data.identity}


def _autoencoder(plan: _Plan, data: Gathered, run: Run) -> Outcome:
    radiographs = Radiographs(plan.sources.radiographs) if plan.sources.radiographs else None
    facts = _provenance(plan, data) | {"radiographs": len(radiographs) if radiographs else 0}
    held_out = held_out_images(data.real) if radiographs is None else None
    return train_autoencoder(plan.preset, AutoencoderData(data.pairs, radiographs, held_out), run, facts)


def _diffusion(plan: _Plan, data: Gathered, run: Run) -> Outcome:
    preset, folder = plan.preset, plan.folder
    autoencoder = load_autoencoder(folder / "autoencoder" / "last").to(choose_device(run.device))

    def encode() -> Gathered:
        claim(folder / "latents", {"autoencoder": autoencoder}, data.identity or SIMULATED)
        count, grid = plan.amounts.latents, preset.grid
        made: dict[str, Any] = {"count": count, "grid": grid, "shadows": preset.shadows}
        log.info("encoded %d framings", form_latents(autoencoder, data.pairs, folder / "latents", **made))
        return data

    _in_order(encode)
    torch.manual_seed(run.seed)
    networks = autoencoder, Denoiser(preset.denoiser).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return train_diffusion(
        preset, networks, (LatentShards(folder / "latents"), data.real), run, _provenance(plan, data)
    )


def _refiner(plan: _Plan, data: Gathered, run: Run) -> Outcome:
    preset, folder, training = plan.preset, plan.folder / "coarse", plan.preset.refiner_training
    sampler = Sampler.of(plan.folder, sampling_of(preset), choose_device(run.device))

    def form() -> Gathered:
        claim(folder, sampler.named(), data.identity or SIMULATED)
        count = min(plan.amounts.latents, training.framings)
        kind = {"shadows": preset.shadows, "plain": preset.shadows and training.steady > 0}
        made: dict[str, Any] = {"count": count, "grid": preset.grid, **kind}
        log.info("sampled %d framings", form_coarse(sampler, data.pairs, folder, **made))
        return data

    _in_order(form)
    real = data.real if training.validate_every and current_world().leads else None
    looked_at = None if real is None else (real, sampler.layers(real.images()))
    if run.earlier is not None and not (run.earlier / "refiner" / "last" / META).is_file():
        run = replace(run, earlier=None)  # a run without a refiner gives its networks alone
    facts = {f"{name}_sha256": fingerprint(network) for name, network in sampler.named().items()}
    return train_refiner(preset, RefinerData(CoarseShards(folder), looked_at), run, _provenance(plan, data) | facts)


def _control(plan: _Plan, data: Gathered, run: Run) -> Outcome:
    sources = [(source, 1.0) for source in data.sources]
    return train_control(plan.preset, ControlData(sources, data.real), run, _provenance(plan, data))


TRAINERS: dict[StageName, Callable[[_Plan, Gathered, Run], Outcome]] = {
    "autoencoder": _autoencoder,
    "diffusion": _diffusion,
    "refiner": _refiner,
    "control": _control,
}
