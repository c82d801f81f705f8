"""The pairs that a training draws from: simulated, ingested, or some of each.

Whatever they come from, they end as shards (`training.pairs`), so that drawing one costs nothing.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from pacs_node.errors import ConfigError
from pacs_node.imaging.fit import intensity_range
from training.evaluate.cases import measured
from training.ingest.manifest import NAME as MANIFEST
from training.ingest.manifest import Manifest, open_pairs
from training.pairs import FULL_SCALE, SHARD, PairShards, write_shard
from training.validate import RealPairs

__all__ = [
    "Gathered",
    "MixedPairs",
    "PairSource",
    "gather",
    "is_ingested",
    "shard_ingested",
    "shard_simulated",
    "validation_pairs",
]

Pair: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32]]
SIMULATION = "simulation.json"  # `pacs-node simulate` notes there what it filled a folder with
LOOKED_AT = 8  # validation pairs of an ingested folder that are sampled at every look


class PairSource(Protocol):
    """Where pairs come from."""

    def __len__(self) -> int: ...

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """One pair at random, (cxr, soft), each (size, size) float32 in [-1, 1]."""
        ...


class MixedPairs:
    """Several sources; each is drawn from as often as the others, however many pairs it has.

    So a few real pairs count beside thousands of simulated ones.
    """

    def __init__(self, sources: Sequence[PairSource]) -> None:
        self.sources = tuple(sources)

    def __len__(self) -> int:
        return sum(len(source) for source in self.sources)

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """One pair of a source at random."""
        return self.sources[int(rng.integers(len(self.sources)))].draw(rng)


@dataclass(frozen=True, slots=True)
class Gathered:
    """Pairs to train on, and what is kept apart.

    Attributes
    ----------
    sources : one or more folders of shards.
    real : validation pairs of the ingested folders, None where there are none.
    identity : of all that is trained on, for what is made of it; None for what a run simulated by itself.
    """

    sources: tuple[PairShards, ...]
    real: RealPairs | None = None
    identity: str | None = None

    @property
    def pairs(self) -> PairSource:
        """All sources as one."""
        return self.sources[0] if len(self.sources) == 1 else MixedPairs(self.sources)


def is_ingested(folder: Path) -> bool:
    """Whether `pacs-node ingest` made this folder."""
    return (folder / MANIFEST).is_file()


def gather(folders: Sequence[Path], into: Path, grid: int) -> Gathered:
    """Open folders of pairs: ingested ones, simulated ones, or shards of simulated ones.

    Parameters
    ----------
    into : gets the shards of what is in pictures, once for each state of a folder.
    grid : rows and columns of ingested pairs, px; simulated ones that are larger are averaged down to it, smaller ones
        keep their own.

    Raises
    ------
    ConfigError
        A folder is none of these, or has no pair to train on.
    """
    sources, looked_at, identities = [], [], []
    for folder in folders:
        identity = _identity(folder)
        if is_ingested(folder):
            shards = shard_ingested(folder, into / identity[:16] / str(grid), grid)
            looked_at.append(validation_pairs(folder, grid))
        elif (folder / SIMULATION).is_file():
            shards = shard_simulated(folder, into / identity[:16] / str(grid), grid)
        else:
            shards = folder
        sources.append(PairShards(shards))
        identities.append(identity)
    real = next((pairs for pairs in looked_at if pairs is not None), None)
    return Gathered(tuple(sources), real, hashlib.sha256(" ".join(identities).encode()).hexdigest())


def shard_ingested(folder: Path, target: Path, grid: int) -> Path:
    """Write the training pairs of an ingested folder as shards, where that was not done, and return where they are.

    The twins are in the radiograph's tone, so that what a network learns to take away is bone.
    """
    pairs = open_pairs(folder, "train", size=grid, tone="cxr")
    return _write_shards(target, len(pairs), pairs.__getitem__)


def shard_simulated(folder: Path, target: Path, grid: int) -> Path:
    """The same for a folder of `pacs-node simulate`, stretched as the service stretches a radiograph.

    Bone thinner than a pixel of the grid is drawn right only where the pictures are larger and averaged down.
    """
    paths = sorted(folder.glob("*_cxr.png"))
    if not paths:
        raise ConfigError(f"{folder} holds no pair yet: `pacs-node simulate -o {folder}` makes some")

    def stretched(index: int) -> Pair:
        soft_path = paths[index].with_name(paths[index].name.replace("_cxr", "_soft"))
        cxr, soft = (_grey(path) for path in (paths[index], soft_path))
        low, high = intensity_range(cxr)
        return measured((cxr - low) / (high - low), grid), measured((soft - low) / (high - low), grid)

    return _write_shards(target, len(paths), stretched)


def _grey(path: Path) -> NDArray[np.float32]:
    """A 16-bit picture in [0, 1]."""
    try:
        with Image.open(path) as picture:
            return np.asarray(picture, dtype=np.float32) / np.float32(FULL_SCALE)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: the same `pacs-node simulate` command makes it anew") from error


def _write_shards(target: Path, count: int, pair: Callable[[int], Pair]) -> Path:
    """Shards of up to 100 pairs; those that are there are kept."""
    numbers = [number for number in range(-(-count // SHARD)) if not (target / f"{number:03d}.npy").exists()]
    for number in track(numbers, "reading pairs", console=Console(stderr=True), disable=not numbers):
        wanted = range(number * SHARD, min(count, (number + 1) * SHARD))
        write_shard(target / f"{number:03d}.npy", [pair(index) for index in wanted])
    return target


def validation_pairs(folder: Path, grid: int) -> RealPairs | None:
    """The first pairs of the validation split of an ingested folder, or None where the split has none."""
    records = [record for record in Manifest.read(folder).pairs if record.split == "validation"][:LOOKED_AT]
    if not records:
        return None
    return RealPairs(folder, grid, tuple(f"{record.pair_id}_" for record in records), "validation")


def held_out_images(real: RealPairs | None) -> Tensor | None:
    """The radiographs of pairs that are not trained on, for the autoencoder: (N, 1, grid, grid) in [-1, 1]."""
    return None if real is None else torch.clone(real.images())


def _identity(folder: Path) -> str:
    """SHA-256 of what a folder holds to train on: its manifest, the names and sizes of its pictures, or its shards.

    Shards are read whole: they are not compressed, so that others of one name have the same size whatever they show.

    Raises
    ------
    ConfigError
        It holds nothing of the kind.
    """
    if is_ingested(folder):
        return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    if (folder / SIMULATION).is_file():
        names = [f"{path.name}:{path.stat().st_size}" for path in sorted(folder.glob("*.png"))]
        return hashlib.sha256(" ".join(names).encode()).hexdigest()
    shards = [f"{path.name}:{_digest(path)}" for path in sorted(folder.glob("*.npy"))]
    if not shards:
        told = "neither pairs of `pacs-node ingest` nor of `pacs-node simulate` nor the pairs/ of another training"
        raise ConfigError(f"{folder} holds {told}")
    return hashlib.sha256(" ".join(shards).encode()).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
