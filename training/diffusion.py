"""Second stage: the denoiser, on latents of simulated pairs, with the autoencoder frozen.

The condition is the radiograph's own latents, clean and unscaled. Because a handful of steps is used, much of every
batch sits near the start, where the first step has to find the bones from the condition alone.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from export.fingerprint import fingerprint
from model.autoencoder import Autoencoder
from model.denoiser import Denoiser
from model.process import EARLIEST, Level, Process
from model.sampler import Noise
from training.latents import LatentBatch, LatentShards
from training.loop import Outcome, Run, Stage, run_stage
from training.losses import gradient_difference, weighed
from training.parallel import choose_device
from training.preset import DiffusionTraining, Preset
from training.stage import Rows
from training.validate import SHEET_ROWS, RealPairs, Sampling, bone_layers, score_pairs, side_by_side

__all__ = [
    "add_noise",
    "diffusion_loss",
    "on_own_path",
    "sampling_of",
    "seen_condition",
    "train_diffusion",
    "training_process",
    "window_corners",
]

HIGH_NOISE = 0.9  # times above this are what the first of few steps sees
DECODED_LATENTS = 20  # rows and columns of latents whose decoded bone layer is compared
MARKED, MARKED_WINDOWS = 0.3, 0.6  # what counts as marked, and the share of windows that are put around it


@dataclass(frozen=True, slots=True)
class Noised:
    """Latents on their way to the start of the sampling."""

    x_t: Tensor
    t: Tensor  # (B,)
    level: Level  # each (B, 1, 1, 1), or a number
    noise: Tensor


def training_process(training: DiffusionTraining) -> Process:
    """The process that the preset names."""
    return Process(training.process, training.schedule, training.path_noise)


def sampling_of(preset: Preset, steps: int = 0) -> Sampling:
    """How the network of a preset is sampled, in its own number of steps or in another."""
    way = preset.diffusion
    return Sampling(
        steps or way.sampling_steps,
        preset.clipping,
        way.offset_noise,
        process=training_process(way),
        sampler=way.sampler,
        eta=way.eta,
    )


def add_noise(x0: Tensor, condition: Tensor, training: DiffusionTraining, rng: np.random.Generator) -> Noised:
    """Draw times and noise, and carry clean latents (B, C, h, w) there, on their device."""
    process = training_process(training)
    t = _times(len(x0), training, rng)
    level = _columns(process.levels(t), x0.device)
    noise = torch.from_numpy(Noise(rng, training.offset_noise).draw(x0.shape)).to(x0.device)
    x_t = process.noised(x0, condition, noise, level)
    return Noised(x_t, torch.from_numpy(t).to(x0.device), level, noise)


def _times(batch: int, training: DiffusionTraining, rng: np.random.Generator) -> NDArray[np.float32]:
    t = rng.random(batch, dtype=np.float32)
    high = rng.random(batch) < training.high_noise_share
    t[high] = HIGH_NOISE + (1 - HIGH_NOISE) * t[high]
    return t if training.process == "diffusion" else np.maximum(t, np.float32(EARLIEST))


def _columns(level: Level, device: torch.device) -> Level:
    """Scales that broadcast against latents; a number stays one."""
    return Level(
        *(
            torch.from_numpy(scale)[:, None, None, None].to(device) if isinstance(scale, np.ndarray) else scale
            for scale in level
        )
    )


def diffusion_loss(
    denoiser: Denoiser,
    autoencoder: Autoencoder,
    batch: LatentBatch,
    training: DiffusionTraining,
    rng: np.random.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """Error of what the network predicts, and of the bone layer that its clean latents decode to.

    Parameters
    ----------
    batch : on the device of both networks.
    rng : draws times, noise and windows, on the CPU, so that a seed means the same on every device.
    """
    prediction, process = denoiser.config.prediction, training_process(training)
    noised = add_noise(batch.soft, batch.condition, training, rng)
    if training.own_prediction_share:
        noised = on_own_path(denoiser, noised, batch.condition, training, rng)
    with torch.autocast(batch.soft.device.type, dtype=torch.bfloat16, enabled=training.bfloat16):
        output = denoiser(noised.x_t, noised.t, seen_condition(batch.condition, noised.level, training)).float()
        predicted = process.predicted_x0(output, noised.x_t, noised.level, prediction)
        target = process.target(batch.soft, batch.condition, noised.noise, noised.level, prediction)
        parts = {"latent": _latent_error(output, target, batch.mark, training)}
        if training.decoded:
            parts["decoded"] = _decoded_error(autoencoder, predicted, batch, training, rng)
    loss = sum((getattr(training, name) * part for name, part in parts.items()), noised.x_t.new_zeros(()))
    # what returning the condition would score: the figure to compare with
    identity = functional.l1_loss(batch.condition, batch.soft)
    parts |= {"l1": functional.l1_loss(predicted, batch.soft), "identity_l1": identity}
    return loss, {name: float(part.detach()) for name, part in parts.items()}


def seen_condition(condition: Tensor, level: Level, training: DiffusionTraining) -> Tensor:
    """The condition as the network gets it: itself, in training and sampling alike.

    The public code of BS-LDM multiplies it by alpha_t in training and not in sampling; ``scaled_condition`` does so
    too, to measure what that costs.
    """
    return condition * level.alpha if training.scaled_condition else condition


@torch.no_grad()
def on_own_path(
    denoiser: Denoiser, noised: Noised, condition: Tensor, training: DiffusionTraining, rng: np.random.Generator
) -> Noised:
    """Noise some samples from the network's own first guess instead of from the truth; it has to predict x0.

    The sampler only ever sees its own guesses; a network that saw truths alone believes what is left of the bones in
    them. The same exposure bias as in Ning et al. (2023), with the error that really occurs in the place of noise.
    """
    chosen = torch.from_numpy(np.flatnonzero(rng.random(len(noised.t)) < training.own_prediction_share))
    if not len(chosen):
        return noised
    process, chosen = training_process(training), chosen.to(condition.device)
    first, radiograph, noise = noised.t.new_ones(len(chosen)), condition[chosen], noised.noise[chosen]
    start = process.start(radiograph, lambda: noise)
    seen = seen_condition(radiograph, _columns(process.levels(np.ones(1, np.float32)), condition.device), training)
    with torch.autocast(condition.device.type, dtype=torch.bfloat16, enabled=training.bfloat16):
        guess = denoiser(start, first, seen).float()
    level = Level(*(scale[chosen] if isinstance(scale, Tensor) else scale for scale in noised.level))
    x_t = noised.x_t.clone()
    x_t[chosen] = process.noised(guess, radiograph, noise, level)
    return replace(noised, x_t=x_t)


def _latent_error(output: Tensor, target: Tensor, mark: Tensor | None, training: DiffusionTraining) -> Tensor:
    """Error of what the network predicts; smooth L1 is robust to the few latents that bone moves far."""
    if training.latent_error == "mse":
        error = functional.mse_loss(output, target, reduction="none")
    else:
        error = functional.smooth_l1_loss(output, target, beta=0.1, reduction="none")
    return weighed(error, mark, training.shadow_weight)


def _decoded_error(
    autoencoder: Autoencoder,
    predicted: Tensor,
    batch: LatentBatch,
    training: DiffusionTraining,
    rng: np.random.Generator,
) -> Tensor:
    """L1 and edge error of the decoded bone layer, in one window of latents of each sample."""
    size = min(DECODED_LATENTS, predicted.shape[-1])
    corners = window_corners(batch, size, training, rng)
    r = autoencoder.config.downsampling
    with torch.no_grad():
        whole = autoencoder.decode(_windows(batch.condition, corners, size)).float()
    layer = whole - autoencoder.decode(_windows(predicted, corners, size)).float()
    wanted = _windows(batch.layer, [(r * top, r * left) for top, left in corners], r * size)
    # the outermost latents lack their neighbours here, not in the service: their pixels are left out
    inner = (..., slice(2 * r, -2 * r), slice(2 * r, -2 * r)) if size > 6 else (...,)
    layer, wanted, mark = layer[inner], wanted[inner], None
    if batch.mark is not None:
        mark = functional.interpolate(_windows(batch.mark, corners, size), scale_factor=r, mode="bilinear")[inner]
    of_pixels = weighed((layer - wanted).abs(), mark, training.shadow_weight)
    return of_pixels + gradient_difference(layer, wanted, mark, training.shadow_weight)


def window_corners(
    batch: LatentBatch, size: int, training: DiffusionTraining, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Top and left of a window of each sample, in latents: one anywhere for all, or most around a marked latent."""
    height, width = batch.condition.shape[-2:]
    if batch.mark is None or not training.shadow_weight:
        top, left = (int(rng.integers(side - size + 1)) for side in (height, width))
        return [(top, left)] * len(batch.condition)
    corners = []
    for mark in batch.mark[:, 0].cpu().numpy():
        top, left = (int(rng.integers(side - size + 1)) for side in (height, width))
        rows, columns = np.nonzero(mark > MARKED)
        if len(rows) and rng.random() < MARKED_WINDOWS:
            chosen = int(rng.integers(len(rows)))
            top, left = (int(at[chosen] - rng.integers(size // 4, size - size // 4)) for at in (rows, columns))
        corners.append((min(max(top, 0), height - size), min(max(left, 0), width - size)))
    return corners


def _windows(images: Tensor, corners: list[tuple[int, int]], size: int) -> Tensor:
    """One square of each image of (B, C, H, W)."""
    each = zip(images, corners, strict=True)
    return torch.stack([image[:, top : top + size, left : left + size] for image, (top, left) in each])


def bundle_facts(preset: Preset) -> dict[str, Any]:
    """What the export must know beside the weights: keys of `model.bundle.ModelSpec`, kept in `meta.json`."""
    way = preset.diffusion
    return {
        "grid": preset.grid,
        "process": way.process,
        "schedule": way.schedule,
        "path_noise": way.path_noise,
        "sampler": way.sampler,
        "eta": way.eta,
        "steps": way.sampling_steps,
        "offset_noise": way.offset_noise,
        "clipping": preset.clipping.model_dump(),
        "fusion": preset.fusion.model_dump(),
        "views": preset.views,
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
    networks : the finished autoencoder, which is not changed, and the denoiser; both are moved to ``run.device``.
    data : latents of simulated pairs (`training.latents.form_latents`), and real pairs to look at while training.
    run : ``run.folder`` gets `last/`, `best/` (by the real pairs), `sheets/` and `metrics.jsonl`.

    Raises
    ------
    TrainingError
        The loss is not finite, or a batch does not fit into memory.
    """
    autoencoder, model = networks
    shards, real = data
    training, sampling, device = preset.diffusion, sampling_of(preset), choose_device(run.device)
    autoencoder.to(device)

    def loss(network: nn.Module, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        assert isinstance(network, Denoiser)  # noqa: S101
        batch = shards.batch(training.batch, rng)
        return diffusion_loss(network, autoencoder, batch.to(device), training, rng)

    def validate(network: nn.Module, _step: int) -> dict[str, float]:
        assert isinstance(network, Denoiser) and real is not None  # noqa: S101, PT018
        return score_pairs(real, bone_layers(autoencoder, network, real.images(), sampling).numpy())

    def sheet(network: nn.Module) -> Rows:
        assert isinstance(network, Denoiser) and real is not None  # noqa: S101, PT018
        layers = bone_layers(autoencoder, network, real.images()[:SHEET_ROWS], sampling).numpy()
        return side_by_side(real, layers, preset.fusion)

    stage = Stage(
        name="diffusion",
        model=model,
        config=preset.denoiser,
        optimisation=training,
        loss=loss,
        validate=validate if real is not None else None,
        sheet=sheet if real is not None else None,
        provenance=provenance | {"bundle": bundle_facts(preset), "autoencoder_sha256": fingerprint(autoencoder)},
    )
    return run_stage(stage, run)
