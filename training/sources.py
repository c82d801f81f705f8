"""The pairs that a training draws from: simulated, ingested, or some of each.

Whatever they come from, they end as shards (`training.pairs`), so that drawing one costs nothing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from pacs_node.errors import ConfigError
from training.ingest.manifest import NAME as MANIFEST
from training.ingest.manifest import Manifest, open_pairs
from training.pairs import SHARD, PairShards, write_shard
from training.validate import RealPairs

__all__ = ["Gathered", "MixedPairs", "PairSource", "gather", "is_ingested", "shard_ingested", "validation_pairs"]

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
    """Open folders of pairs: ingested ones, or shards of simulated ones.

    Parameters
    ----------
    into : gets the shards of ingested pairs, once for each manifest.
    grid : rows and columns, px.

    Raises
    ------
    ConfigError
        A folder is neither, or has no pair to train on.
    """
    sources, looked_at, digest = [], [], hashlib.sha256()
    for folder in folders:
        if is_ingested(folder):
            shards = shard_ingested(folder, into, grid)
            looked_at.append(validation_pairs(folder, grid))
        elif any(folder.glob("*.npy")):
            shards = folder
        else:
            told = "neither pairs of `pacs-node ingest` nor the pairs/ of another training"
            raise ConfigError(f"{folder} holds {told}")
        sources.append(PairShards(shards))
        digest.update(_identity(folder, shards).encode())
    real = next((pairs for pairs in looked_at if pairs is not None), None)
    return Gathered(tuple(sources), real, digest.hexdigest())


def shard_ingested(folder: Path, into: Path, grid: int) -> Path:
    """Write the training pairs of an ingested folder as shards, where that was not done, and return where they are.

    The twins are in the radiograph's tone, so that what a network learns to take away is bone.
    """
    pairs = open_pairs(folder, "train", size=grid, tone="cxr")
    target = into / _manifest_digest(folder)[:16] / str(grid)
    paths = [target / f"{number:03d}.npy" for number in range(-(-len(pairs) // SHARD))]
    missing = [number for number, path in enumerate(paths) if not path.exists()]
    for number in track(missing, "reading ingested pairs", console=Console(stderr=True), disable=not missing):
        write_shard(paths[number], list(pairs[number * SHARD : (number + 1) * SHARD]))
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


def _identity(folder: Path, shards: Path) -> str:
    if is_ingested(folder):
        return _manifest_digest(folder)
    return " ".join(f"{path.name}:{path.stat().st_size}" for path in sorted(shards.glob("*.npy")))


def _manifest_digest(folder: Path) -> str:
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
