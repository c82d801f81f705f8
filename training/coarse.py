"""What the refiner starts from: bone layers as the frozen networks sample them, beside the true ones, kept in shards.

Sampling a framing costs as much as a training step, and one framing gives many crops; so they are sampled once.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn

from export.fingerprint import fingerprint
from model.autoencoder import Autoencoder
from model.denoiser import Denoiser
from pacs_node.imaging.views import View, mean_layer
from training.checkpoint import META, CheckpointError, load_autoencoder, load_denoiser, read_meta
from training.latents import random_twins, shadowed_twins, write_array
from training.pairs import open_shard
from training.sources import PairSource
from training.validate import Sampling, bone_layers

__all__ = ["CoarseBatch", "CoarseShards", "Sampler", "denoiser_folder", "form_coarse"]

SHARD = 50
PLANES_WITH_PLAIN = 6
SHOWN = (View(), View(moved=True))  # two of the ways in which the service shows an image


@dataclass(frozen=True, slots=True)
class CoarseBatch:
    """What the refiner learns from, each (B, 1, H, W).

    Attributes
    ----------
    cxr : radiographs in [-1, 1].
    layer, coarse : true and sampled bone layers, radiograph minus soft tissue, in the same units.
    mark : in [0, 1], where `random_shadows` put what is no bone; None where none were drawn so.
    plain, plain_coarse : radiograph and sampled layer without those shadows; None where they were not kept.
    """

    cxr: Tensor
    layer: Tensor
    coarse: Tensor
    mark: Tensor | None = None
    plain: Tensor | None = None
    plain_coarse: Tensor | None = None

    def to(self, device: torch.device) -> "CoarseBatch":
        """The same on ``device``."""
        more = (None if each is None else each.to(device) for each in (self.mark, self.plain, self.plain_coarse))
        return CoarseBatch(self.cxr.to(device), self.layer.to(device), self.coarse.to(device), *more)


def denoiser_folder(run: Path) -> Path:
    """The denoiser that the export of a run takes: the best one, else the last."""
    best, last = (run / "diffusion" / name for name in ("best", "last"))
    return best if (best / META).is_file() else last


@dataclass(frozen=True, slots=True)
class Sampler:
    """The frozen networks of a run, on one device, and how they are sampled."""

    autoencoder: Autoencoder
    denoiser: Denoiser
    sampling: Sampling

    @classmethod
    def of(cls, run: Path, sampling: Sampling, device: torch.device) -> "Sampler":
        """Open those of a run.

        Raises
        ------
        CheckpointError
            One is missing, or the denoiser was trained on another autoencoder.
        """
        folder = denoiser_folder(run)
        autoencoder, denoiser = load_autoencoder(run / "autoencoder" / "last"), load_denoiser(folder)
        known = (read_meta(folder).get("provenance") or {}).get("autoencoder_sha256")
        if known not in (None, fingerprint(autoencoder)):
            raise CheckpointError(f"{folder} was trained on another autoencoder than autoencoder/last: train it anew")
        for network in (autoencoder, denoiser):
            network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(autoencoder, denoiser, sampling)

    def named(self) -> dict[str, nn.Module]:
        """The networks by name, as provenance and claims call them."""
        return {"autoencoder": self.autoencoder, "denoiser": self.denoiser}

    def layers(self, images: Tensor, seed: int = 0) -> Tensor:
        """Bone layers as sampled, each the mean over the image and the image moved by half a latent.

        Parameters
        ----------
        images : (N, 1, H, W) in [-1, 1].
        seed : of the noise.

        Returns
        -------
        (N, 1, H, W) float32 on the CPU, in the units of the images.
        """
        moved, sampling = self.autoencoder.config.downsampling // 2, replace(self.sampling, seed=seed)
        layers = []
        for image in images.numpy()[:, 0]:
            shown = torch.from_numpy(np.stack([view.shown(image, moved) for view in SHOWN]))[:, None]
            found = 2 * bone_layers(self.autoencoder, self.denoiser, shown, sampling).numpy()
            layers.append(mean_layer([view.undone(layer, moved) for view, layer in zip(SHOWN, found, strict=True)]))
        return torch.from_numpy(np.stack(layers))[:, None]


def form_coarse(  # noqa: PLR0913 (from what, where to, how many, how large, and of which kind)
    sampler: Sampler,
    pairs: PairSource,
    folder: Path,
    *,
    count: int,
    grid: int,
    shadows: bool = False,
    plain: bool = False,
) -> int:
    """Sample the bone layers of ``count`` random framings into shards of 50; shards that are there are kept.

    Each shard is (N, 3, grid, grid) float16: radiograph, true layer, sampled layer, see `CoarseBatch`; with a fourth
    plane, the mark, where ``shadows`` puts `random_shadows` in the place of `random_nodules`; with two more, radiograph
    and sampled layer without the shadows, where ``plain`` asks for them.

    Returns
    -------
    Number of framings sampled now.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {number: min(SHARD, count - number * SHARD) for number in range(-(-count // SHARD))}
    missing = {number: size for number, size in sizes.items() if not (folder / f"{number:04d}.npy").exists()}
    formed = sum(missing.values())
    with Progress(console=Console(stderr=True), disable=not formed) as bar:
        task = bar.add_task("sampling framings", total=formed)
        for number, size in missing.items():
            rng, items = np.random.default_rng([number, 0xC0A5]), []
            for _ in range(size):
                items.append(_planes(sampler, *_drawn(pairs, grid, rng, shadows, plain), int(rng.integers(2**63))))
                bar.advance(task)
            write_array(folder / f"{number:04d}.npy", np.stack(items))
    return formed


Drawn = tuple[Tensor, Tensor | None, Tensor | None]  # twins, mark, radiograph without shadows


def _drawn(pairs: PairSource, grid: int, rng: np.random.Generator, shadows: bool, plain: bool) -> Drawn:
    if not shadows:
        return random_twins(pairs, grid, rng), None, None
    without, twins, mark = shadowed_twins(pairs, grid, rng)
    return twins, mark, without[0] if plain else None


def _planes(
    sampler: Sampler, twins: Tensor, mark: Tensor | None, plain: Tensor | None, seed: int
) -> NDArray[np.float16]:
    cxr, soft = twins
    planes = [cxr, cxr - soft, sampler.layers(cxr[None, None], seed)[0, 0]]
    if mark is not None:
        planes.append(mark)
    if plain is not None:  # of the same noise: what differs comes from the shadows
        planes += [plain, sampler.layers(plain[None, None], seed)[0, 0]]
    return torch.stack(planes).numpy().astype(np.float16)


class CoarseShards:
    """Every sampled framing of a folder, mapped into memory.

    Raises
    ------
    FileNotFoundError
        The folder has no shard.
    ConfigError
        A shard is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.shards = [open_shard(path) for path in sorted(folder.glob("*.npy"))]
        if not self.shards:
            raise FileNotFoundError(f"no shard of sampled layers in {folder}")
        self.places = [(shard, row) for shard, rows in enumerate(self.shards) for row in range(len(rows))]
        planes = np.array([self.shards[shard].shape[1] for shard, _ in self.places])
        alike = {count: np.flatnonzero(planes == count) for count in set(planes.tolist())}
        self.kinds = [alike[count] for count in planes.tolist()]  # of each framing, those with as many planes

    def __len__(self) -> int:
        return len(self.places)

    @property
    def have_plain(self) -> bool:
        """Whether some framings are there without their shadows, too."""
        return any(shard.shape[1] == PLANES_WITH_PLAIN for shard in self.shards)

    def batch(self, size: int, crop: int, rng: np.random.Generator) -> CoarseBatch:
        """``size`` different framings at random (the same one twice only where there are fewer), cropped and mirrored.

        All of a batch hold the same planes, those of a framing that is drawn first.

        Parameters
        ----------
        crop : rows and columns; the whole framing where it has no more.
        """
        alike = self.kinds[int(rng.integers(len(self)))]
        chosen = rng.choice(alike, size, replace=len(alike) < size)
        crops = np.stack([self._crop(*self.places[int(index)], crop, rng) for index in chosen])
        return CoarseBatch(*torch.from_numpy(crops.astype(np.float32)).unbind(dim=1))

    def _crop(self, shard: int, row: int, crop: int, rng: np.random.Generator) -> NDArray[np.float16]:
        """(3, 4 or 6, 1, crop, crop)."""
        whole = self.shards[shard][row]
        top, left = (int(rng.integers(max(side - crop, 0) + 1)) for side in whole.shape[-2:])
        part: NDArray[np.float16] = whole[:, None, top : top + crop, left : left + crop]
        return part[..., ::-1] if rng.random() < 0.5 else part
