"""Simulated pairs in the autoencoder's latents, framed and toned at random, encoded once and kept in shards.

Encoding costs as much as a step of the denoiser; a few thousand framings, each seen with many noises, are enough.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.nn import functional

from model.autoencoder import Autoencoder
from training.augment import random_frame, random_nodules, random_strength, random_tone
from training.pairs import open_shard
from training.shadows import random_shadows
from training.sources import PairSource

__all__ = [
    "LatentBatch",
    "LatentShards",
    "form_latents",
    "marked_twins",
    "random_twins",
    "shadowed_twins",
    "write_array",
]

ZOOM = (0.85, 1.4)
LARGEST_GRAIN = 0.03  # standard deviation of noise added to both twins, in units of [-1, 1]
SHARD = 50
FIELDS, MARK = ("condition", "soft", "layer"), "mark"


@dataclass(frozen=True, slots=True)
class LatentBatch:
    """What the denoiser learns from.

    Attributes
    ----------
    condition, soft : (B, C, h, w) standardised latents of the radiographs and of their soft-tissue twins.
    layer : (B, 1, H, W) true bone layers, radiograph minus twin, in units of [-1, 1].
    mark : (B, 1, h, w) in [0, 1], where `random_shadows` put what is no bone; None where none were drawn so.
    """

    condition: Tensor
    soft: Tensor
    layer: Tensor
    mark: Tensor | None = None

    def to(self, device: torch.device) -> "LatentBatch":
        """The same on ``device``."""
        mark = None if self.mark is None else self.mark.to(device)
        return LatentBatch(self.condition.to(device), self.soft.to(device), self.layer.to(device), mark)


def random_twins(pairs: PairSource, grid: int, rng: np.random.Generator) -> Tensor:
    """One pair, randomly framed, toned and grained: (2, grid, grid) in [-1, 1], the radiograph first."""
    twins = random_tone(random_nodules(_framed(pairs, grid, rng), rng), rng)
    return (twins + _grain(grid, rng)).clamp(-1, 1)


def marked_twins(pairs: PairSource, grid: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The same with `random_shadows` in both twins, and their mark (grid, grid) in [0, 1]."""
    _, twins, mark = shadowed_twins(pairs, grid, rng)
    return twins, mark


def shadowed_twins(pairs: PairSource, grid: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """One pair without and with `random_shadows`, in one frame, tone and grain, and the mark of the shadows."""
    plain = random_tone(_framed(pairs, grid, rng), rng)
    twins, mark = random_shadows(plain, rng)
    grain = _grain(grid, rng)
    return (plain + grain).clamp(-1, 1), (twins + grain).clamp(-1, 1), mark


def _framed(pairs: PairSource, grid: int, rng: np.random.Generator) -> Tensor:
    cxr, soft = pairs.draw(rng)
    return random_frame(torch.stack([random_strength(cxr, soft, rng), soft]), grid, rng, ZOOM)


def _grain(grid: int, rng: np.random.Generator) -> Tensor:
    """(1, grid, grid), the same for both twins."""
    grain = torch.from_numpy(rng.standard_normal((1, grid, grid), dtype=np.float32))
    return rng.uniform(0, LARGEST_GRAIN) * grain


@torch.no_grad()
def form_latents(  # noqa: PLR0913 (from what, where to, how many, how large, and of which kind)
    autoencoder: Autoencoder, pairs: PairSource, folder: Path, *, count: int, grid: int, shadows: bool = False
) -> int:
    """Encode ``count`` random framings into shards of 50; shards that are there already are kept.

    Parameters
    ----------
    shadows : draw `random_shadows` in the place of `random_nodules`, and keep their mark.

    Returns
    -------
    Number of pairs encoded now.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {number: min(SHARD, count - number * SHARD) for number in range(-(-count // SHARD))}
    missing = {n: size for n, size in sizes.items() if not (folder / f"{n:04d}-{FIELDS[-1]}.npy").exists()}
    formed = sum(missing.values())
    with Progress(console=Console(stderr=True), disable=not formed) as bar:
        task = bar.add_task("encoding framings", total=formed)
        for number, size in missing.items():
            rng, items = np.random.default_rng([number, 0x1A7E]), []
            for _ in range(size):
                twins, mark = marked_twins(pairs, grid, rng) if shadows else (random_twins(pairs, grid, rng), None)
                items.append((_marked(mark, autoencoder), *_encode(autoencoder, twins)))
                bar.advance(task)
            marks, *fields = zip(*items, strict=True)
            if shadows:
                write_array(folder / f"{number:04d}-{MARK}.npy", np.stack(marks))
            for field, arrays in zip(FIELDS, fields, strict=True):
                write_array(folder / f"{number:04d}-{field}.npy", np.stack(arrays))
    return formed


def _marked(mark: Tensor | None, autoencoder: Autoencoder) -> NDArray[np.float16]:
    """The largest mark of the pixels of each latent, (1, h, w); nothing for None."""
    if mark is None:
        return np.zeros(0, np.float16)
    pooled = functional.max_pool2d(mark[None], autoencoder.config.downsampling)
    return np.asarray(pooled.numpy(), dtype=np.float16)


def _encode(autoencoder: Autoencoder, twins: Tensor) -> tuple[NDArray[np.float16], ...]:
    device = autoencoder.latent_mean.device
    images = twins[:, None].to(device, memory_format=torch.channels_last)
    with torch.autocast(device.type, dtype=torch.bfloat16):  # rounds to a tenth of the noise that latents were made for
        condition, soft = autoencoder.encode(images).float().cpu().numpy().astype(np.float16)
    return condition, soft, (twins[:1] - twins[1:]).numpy().astype(np.float16)


def write_array(path: Path, values: NDArray[np.float16]) -> None:
    """Write one shard, so that a crash leaves none or a whole one."""
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as stream:
        np.save(stream, values)
    temporary.replace(path)


class LatentShards:
    """Every encoded pair of a folder, mapped into memory.

    Raises
    ------
    FileNotFoundError
        The folder has no complete shard.
    ConfigError
        A shard is damaged.
    """

    def __init__(self, folder: Path) -> None:
        last = sorted(folder.glob(f"*-{FIELDS[-1]}.npy"))  # written last: the other two are there
        stems = [path.name.removesuffix(f"-{FIELDS[-1]}.npy") for path in last]
        if not stems:
            raise FileNotFoundError(f"no shard of latents in {folder}")
        marked = all((folder / f"{stem}-{MARK}.npy").exists() for stem in stems)
        fields = (*FIELDS, MARK) if marked else FIELDS
        self.shards = [[open_shard(folder / f"{stem}-{field}.npy") for field in fields] for stem in stems]
        self.places = [(shard, row) for shard, arrays in enumerate(self.shards) for row in range(len(arrays[0]))]

    def __len__(self) -> int:
        return len(self.places)

    def batch(self, size: int, rng: np.random.Generator) -> LatentBatch:
        """``size`` different pairs at random (the same one twice only where there are fewer)."""
        chosen = rng.choice(len(self), size, replace=len(self) < size)
        places = [self.places[int(index)] for index in chosen]
        fields = range(len(self.shards[0]))
        columns = [np.stack([self.shards[shard][field][row] for shard, row in places]) for field in fields]
        return LatentBatch(*(torch.from_numpy(column.astype(np.float32)) for column in columns))
