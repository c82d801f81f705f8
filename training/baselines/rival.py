"""A trained rival: soft tissue for images of any size, its weights counted, its work counted."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from training.baselines.bs_diff import BSDiff
from training.baselines.registry import BASELINES, Baseline, BaselineName, Scale
from training.checkpoint import META, WEIGHTS, CheckpointError, read_meta

__all__ = ["Rival", "checkpoint_of", "load_baseline", "multiple_of", "padded"]

FOLDER = "baselines"  # of a run


@dataclass(frozen=True, slots=True, eq=False)
class Rival:
    """A rival and its weights.

    Attributes
    ----------
    scale : of its sizes.
    network : in evaluation mode, frozen.
    steps : network evaluations of one that samples; 1 of the others.
    meta : of its checkpoint.
    """

    baseline: Baseline
    scale: Scale
    network: nn.Module
    steps: int
    meta: dict[str, Any]

    @property
    def name(self) -> BaselineName:
        """Of the rival, as on the command line."""
        return self.baseline.name

    @property
    def title(self) -> str:
        """In a table; says what was scaled down, and the steps of a sampler."""
        published = self.baseline.parameters("paper")
        facts = ["scaled down"] if self.parameters < published else ["untied"] if self.parameters > published else []
        if isinstance(self.network, BSDiff):
            facts.append(f"{self.steps} step{'s' if self.steps > 1 else ''}")
        return self.baseline.title + (f" ({', '.join(facts)})" if facts else "")

    @property
    def parameters(self) -> int:
        """Weights of the networks that make the picture."""
        return sum(weight.numel() for weight in self._sizes().parameters())

    def _sizes(self) -> nn.Module:
        """The network without its weights, to count with: exported, it is a graph."""
        with torch.device("meta"):
            return self.baseline.read(self.meta["config"]).eval()

    def soft(self, images: Tensor) -> Tensor:
        """Soft tissue of radiographs.

        Where the network works at a lower resolution of its own, the difference that it makes there is enlarged and
        subtracted, so that fine detail is the radiograph's; else it is the network's picture as it is.

        Parameters
        ----------
        images : (N, 1, H, W) in [-1, 1]; any H and W, padded by their edges to what the network needs.

        Returns
        -------
        (N, 1, H, W) in [-1, 1], on the CPU.
        """
        return self._each(images, self._soft)

    def plain(self, images: Tensor) -> Tensor:
        """The network's own picture, enlarged where it is of a lower resolution: as `soft` otherwise."""
        return self._each(images, self._plain)

    def layers(self, images: Tensor) -> Tensor:
        """What `soft` takes away: bone layers (N, 1, H, W) in units of [-1, 1]."""
        return images.cpu() - self.soft(images)

    def flops(self, height: int, width: int) -> float:
        """Floating-point operations for one image of that size, a multiplication and an addition being two."""
        network, image = self._sizes(), torch.zeros(1, 1, height, width, device="meta")
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            if isinstance(network, BSDiff):
                small = network.shrunk(image)
                for _ in range(self.steps):
                    network.predicted(small, torch.zeros(1, device="meta"), small)
                network.enhancement(small)
            else:
                network(padded(image, multiple_of(network)))
        return float(counter.get_total_flops())

    @torch.no_grad()
    def _each(self, images: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
        """One image at a time: memory then does not depend on how many there are."""
        weight = next(self.network.parameters(), images)  # graphs have none
        there = images.to(weight.device)
        return torch.cat([make(image[None]).float().clamp(-1, 1).cpu() for image in there])

    def _soft(self, image: Tensor) -> Tensor:
        if not isinstance(self.network, BSDiff):
            return self._plain(image)
        taken = self.network.shrunk(image) - self.network(image, self.steps)
        return image - functional.interpolate(taken, image.shape[-2:], mode="bilinear", align_corners=False)

    def _plain(self, image: Tensor) -> Tensor:
        if isinstance(self.network, BSDiff):
            drawn = self.network(image, self.steps)
            return functional.interpolate(drawn, image.shape[-2:], mode="bilinear", align_corners=False)
        soft: Tensor = self.network(padded(image, multiple_of(self.network)))
        return soft[..., : image.shape[-2], : image.shape[-1]]


def multiple_of(network: nn.Module) -> int:
    """What rows and columns of its images must be a multiple of."""
    found: int = network.config.multiple  # type: ignore[union-attr,assignment]  # every network here has a configuration
    return found


def padded(image: Tensor, multiple: int) -> Tensor:
    """Rows and columns repeated at the lower and right edge up to a multiple."""
    rows, columns = (-size % multiple for size in image.shape[-2:])
    return functional.pad(image, (0, columns, 0, rows), mode="replicate") if rows or columns else image


def checkpoint_of(folder: Path) -> Path:
    """The checkpoint that ``folder`` is or holds: `best/` before `last/`; also of a run with one rival in it."""
    inside = sorted(path for path in (folder / FOLDER).glob("*") if path.is_dir())
    places = [folder, folder / "best", folder / "last"]
    places += [inside[0] / kept for kept in ("best", "last")] if len(inside) == 1 else []
    return next((place for place in places if (place / META).is_file()), folder)


def load_baseline(folder: Path, *, steps: int | None = None, device: str | torch.device = "cpu") -> Rival:
    """A trained rival, frozen, in evaluation mode.

    Parameters
    ----------
    folder : a checkpoint, or RUN/baselines/NAME, of which `best/` is taken before `last/`.
    steps : of a rival that samples; its own number when None.

    Raises
    ------
    CheckpointError
        There is none, or its weights do not fit its description.
    """
    found = checkpoint_of(folder)
    meta = read_meta(found)
    group, _, name = str(meta.get("stage")).partition("/")
    if group != FOLDER or name not in BASELINES:
        raise CheckpointError(f"{found} holds the stage {meta.get('stage')}, no rival")
    baseline = BASELINES[name]
    network = baseline.read(meta["config"])
    try:
        network.load_state_dict(load_file(found / WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"the weights in {found} do not fit their description") from error
    own = network.config.steps if isinstance(network, BSDiff) else 1
    used = (steps or own) if isinstance(network, BSDiff) else 1
    scale: Scale = (meta.get("provenance") or {}).get("scale", "paper")
    return Rival(baseline, scale, network.to(device).eval().requires_grad_(False), used, meta)
