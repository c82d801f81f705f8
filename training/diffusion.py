"""Second stage: the denoiser, on latents of simulated pairs, with the autoencoder frozen.

The condition is the radiograph's own latents, clean and unscaled. Because a handful of steps is used, much of every
batch sits near pure noise, where the first step has to find the bones from the condition alone.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.fingerprint import fingerprint
from model.autoencoder import Autoencoder
from model.denoiser import Denoiser
from model.sampler import predicted_x0
from model.schedule import alpha_sigma
from training.latents import LatentBatch, LatentShards
from training.loop import Outcome, Run, Stage, run_stage
from training.losses import gradient_difference
from training.preset import DiffusionTraining, Preset
from training.validate import RealPairs, Sampling, bone_layers, score_pairs

__all__ = ["add_noise", "diffusion_loss", "on_own_path", "train_diffusion"]

HIGH_NOISE = 0.9  # times above this are what the first of few steps sees
DECODED_LATENTS = 20  # rows and columns of latents whose decoded bone layer is compared


@dataclass(frozen=True, slots=True)
class Noised:
    """Latents on their way to noise."""

    x_t: Tensor
    t: Tensor  # (B,)
    alpha: Tensor  # (B, 1, 1, 1)
    sigma: Tensor
    noise: Tensor


def add_noise(x0: Tensor, training: DiffusionTraining, rng: np.random.Generator) -> Noised:
    """Draw times and noise for clean latents (B, C, h, w)."""
    batch = x0.shape[0]
    t = rng.random(batch, dtype=np.float32)
    high = rng.random(batch) < training.high_noise_share
    t[high] = HIGH_NOISE + (1 - HIGH_NOISE) * t[high]
    alpha, sigma = (torch.from_numpy(values)[:, None, None, None] for values in alpha_sigma(t))
    eps = rng.standard_normal(tuple(x0.shape), dtype=np.float32)
    eta = rng.standard_normal((*x0.shape[:2], 1, 1), dtype=np.float32)
    noise = torch.from_numpy(eps + np.float32(training.offset_noise) * eta)
    return Noised(alpha * x0 + sigma * noise, torch.from_numpy(t), alpha, sigma, noise)


def diffusion_loss(
    denoiser: Denoiser,
    autoencoder: Autoencoder,
    batch: LatentBatch,
    training: DiffusionTraining,
    rng: np.random.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """Error of the clean latents that the output stands for, and of the bone layer they decode to."""
    noised = add_noise(batch.soft, training, rng)
    prediction = denoiser.config.prediction
    if training.own_prediction_share and prediction == "x0":
        noised = on_own_path(denoiser, noised, batch.condition, training, rng)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=training.bfloat16):
        output = denoiser(noised.x_t, noised.t, batch.condition).float()
        predicted = predicted_x0(output, noised.x_t, noised.alpha, noised.sigma, prediction)
        parts = {"latent": _latent_error(output, predicted, batch.soft, noised, prediction)}
        if training.decoded:
            parts["decoded"] = _decoded_error(autoencoder, predicted, batch, rng)
    loss = sum((getattr(training, name) * part for name, part in parts.items()), noised.x_t.new_zeros(()))
    # what returning the condition would score: the figure to compare with
    identity = functional.l1_loss(batch.condition, batch.soft)
    parts |= {"l1": functional.l1_loss(predicted, batch.soft), "identity_l1": identity}
    return loss, {name: float(part.detach()) for name, part in parts.items()}


@torch.no_grad()
def on_own_path(
    denoiser: Denoiser, noised: Noised, condition: Tensor, training: DiffusionTraining, rng: np.random.Generator
) -> Noised:
    """Noise some samples from the network's own first guess instead of from the truth.

    The sampler only ever sees its own guesses; a network that saw truths alone believes what is left of the bones in
    them. The same exposure bias as in Ning et al. (2023), with the error that really occurs in the place of noise.
    """
    chosen = torch.from_numpy(np.flatnonzero(rng.random(len(noised.t)) < training.own_prediction_share))
    if not len(chosen):
        return noised
    first = torch.ones(len(chosen))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=training.bfloat16):
        guess = denoiser(noised.noise[chosen], first, condition[chosen]).float()
    x_t = noised.x_t.clone()
    x_t[chosen] = noised.alpha[chosen] * guess + noised.sigma[chosen] * noised.noise[chosen]
    return replace(noised, x_t=x_t)


def _latent_error(output: Tensor, predicted: Tensor, x0: Tensor, noised: Noised, prediction: str) -> Tensor:
    """Smooth L1 on what the network predicts: robust to the few latents that bone moves far."""
    targets = {"x0": x0, "eps": noised.noise, "v": noised.alpha * noised.noise - noised.sigma * x0}
    got = predicted if prediction == "x0" else output
    return functional.smooth_l1_loss(got, targets[prediction], beta=0.1)


def _decoded_error(autoencoder: Autoencoder, predicted: Tensor, batch: LatentBatch, rng: np.random.Generator) -> Tensor:
    """L1 and edge error of the decoded bone layer in one window of latents."""
    size = min(DECODED_LATENTS, predicted.shape[-1])
    top, left = (int(rng.integers(side - size + 1)) for side in predicted.shape[-2:])
    window = (..., slice(top, top + size), slice(left, left + size))
    r = autoencoder.config.downsampling
    with torch.no_grad():
        whole = autoencoder.decode(batch.condition[window]).float()
    layer = whole - autoencoder.decode(predicted[window]).float()
    wanted = batch.layer[..., top * r : (top + size) * r, left * r : (left + size) * r]
    # the outermost latents lack their neighbours here, not in the service: their pixels are left out
    inner = (..., slice(2 * r, -2 * r), slice(2 * r, -2 * r)) if size > 6 else (...,)
    return functional.l1_loss(layer[inner], wanted[inner]) + gradient_difference(layer[inner], wanted[inner])


def bundle_facts(preset: Preset) -> dict[str, Any]:
    """What the export must know beside the weights: keys of `model.bundle.ModelSpec`, kept in `meta.json`."""
    return {
        "grid": preset.grid,
        "steps": preset.diffusion.sampling_steps,
        "offset_noise": preset.diffusion.offset_noise,
        "clipping": preset.clipping.model_dump(),
        "fusion": preset.fusion.model_dump(),
    }


def train_diffusion(
    preset: Preset,
    networks: tuple[Autoencoder, Denoiser],
    data: tuple[LatentShards, RealPairs | None],
    run: Run,
    provenance: dict[str, Any],
) -> Outcome:
    """Train, or go on training, the denoiser.

    Parameters
    ----------
    networks : the finished autoencoder, which is not changed, and the denoiser.
    data : latents of simulated pairs (`training.latents.form_latents`), and real pairs to look at while training.
    run : ``run.folder`` gets `last/`, `best/` (by the real pairs) and `metrics.jsonl`.

    Raises
    ------
    TrainingError
        The loss is not finite.
    """
    autoencoder, model = networks
    shards, real = data
    training = preset.diffusion
    sampling = Sampling(training.sampling_steps, preset.clipping, training.offset_noise)

    def loss(network: nn.Module, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        assert isinstance(network, Denoiser)  # noqa: S101
        return diffusion_loss(network, autoencoder, shards.batch(training.batch, rng), training, rng)

    def validate(network: nn.Module, _step: int) -> dict[str, float]:
        assert isinstance(network, Denoiser) and real is not None  # noqa: S101, PT018
        return score_pairs(real, bone_layers(autoencoder, network, real.images(), sampling).numpy())

    stage = Stage(
        name="diffusion",
        model=model,
        config=preset.denoiser,
        optimisation=training,
        loss=loss,
        validate=validate if real is not None else None,
        provenance=provenance | {"bundle": bundle_facts(preset), "autoencoder_sha256": fingerprint(autoencoder)},
    )
    return run_stage(stage, run)
