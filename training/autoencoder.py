"""First stage: the autoencoder, on real radiographs and on both twins of simulated pairs.

What ships is the difference of two decodes, so beside the usual losses one asks that the difference of the decoded
twins be the difference of the twins.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.autoencoder import Autoencoder
from training.adversarial import PatchDiscriminator, adversarial_losses
from training.augment import random_frame, random_strength, random_tone
from training.loop import Outcome, Run, Stage, run_stage
from training.losses import gradient_difference, ms_ssim
from training.parallel import choose_device
from training.perceptual import PerceptualDistance, load_perceptual
from training.preset import AutoencoderTraining, Preset
from training.radiographs import Radiographs, from_bytes
from training.sources import PairSource
from training.stage import Rows

__all__ = ["AutoencoderData", "Critics", "autoencoder_loss", "train_autoencoder"]

PAIR_SHARE = 3  # one image in three is the radiograph of a pair, one its twin, the rest is real
ZOOM = (0.75, 1.5)
REAL_ZOOM = (0.42, 1.05)  # of a radiograph of 1024 px: from the grid of 512 px to its own size
CALIBRATION_IMAGES = 8
HELD_OUT_SHOWN = 10  # of the held-out radiographs: enough for a mean, few enough to look at often
SHEET_ROWS = 4


@dataclass(frozen=True, slots=True)
class AutoencoderData:
    """Where images come from; one of the first two may be missing.

    Attributes
    ----------
    held_out : (N, 1, grid, grid) in [-1, 1], looked at while training; those of ``radiographs`` when None.
    """

    pairs: PairSource | None
    radiographs: Radiographs | None
    held_out: Tensor | None = None

    def batch(self, training: AutoencoderTraining, rng: np.random.Generator) -> tuple[Tensor, int]:
        """Images (B, 1, crop, crop) in [-1, 1] and the number P of pairs: 0..P are radiographs, P..2P their twins."""
        count = self._pairs(training.batch)
        stacks = [self._pair(training.crop, rng) for _ in range(count)]
        images = [stack[0] for stack in stacks] + [stack[1] for stack in stacks]
        images += [self._real(training.crop, rng) for _ in range(training.batch - 2 * count)]
        return torch.stack(images)[:, None], count

    def _pairs(self, batch: int) -> int:
        if self.pairs is None:
            return 0
        return max(1, batch // PAIR_SHARE) if self.radiographs is not None else batch // 2

    def _pair(self, crop: int, rng: np.random.Generator) -> Tensor:
        assert self.pairs is not None  # noqa: S101  (only called where there are pairs)
        cxr, soft = self.pairs.draw(rng)
        stack = torch.stack([random_strength(cxr, soft, rng), soft])
        return random_tone(random_frame(stack, crop, rng, ZOOM), rng)

    def _real(self, crop: int, rng: np.random.Generator) -> Tensor:
        """A radiograph without a twin; where there is none, that of a pair, for an odd batch."""
        if self.radiographs is None:
            return self._pair(crop, rng)[0]
        image = self.radiographs.draw(rng)[None]
        return random_tone(random_frame(image, crop, rng, REAL_ZOOM), rng)[0]


@dataclass(frozen=True, slots=True)
class Critics:
    """What judges a reconstruction: the weights of the losses, and the networks that those other than 0 ask for."""

    training: AutoencoderTraining
    perceptual: PerceptualDistance | None = None
    discriminator: PatchDiscriminator | None = None

    @classmethod
    def of(cls, training: AutoencoderTraining, device: torch.device) -> "Critics":
        """Load and build what the weights ask for.

        Raises
        ------
        PerceptualWeightsError
            The perceptual weights are not to be found.
        """
        perceptual = load_perceptual().to(device) if training.perceptual else None
        return cls(training, perceptual, PatchDiscriminator() if training.adversarial else None)


def autoencoder_loss(
    model: Autoencoder,
    images: Tensor,
    pairs: int,
    critics: Critics,
    rng: np.random.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """Weighted sum of the losses (Eq. 7 of BS-LDM, MS-SSIM, twins), and each of them.

    Parameters
    ----------
    images, pairs : as from `AutoencoderData.batch`, on the model's device.
    critics : the weights, and the networks that they ask for. The discriminator's own loss is part of the sum.
    rng : draws the latent noise.
    """
    training = critics.training
    images = images.to(memory_format=torch.channels_last)
    decoded, commitment = _through(model, images, training, rng)
    parts = {
        "l1": functional.l1_loss(decoded, images),
        "mse": functional.mse_loss(decoded, images),
        "ms_ssim": _dissimilarity(decoded, images) if training.ms_ssim else decoded.new_zeros(()),
        "twin": _twin(decoded, images, pairs),
        "commitment": commitment,
    }
    opposed = {}
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=training.bfloat16):
        if critics.perceptual is not None:
            parts["perceptual"] = critics.perceptual(decoded, images).mean()
        if critics.discriminator is not None:
            parts["adversarial"], opposed["discriminator"] = adversarial_losses(critics.discriminator, images, decoded)
    loss = sum((getattr(training, name) * part for name, part in parts.items()), decoded.new_zeros(()))
    loss = sum(opposed.values(), loss)
    return loss, {name: float(part.detach()) for name, part in (parts | opposed).items()}


def _through(
    model: Autoencoder, images: Tensor, training: AutoencoderTraining, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Images through noisy latents and back, and the commitment loss of a quantised bottleneck."""
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=training.bfloat16):
        raw = model.encode_raw(images).float()
        if training.latent_noise:
            noise = torch.from_numpy(rng.standard_normal(tuple(raw.shape), dtype=np.float32)).to(raw.device)
            raw = raw + training.latent_noise * raw.detach().std(dim=(0, 2, 3), keepdim=True) * noise
        decoded, commitment = model.decode_raw(raw)
    return decoded.float(), commitment


def _dissimilarity(decoded: Tensor, images: Tensor) -> Tensor:
    """1 - MS-SSIM without its finest scale, which has 4 % of the weight and three quarters of the cost."""
    return 1 - ms_ssim(functional.avg_pool2d(decoded, 2), functional.avg_pool2d(images, 2)).mean()


def _twin(decoded: Tensor, images: Tensor, pairs: int) -> Tensor:
    """Error of the difference of decoded twins, and of its edges."""
    if not pairs:
        return decoded.new_zeros(())
    got = decoded[:pairs] - decoded[pairs : 2 * pairs]
    wanted = images[:pairs] - images[pairs : 2 * pairs]
    return functional.l1_loss(got, wanted) + gradient_difference(got, wanted)


@torch.no_grad()
def _reconstructed(model: Autoencoder, images: Tensor) -> Tensor:
    """Through the latents and back, one image at a time: (N, 1, H, W), on the CPU."""
    device = model.latent_mean.device
    return torch.cat([model.decode(model.encode(image[None].to(device))).float().cpu() for image in images])


def _psnr(model: Autoencoder, images: Tensor) -> float:
    """Reconstruction of images in [-1, 1], in dB over the range of 2."""
    return float(10 * torch.log10(4 / functional.mse_loss(_reconstructed(model, images), images)))


def _codes_used(model: Autoencoder) -> dict[str, float]:
    """How many codes were chosen lately: half a choice in their moving count."""
    return {} if model.quantizer is None else {"codes_used": float((model.quantizer.counts > 0.5).sum())}


def _sheet(model: Autoencoder, images: Tensor) -> Rows:
    """Image, reconstruction, and ten times what differs, about grey."""
    rows = []
    for image, got in zip(images[:SHEET_ROWS], _reconstructed(model, images[:SHEET_ROWS]), strict=True):
        wanted, found = (image[0] + 1) / 2, (got[0] + 1) / 2
        rows.append([wanted.numpy(), found.numpy(), (0.5 + 10 * (wanted - found)).numpy()])
    return rows


def _calibration(data: AutoencoderData, grid: int) -> Tensor:
    """A fixed sample of whole images for the latent statistics."""
    rng = np.random.default_rng(0)
    images = []
    for index in range(CALIBRATION_IMAGES):
        real = data.radiographs is not None and (data.pairs is None or index % 2 == 0)
        image = data.radiographs.draw(rng) if real and data.radiographs else data.pairs.draw(rng)[0]  # type: ignore[union-attr]
        images.append(functional.interpolate(image[None, None], size=(grid, grid), mode="area"))
    return torch.cat(images)


def _held_out(data: AutoencoderData, grid: int) -> Tensor | None:
    """Real radiographs that are never trained on, whole, (N, 1, grid, grid) in [-1, 1]."""
    if data.held_out is not None:
        return data.held_out
    if data.radiographs is None or not len(data.radiographs.held_out):
        return None
    whole = from_bytes(data.radiographs.held_out[:HELD_OUT_SHOWN])[:, None]
    return functional.interpolate(whole, size=(grid, grid), mode="area")


def train_autoencoder(preset: Preset, data: AutoencoderData, run: Run, provenance: dict[str, Any]) -> Outcome:
    """Train, or go on training, the autoencoder.

    Parameters
    ----------
    run : ``run.folder`` gets `last/`, `best/`, `sheets/` and `metrics.jsonl`.
    provenance : kept in `meta.json`.

    Raises
    ------
    TrainingError
        The loss is not finite, or a batch does not fit into memory.
    PerceptualWeightsError
        The preset asks for the perceptual loss, and its weights are not to be found.
    """
    torch.manual_seed(run.seed)
    training, device = preset.autoencoder_training, choose_device(run.device)
    model = Autoencoder(preset.autoencoder).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sample, critics = _calibration(data, preset.grid), Critics.of(training, device)
    shown = _held_out(data, preset.grid)
    shown = sample if shown is None else shown

    def loss(network: nn.Module, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        assert isinstance(network, Autoencoder)  # noqa: S101
        images, pairs = data.batch(training, rng)
        return autoencoder_loss(network, images.to(device), pairs, critics, rng)

    def prepare(network: nn.Module) -> None:
        assert isinstance(network, Autoencoder)  # noqa: S101
        with torch.no_grad():  # one at a time: whole images are larger than the crops of a batch
            network.set_statistics(torch.cat([network.encode_raw(image[None].to(device)) for image in sample]))

    def validate(network: nn.Module, _step: int) -> dict[str, float]:
        assert isinstance(network, Autoencoder)  # noqa: S101
        psnr = _psnr(network, shown)
        return {"score": psnr, "psnr_db": psnr} | _codes_used(network)

    def sheet(network: nn.Module) -> Rows:
        assert isinstance(network, Autoencoder)  # noqa: S101
        return _sheet(network, shown)

    stage = Stage(
        name="autoencoder",
        model=model,
        config=preset.autoencoder,
        optimisation=training,
        loss=loss,
        validate=validate,
        prepare=prepare,
        provenance=provenance,
        sheet=sheet,
        opponent=critics.discriminator,
        opponent_learning_rate=training.discriminator_learning_rate,
    )
    return run_stage(stage, run)
