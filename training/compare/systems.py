"""Everything that is compared, behind one face: a radiograph on the grid in, soft tissue on the grid out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from model.bundle import FusionSpec
from pacs_node.imaging.fit import GridImage
from pacs_node.imaging.views import mean_layer, views
from pacs_node.records import FloatImage
from training.baselines.registry import BASELINES, BaselineName
from training.baselines.rival import Rival, load_baseline
from training.checkpoint import META, CheckpointError, load_refiner
from training.coarse import Sampler
from training.control import load_control
from training.diffusion import sampling_of
from training.preset import Preset
from training.validate import bone_layers, fused

__all__ = ["NAMES", "OURS", "TITLES", "Name", "System", "open_system"]

Name: TypeAlias = BaselineName | Literal["control", "ours"]
HALF = np.float32(0.5)  # from units of [-1, 1] to those of [0, 1]
OURS: Literal["ours"] = "ours"
NAMES: tuple[Name, ...] = (*BASELINES, "control", "ours")
TITLES: dict[Name, str] = {
    **{name: facts.title for name, facts in BASELINES.items()},
    "control": "one-pass U-Net (control)",
    "ours": "ours",
}


class System(Protocol):
    """A trained system on the CPU.

    Attributes
    ----------
    parameters : trained numbers that its output needs.
    """

    @property
    def parameters(self) -> int: ...

    def soft(self, image: GridImage, name: str) -> FloatImage:
        """Soft tissue (grid, grid) in [0, 1], the grid's range; ``name`` seeds what is random."""
        ...

    def flops(self, size: int) -> float:
        """Operations for one image of (size, size); multiplications and additions both count."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Rival:
    """A rival returns soft tissue itself."""

    rival: Rival

    @property
    def parameters(self) -> int:
        return self.rival.parameters

    @torch.no_grad()
    def soft(self, image: GridImage, name: str) -> FloatImage:
        found: FloatImage = self.rival.soft(torch.from_numpy(image.pixels)).float().numpy()[0, 0]
        return np.clip((found + 1) / 2, 0, 1)

    def flops(self, size: int) -> float:
        return float(self.rival.flops(size, size))


@dataclass(frozen=True, slots=True, eq=False)
class _Layered:
    """The control and ours find a bone layer, which is subtracted from the radiograph.

    Attributes
    ----------
    layer : (1, 1, H, W) in [-1, 1] and a seed -> (H, W), in the same units.
    """

    networks: tuple[nn.Module, ...]
    layer: Callable[[FloatImage, int], FloatImage]
    fusion: FusionSpec

    @property
    def parameters(self) -> int:
        return sum(weight.numel() for network in self.networks for weight in network.parameters())

    def soft(self, image: GridImage, name: str) -> FloatImage:
        layer = self.layer(image.pixels, _seed(name))
        return fused((image.pixels[0, 0] + 1) / 2, layer * HALF, image.placement, self.fusion)

    def flops(self, size: int) -> float:
        with FlopCounterMode(display=False) as counter:
            self.layer(np.zeros((1, 1, size, size), np.float32), 0)
        return float(counter.get_total_flops())


def open_system(name: Name, folder: Path, preset: Preset) -> System:
    """Open what a training left.

    Parameters
    ----------
    folder : of the training of a rival or of the control, or of a checkpoint in it; of the run of ours.
    preset : how the control and ours are fused, and how ours is sampled.

    Raises
    ------
    CheckpointError
        There is none, or its weights do not fit.
    """
    if name == "ours":
        return _ours(folder, preset)
    if name == "control":
        control = load_control(_checkpoint(folder))

        @torch.no_grad()
        def layer(image: FloatImage, _seed: int) -> FloatImage:
            found: FloatImage = control(torch.from_numpy(image))[0, 0].float().numpy()
            return found

        return _Layered((control,), layer, preset.fusion)
    return _Rival(load_baseline(folder / "last" if (folder / "last" / META).is_file() else folder))


def _ours(run: Path, preset: Preset) -> System:
    """Autoencoder, denoiser and refiner of a run, in as many views as the bundle of such a run takes."""
    sampler = Sampler.of(run, sampling_of(preset), torch.device("cpu"))
    refined = run / "refiner"
    refiner = load_refiner(_checkpoint(refined)) if refined.is_dir() else None
    several, moved = views(preset.views), sampler.autoencoder.config.downsampling // 2

    @torch.no_grad()
    def layer(image: FloatImage, seed: int) -> FloatImage:
        shown = torch.from_numpy(np.concatenate([view.shown(image, moved) for view in several]))
        found = (
            2 * bone_layers(sampler.autoencoder, sampler.denoiser, shown, replace(sampler.sampling, seed=seed)).numpy()
        )
        mean = mean_layer([view.undone(one, moved) for view, one in zip(several, found, strict=True)])
        if refiner is None:
            return mean
        sharp: Tensor = refiner(torch.from_numpy(image), torch.from_numpy(mean)[None, None])
        return sharp[0, 0].float().numpy()

    networks = (sampler.autoencoder, sampler.denoiser, *([refiner] if refiner is not None else []))
    return _Layered(networks, layer, preset.fusion)


def _checkpoint(folder: Path) -> Path:
    """A checkpoint itself, or the last one of a training: what a budget bought, chosen by nothing."""
    for place in (folder, folder / "last", folder / "control" / "last"):
        if (place / META).is_file():
            return place
    raise CheckpointError(f"{folder} holds no checkpoint: name the folder of a training")


def _seed(name: str) -> int:
    """The same pair always starts from the same noise."""
    return int.from_bytes(name.encode()[-7:])
