"""A folder of drawn anatomies, so that training draws many radiographs of each."""

import logging
import zipfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from pacs_node.errors import ConfigError
from training.simulate.anatomy import Anatomy, draw_anatomy, load_anatomy, save_anatomy
from training.simulate.pair import SimulatedPair, form_pair

__all__ = ["AnatomyCache", "write_cache"]

log = logging.getLogger(__name__)
OWN_BONES = 0.6  # share of the pairs whose bones belong to the body they lie in


def write_cache(folder: Path, seeds: Iterable[int], size: int = 512) -> int:
    """Draw the anatomies that the folder lacks and return how many; safe to stop and to start again."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [s for s in seeds if not (folder / _name(s, size)).exists()]
    for seed in track(missing, f"drawing anatomies of {size} px", console=Console(stderr=True)):
        save_anatomy(draw_anatomy(seed, size), folder / _name(seed, size))
    return len(missing)


def _name(seed: int, size: int) -> str:
    return f"anatomy-{seed:06d}-{size}.npz"


class AnatomyCache:
    """The anatomies in a folder, read when asked for and kept while memory allows.

    Parameters
    ----------
    folder : where `write_cache` wrote.
    keep : how many to hold in memory (about 5 MB each at 512 px).

    Raises
    ------
    FileNotFoundError : the folder holds no anatomy.
    """

    def __init__(self, folder: Path, keep: int = 64) -> None:
        self.paths = sorted(folder.glob("anatomy-*.npz"))
        if not self.paths:
            raise FileNotFoundError(f"{folder} holds no anatomies: write_cache draws some")
        self._load = lru_cache(maxsize=keep)(load_anatomy)

    def __len__(self) -> int:
        return len(self.paths)

    def pick(self, rng: np.random.Generator) -> Anatomy:
        """One anatomy, every one with the same chance.

        Raises
        ------
        ConfigError
            Its file is damaged.
        """
        path = self.paths[int(rng.integers(len(self.paths)))]
        try:
            return self._load(path)
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ConfigError(f"{path} is damaged: remove it, and the same command draws it again") from error

    def pair(self, rng: np.random.Generator, size: int = 512) -> SimulatedPair:
        """A fresh pair of twins: a body, its own bones or another's, one radiograph."""
        body = self.pick(rng)
        bones = body if rng.random() < OWN_BONES else self.pick(rng)
        return form_pair(body, bones, rng, size)
