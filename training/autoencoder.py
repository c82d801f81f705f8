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
from training.augment import random_frame, random_strength, random_tone
from training.loop import Outcome, Run, Stage, run_stage
from training.losses import gradient_difference, ms_ssim
from training.pairs import PairShards
from training.preset import AutoencoderTraining, Preset
from training.radiographs import Radiographs, from_bytes

__all__ = ["AutoencoderData", "autoencoder_loss", "train_autoencoder"]

PAIR_SHARE = 3  # one image in three is the radiograph of a pair, one its twin, the rest is real
ZOOM = (0.75, 1.5)
CALIBRATION_IMAGES = 8


@dataclass(frozen=True, slots=True)
class AutoencoderData:
    """Where images come from; one of the two may be missing."""

    pairs: PairShards | None
    radiographs: Radiographs | None

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
        source = self.radiographs
        assert source is not None  # noqa: S101  (an odd batch without radiographs is refused at the start)
        image = source.draw(rng)[None]
        return random_tone(random_frame(image, crop, rng, (ZOOM[0] * 0.8, ZOOM[1] * 0.8)), rng)[0]


def autoencoder_loss(
    model: Autoencoder, images: Tensor, pairs: int, training: AutoencoderTraining, rng: np.random.Generator
) -> tuple[Tensor, dict[str, float]]:
    """Weighted sum of the losses, and each of them.

    Parameters
    ----------
    images, pairs : as from `AutoencoderData.batch`.
    rng : draws the latent noise.
    """
    images = images.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=training.bfloat16):
        raw = model.encode_raw(images).float()
        if training.latent_noise:
            noise = torch.from_numpy(rng.standard_normal(tuple(raw.shape), dtype=np.float32))
            raw = raw + training.latent_noise * raw.detach().std(dim=(0, 2, 3), keepdim=True) * noise
        decoded, commitment = model.decode_raw(raw)
    decoded = decoded.float()
    parts = {
        "l1": functional.l1_loss(decoded, images),
        "mse": functional.mse_loss(decoded, images),
        "ms_ssim": _dissimilarity(decoded, images) if training.ms_ssim else decoded.new_zeros(()),
        "twin": _twin(decoded, images, pairs),
        "commitment": commitment,
    }
    loss = sum((getattr(training, name) * part for name, part in parts.items()), decoded.new_zeros(()))
    return loss, {name: float(part.detach()) for name, part in parts.items()}


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
def _psnr(model: Autoencoder, images: Tensor) -> float:
    """Reconstruction of images in [-1, 1], in dB over the range of 2."""
    return float(10 * torch.log10(4 / functional.mse_loss(model.decode(model.encode(images)), images)))


def _calibration(data: AutoencoderData, grid: int) -> Tensor:
    """A fixed sample of whole images for the latent statistics."""
    rng = np.random.default_rng(0)
    images = []
    for index in range(CALIBRATION_IMAGES):
        real = data.radiographs is not None and (data.pairs is None or index % 2 == 0)
        image = data.radiographs.draw(rng) if real and data.radiographs else data.pairs.draw(rng)[0]  # type: ignore[union-attr]
        images.append(functional.interpolate(image[None, None], size=(grid, grid), mode="area"))
    return torch.cat(images)


def train_autoencoder(preset: Preset, data: AutoencoderData, run: Run, provenance: dict[str, Any]) -> Outcome:
    """Train, or go on training, the autoencoder.

    Parameters
    ----------
    run : ``run.folder`` gets `last/`, `best/` and `metrics.jsonl`.
    provenance : kept in `meta.json`.

    Raises
    ------
    TrainingError
        The loss is not finite.
    """
    torch.manual_seed(run.seed)
    model = Autoencoder(preset.autoencoder).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sample = _calibration(data, preset.grid)
    held_out = None
    if data.radiographs is not None and len(data.radiographs.held_out):
        whole = from_bytes(data.radiographs.held_out[:10])[:, None]
        held_out = functional.interpolate(whole, size=(preset.grid, preset.grid), mode="area")

    def loss(network: nn.Module, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        assert isinstance(network, Autoencoder)  # noqa: S101
        images, pairs = data.batch(preset.autoencoder_training, rng)
        return autoencoder_loss(network, images, pairs, preset.autoencoder_training, rng)

    def prepare(network: nn.Module) -> None:
        assert isinstance(network, Autoencoder)  # noqa: S101
        with torch.no_grad():
            network.set_statistics(network.encode_raw(sample))

    def validate(network: nn.Module, _step: int) -> dict[str, float]:
        assert isinstance(network, Autoencoder)  # noqa: S101
        psnr = _psnr(network, sample if held_out is None else held_out)
        return {"score": psnr, "psnr_db": psnr}

    stage = Stage(
        name="autoencoder",
        model=model,
        config=preset.autoencoder,
        optimisation=preset.autoencoder_training,
        loss=loss,
        validate=validate,
        prepare=prepare,
        provenance=provenance,
    )
    return run_stage(stage, run)
