"""BS-Diff of Chen et al. (2023): a diffusion in pixel space that is given the radiograph, then an enhancement."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.bundle import ClippingSpec
from model.sampler import Prediction, Recipe, sample
from model.schedule import alpha_sigma
from training.adversarial import adversarial_losses
from training.baselines.diffusion_unet import DiffusionUNet, DiffusionUNetConfig
from training.baselines.enhancement import Enhancement, EnhancementConfig
from training.losses import ms_ssim
from training.perceptual import PerceptualDistance
from training.stage import Scores

__all__ = ["BSDiff", "BSDiffConfig", "DiffusionAndEnhancement"]

SEED = 0  # of the noise that a picture is drawn from, unless told otherwise


@dataclass(frozen=True, slots=True)
class BSDiffConfig:
    """Sizes; the published ones have 254.7 M weights, both networks together.

    Attributes
    ----------
    side : px of the longer side of what the networks see; images of another size are averaged down to it.
    steps : of the sampler, unless told otherwise: `ddpm` where there are 1000 (all that were trained), else `ddim`.
    prediction : what the denoiser predicts; published is `eps`, which few steps cannot start from.
    residual : the denoiser's output is added to the radiograph; untrained, nothing is taken away. Not published.
    """

    side: int = 256
    steps: int = 1000
    prediction: Prediction = "eps"
    residual: bool = False
    unet: DiffusionUNetConfig = field(default_factory=DiffusionUNetConfig)
    enhancement: EnhancementConfig = field(default_factory=EnhancementConfig)

    @property
    def multiple(self) -> int:
        """Of its own size it takes care itself."""
        return 1


class BSDiff(nn.Module):
    """Both networks and the way from a radiograph to soft tissue.

    References
    ----------
    Chen et al., BS-Diff (arXiv 2311.15328), section 2.
    """

    def __init__(self, config: BSDiffConfig) -> None:
        super().__init__()
        self.config = config
        self.denoiser, self.enhancement = DiffusionUNet(config.unet), Enhancement(config.enhancement)

    def predicted(self, x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """Noise, or clean soft tissue (`config.prediction`): (B, 1, h, w); the times are (B,) in [0, 1]."""
        out: Tensor = self.denoiser(x_t, t, condition)
        return condition + out if self.config.residual else out

    def drawn(self, condition: Tensor, steps: int | None = None, seed: int = SEED) -> Tensor:
        """Soft tissue from noise, before the enhancement: (B, 1, h, w) in [-1, 1], of the size of the networks."""
        count = steps or self.config.steps
        clipping = ClippingSpec(kind="static", bound=1.0)
        recipe = Recipe(self.config.prediction, clipping, sampler="ddpm" if count == 1000 else "ddim", offset_noise=0.0)

        def predict(x_t: Tensor, t: float) -> Tensor:
            return self.predicted(x_t, torch.full((len(x_t),), t, device=x_t.device), condition).float()

        soft: Tensor = sample(predict, condition, recipe, count, seed)
        return soft

    def forward(self, image: Tensor, steps: int | None = None, seed: int = SEED) -> Tensor:
        """Radiographs (B, 1, H, W) in [-1, 1] -> soft tissue of the size of the networks, (B, 1, h, w)."""
        soft: Tensor = self.enhancement(self.drawn(self.shrunk(image), steps, seed))
        return soft.clamp(-1, 1)

    def shrunk(self, image: Tensor) -> Tensor:
        """Images at the size of the networks, by averaging: the longer side is ``side``, all sides multiples."""
        multiple, longer = self.config.unet.multiple, max(image.shape[-2:])
        size = [max(round(n * self.config.side / longer / multiple), 1) * multiple for n in image.shape[-2:]]
        return functional.interpolate(image, size, mode="area")


@dataclass(frozen=True, slots=True)
class DiffusionAndEnhancement:
    """Both stages at once: squared error of the prediction; then what the enhancement makes of the denoiser's guess.

    The guess is the clean image that the denoiser's output stands for, detached, at the times that were drawn: so both
    networks learn in one training. Published is one training after the other, the second on finished samples.
    """

    opponent: nn.Module
    perceptual: PerceptualDistance | None
    perceptual_weight: float = 1e-3
    adversarial_weight: float = 1e-2
    bfloat16: bool = True

    def __call__(
        self, model: nn.Module, twins: tuple[Tensor, Tensor], rng: np.random.Generator
    ) -> tuple[Tensor, Scores]:
        """See `training.baselines.objectives.Objective`."""
        assert isinstance(model, BSDiff)  # noqa: S101
        cxr, soft = (model.shrunk(image) for image in twins)
        t = rng.uniform(0, 1, len(soft)).astype(np.float32)
        alpha, sigma = (torch.from_numpy(level).to(soft)[:, None, None, None] for level in alpha_sigma(t))
        noise = torch.from_numpy(rng.standard_normal(tuple(soft.shape), dtype=np.float32)).to(soft)
        x_t = alpha * soft + sigma * noise
        with torch.autocast(soft.device.type, dtype=torch.bfloat16, enabled=self.bfloat16):
            predicted = model.predicted(x_t, torch.from_numpy(t).to(soft), cxr)
        predicted = predicted.float()
        told_apart = model.config.prediction == "eps"
        guess = (x_t - sigma * predicted) / alpha if told_apart else predicted
        error = functional.mse_loss(predicted, noise if told_apart else soft)
        enhanced, parts = self._enhanced(model, guess.detach().clamp(-1, 1), soft)
        parts |= {"diffusion": float(error.detach()), "identity_l1": float((cxr - soft).abs().mean())}
        return error + enhanced, parts

    def _enhanced(self, model: BSDiff, guess: Tensor, soft: Tensor) -> tuple[Tensor, Scores]:
        with torch.autocast(soft.device.type, dtype=torch.bfloat16, enabled=self.bfloat16):
            made = model.enhancement(guess)
            sides = adversarial_losses(self.opponent, soft, made.float())
        made = made.float()
        parts = {"l1": functional.l1_loss(made, soft), "dissimilarity": 1 - ms_ssim(made, soft).mean()}
        loss = parts["l1"] + parts["dissimilarity"] + self.adversarial_weight * sides[0] + sides[1]
        if self.perceptual is not None:
            parts["perceptual"] = self.perceptual(made, soft).mean()
            loss = loss + self.perceptual_weight * parts["perceptual"]
        parts |= {"fooled": sides[0], "judged": sides[1]}
        return loss, {name: float(part.detach()) for name, part in parts.items()}
