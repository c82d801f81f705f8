"""One picture that the gate is shown in training, and the folder of thumbnails that all of them become."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacs_node.imaging.fit import letterbox, place
from pacs_node.records import FloatImage

__all__ = ["FOLDS", "KINDS", "Film", "Pool", "small"]

FOLDS = 5
KINDS = ("frontal", "lateral", "bone", "other")  # upright and in the right polarity; the rest is made from these
LONGER_SIDE = 224  # px, kept of every picture


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """One picture before augmentation.

    Attributes
    ----------
    picture : (rows, columns) float32 in [0, 1], 224 px at most.
    kind : one of ``KINDS``.
    source : where it is from: ``cxr``, ``ct``, ``drawing/pelvis`` and so on; a row of the confusion table.
    name : of the picture within its source.
    fold : which network must not see it; all pictures of one person, scan or drawn body part share it.
    """

    picture: FloatImage
    kind: str
    source: str
    name: str
    fold: int


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Thumbnails of many variants of many films.

    Attributes
    ----------
    tones : (n, 64, 64) uint8, as from `pacs_node.imaging.gate_thumbnail.glance_at`.
    kind : (n,) uint8, index into ``KINDS``, or ``len(KINDS)`` for a useless crop of a frontal chest.
    fold : (n,) uint8.
    """

    tones: NDArray[np.uint8]
    kind: NDArray[np.uint8]
    fold: NDArray[np.uint8]

    @classmethod
    def join(cls, parts: Iterable["Pool"]) -> "Pool":
        """All thumbnails of several pools."""
        every = list(parts)
        return cls(*(np.concatenate([getattr(p, name) for p in every]) for name in ("tones", "kind", "fold")))

    def save(self, path: Path) -> None:
        """Write it, uncompressed."""
        np.savez(path, tones=self.tones, kind=self.kind, fold=self.fold)

    @classmethod
    def load(cls, path: Path) -> "Pool":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(stored["tones"], stored["kind"], stored["fold"])


def small(image: NDArray[np.floating], longer_side: int = LONGER_SIDE) -> FloatImage:
    """A picture averaged down to what a thumbnail needs; one that is smaller stays as it is."""
    if max(image.shape) <= longer_side:
        return np.asarray(image, dtype=np.float32)
    placement = place(image.shape[0], image.shape[1], longer_side)
    return np.ascontiguousarray(letterbox(np.asarray(image, dtype=np.float32), placement)[placement.covered()])
