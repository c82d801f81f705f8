"""Simulated pairs, formed once and kept in shards: reading them costs nothing, forming them costs seconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from pacs_node.errors import ConfigError
from pacs_node.imaging.fit import intensity_range
from training.simulate.cache import AnatomyCache
from training.simulate.pair import form_pair

__all__ = ["PairShards", "form_shards", "open_shard", "write_shard"]

FULL_SCALE = 65535
SHARD = 100
OWN_BONES = 0.5  # share of the pairs whose bones belong to the body they lie in


def write_shard(path: Path, pairs: list[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> None:
    """Keep pairs (cxr, soft), each (size, size) in [0, 1], as uint16 in one `.npy` of (N, 2, size, size)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stack = np.stack([np.stack(pair) for pair in pairs])
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as stream:
        np.save(stream, np.rint(stack.clip(0, 1) * FULL_SCALE).astype(np.uint16))
    temporary.replace(path)


def open_shard(path: Path) -> NDArray[Any]:
    """Map a `.npy` into memory.

    Raises
    ------
    ConfigError
        It is damaged, as a power cut or a full disk leaves it.
    """
    try:
        mapped: NDArray[Any] = np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:  # of NumPy, whose text speaks of pickles
        told = f"{path} is damaged: remove {path.parent}, and the command that made it makes it again"
        raise ConfigError(told) from error
    return mapped


def form_shards(
    caches: Sequence[tuple[AnatomyCache, float]], folder: Path, count: int, *, size: int = 512, seed: int = 0
) -> int:
    """Form simulated pairs and keep them, stretched as the service stretches a radiograph.

    Parameters
    ----------
    caches : anatomies, and the share of the pairs whose body is from there; the bones come from any of them.
    folder : gets `<seed>-<number>.npy` of up to 100 pairs each; what is there already is not formed again.
    size : rows and columns, px.

    Returns
    -------
    Number of pairs formed now.
    """
    shares = np.array([share for _, share in caches])
    shares /= shares.sum()
    paths = [folder / f"{seed:04d}-{number:03d}.npy" for number in range(-(-count // SHARD))]
    missing = {number: min(SHARD, count - number * SHARD) for number, path in enumerate(paths) if not path.exists()}
    formed = sum(missing.values())
    with Progress(console=Console(stderr=True), disable=not formed) as bar:
        task = bar.add_task(f"forming pairs of {size} px", total=formed)
        for number, amount in missing.items():
            rng, pairs = np.random.default_rng([seed, number]), []
            for _ in range(amount):
                pairs.append(_form([cache for cache, _ in caches], shares, rng, size))
                bar.advance(task)
            write_shard(paths[number], pairs)
    return formed


def _form(
    caches: list[AnatomyCache], shares: NDArray[np.float64], rng: np.random.Generator, size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    body = caches[rng.choice(len(caches), p=shares)].pick(rng)
    bones = body if rng.random() < OWN_BONES else caches[rng.choice(len(caches), p=shares)].pick(rng)
    pair = form_pair(body, bones, rng, size)
    low, high = intensity_range(pair.cxr)
    return (pair.cxr - low) / (high - low), (pair.soft - low) / (high - low)


class PairShards:
    """Every pair of a folder of shards, mapped into memory.

    Raises
    ------
    FileNotFoundError
        The folder has no shard.
    ConfigError
        A shard is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shards = [open_shard(path) for path in sorted(folder.glob("*.npy"))]
        if not self.shards:
            raise FileNotFoundError(f"no shard of pairs in {folder}")
        self.ends = np.cumsum([len(shard) for shard in self.shards])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Pair ``index`` as (cxr, soft), each (size, size) float32 in [-1, 1]."""
        shard = int(np.searchsorted(self.ends, index, side="right"))
        within = index - (int(self.ends[shard - 1]) if shard else 0)
        values = torch.from_numpy(self.shards[shard][within].astype(np.float32))
        cxr, soft = values.mul_(2 / FULL_SCALE).sub_(1)
        return cxr, soft

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """One pair at random."""
        return self[int(rng.integers(len(self)))]
