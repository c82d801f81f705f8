"""One autoencoder for all, its twin without standardised latents, their latents, and a denoiser for each variant."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from model.autoencoder import Autoencoder, AutoencoderConfig
from model.denoiser import Denoiser
from training.ablate.data import Data
from training.ablate.plan import Variant, preset_of
from training.autoencoder import AutoencoderData, train_autoencoder
from training.checkpoint import load_autoencoder, load_denoiser
from training.claims import claim
from training.diffusion import train_diffusion
from training.latents import LatentShards, form_latents
from training.loop import Outcome, Run
from training.preset import Preset

__all__ = ["Budget", "Ground", "denoiser_of", "prepare", "train_variant", "unstandardised"]

RAW, STANDARD = "raw", "standardised"


@dataclass(frozen=True, slots=True)
class Budget:
    """How long to train.

    Attributes
    ----------
    autoencoder_steps, diffusion_steps : the same for every training; equal networks cost the same a step.
    framings : that are encoded for the denoisers.
    cpu_minutes : of each training, a bound besides the steps; figures then depend on the machine.
    """

    autoencoder_steps: int
    diffusion_steps: int
    framings: int
    cpu_minutes: float = math.inf


@dataclass(frozen=True, slots=True)
class Ground:
    """What all trainings share.

    Attributes
    ----------
    autoencoders, latents : by whether the latents are raw.
    """

    folder: Path
    preset: Preset
    budget: Budget
    autoencoders: Mapping[bool, Autoencoder]
    latents: Mapping[bool, LatentShards]


def unstandardised(autoencoder: Autoencoder) -> Autoencoder:
    """The same autoencoder with latents in the encoder's own units: statistics of 0 and 1 in the place of its own."""
    twin = Autoencoder(AutoencoderConfig(**_fields(replace(autoencoder.config, standardised=False))))
    state = autoencoder.state_dict()
    state["latent_mean"] = torch.zeros_like(state["latent_mean"])
    state["latent_std"] = torch.ones_like(state["latent_std"])
    twin.load_state_dict(state)
    return twin.eval().requires_grad_(False)


def _fields(config: AutoencoderConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in AutoencoderConfig.__slots__}


def prepare(folder: Path, preset: Preset, data: Data, budget: Budget, run: Run) -> tuple[Outcome, Ground | None]:
    """Train the shared autoencoder, and encode the framings with it, once with and once without standardised latents.

    Parameters
    ----------
    folder : gets `autoencoder/`, `latents-standardised/` and `latents-raw/`.
    run : its folder and number of steps are not used.

    Returns
    -------
    How the autoencoder's training ended, and what was made; None where it was stopped.
    """
    facts = {"preset": preset.name, "pairs": len(data.pairs), "pairs_sha256": data.identity}
    own = replace(
        run, folder=folder / "autoencoder", max_steps=budget.autoencoder_steps, max_cpu_minutes=budget.cpu_minutes
    )
    outcome = train_autoencoder(preset, AutoencoderData(data.pairs, None, None), own, facts)
    if outcome.ending == "stopped":
        return outcome, None
    standard = load_autoencoder(folder / "autoencoder" / "last")
    autoencoders = {False: standard, True: unstandardised(standard)}
    latents = {}
    for raw, autoencoder in autoencoders.items():
        into = folder / f"latents-{RAW if raw else STANDARD}"
        claim(into, {"autoencoder": autoencoder}, data.identity)
        form_latents(autoencoder, data.pairs, into, count=budget.framings, grid=preset.grid)
        latents[raw] = LatentShards(into)
    return outcome, Ground(folder, preset, budget, autoencoders, latents)


def train_variant(ground: Ground, variant: Variant, run: Run) -> Outcome:
    """Train the denoiser of a variant, or go on; all variants of one seed see the same framings, times and noises.

    Parameters
    ----------
    run : its folder and number of steps are not used; its seed is that of weights and batches.
    """
    torch.manual_seed(run.seed)
    denoiser = Denoiser(ground.preset.denoiser).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    networks = ground.autoencoders[variant.raw_latents], denoiser
    own = replace(
        run,
        folder=_folder(ground, variant, run.seed),
        max_steps=ground.budget.diffusion_steps,
        max_cpu_minutes=ground.budget.cpu_minutes,
    )
    preset, facts = preset_of(ground.preset, variant), {"preset": ground.preset.name, "variant": variant.name}
    return train_diffusion(preset, networks, (ground.latents[variant.raw_latents], None), own, facts)


def denoiser_of(ground: Ground, variant: Variant, seed: int) -> Denoiser:
    """The averaged denoiser of a variant that was trained."""
    return load_denoiser(_folder(ground, variant, seed) / "last")


def _folder(ground: Ground, variant: Variant, seed: int) -> Path:
    return ground.folder / "trainings" / f"{variant.name}-seed-{seed}"
