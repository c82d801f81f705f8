"""What each rival is trained for: the loss of its paper, in the words of the one loop."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.adversarial import adversarial_losses
from training.losses import ms_ssim
from training.stage import Scores

__all__ = ["Adversarial", "Objective", "Similarity"]


class Objective(Protocol):
    """A loss of a batch, and the network that is trained against the model, where there is one."""

    @property
    def opponent(self) -> nn.Module | None:
        """Another network that is trained against the model, with a learning rate of its own."""
        ...

    def __call__(
        self, model: nn.Module, twins: tuple[Tensor, Tensor], rng: np.random.Generator
    ) -> tuple[Tensor, Scores]:
        """The loss and its parts for radiographs and their soft tissue, each (B, 1, H, W) in [-1, 1]."""
        ...


def _computed(model: nn.Module, cxr: Tensor, *, bfloat16: bool) -> Tensor:
    with torch.autocast(cxr.device.type, dtype=torch.bfloat16, enabled=bfloat16):
        soft: Tensor = model(cxr)
    return soft.float()


def _told(parts: dict[str, Tensor], twins: tuple[Tensor, Tensor]) -> Scores:
    """Also what the untouched radiograph would score: the figure to compare with."""
    told = {name: float(part.detach()) for name, part in parts.items()}
    return told | {"identity_l1": float((twins[0] - twins[1]).abs().mean())}


@dataclass(frozen=True, slots=True)
class Similarity:
    """``.84 (1 - MS-SSIM) + .16 error`` with the error on [0, 1]: of Gusarev (mse) and of ResNet-BS (mae).

    References
    ----------
    Zhao et al. (2017), where the weights are from.
    """

    error: Literal["mse", "mae"]
    bfloat16: bool = True
    opponent: None = None

    def __call__(
        self, model: nn.Module, twins: tuple[Tensor, Tensor], rng: np.random.Generator
    ) -> tuple[Tensor, Scores]:
        """See `Objective`; draws nothing."""
        del rng
        cxr, soft = twins
        made = _computed(model, cxr, bfloat16=self.bfloat16)
        difference = (made - soft) / 2
        parts = {
            "ms_ssim": ms_ssim(made, soft).mean(),
            "error": difference.pow(2).mean() if self.error == "mse" else difference.abs().mean(),
        }
        return 0.84 * (1 - parts["ms_ssim"]) + 0.16 * parts["error"], _told(parts, twins)


@dataclass(frozen=True, slots=True)
class Adversarial:
    """``LSGAN + 50 L1`` of MCA-Net, against a discriminator that sees the radiograph too."""

    opponent: nn.Module
    l1: float = 50.0
    bfloat16: bool = True
    weight: float = field(default=1.0)  # of the adversarial part

    def __call__(
        self, model: nn.Module, twins: tuple[Tensor, Tensor], rng: np.random.Generator
    ) -> tuple[Tensor, Scores]:
        """See `Objective`; draws nothing. The sum of both sides, each detached from the other's weights."""
        del rng
        cxr, soft = twins
        made = _computed(model, cxr, bfloat16=self.bfloat16)
        with torch.autocast(cxr.device.type, dtype=torch.bfloat16, enabled=self.bfloat16):
            sides = adversarial_losses(self.opponent, torch.cat([soft, cxr], dim=1), torch.cat([made, cxr], dim=1))
        parts = {"l1": functional.l1_loss(made, soft), "fooled": sides[0], "judged": sides[1]}
        return self.l1 * parts["l1"] + self.weight * sides[0] + sides[1], _told(parts, twins)
