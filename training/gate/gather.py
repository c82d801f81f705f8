"""Films of every kind, kept in a folder, and the pool of thumbnails that networks are trained on."""

import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from training.gate.augment import thumbnails
from training.gate.chests import cartoons, films_of_ct, real_chests, real_pairs, simulated
from training.gate.drawings import drawings
from training.gate.elsewhere import patterns, pictures, real_others
from training.gate.film import Film, Pool

__all__ = ["gather", "load_films", "make_pool"]

FILMS = "films"
# Variants of each film by its source: few films of much worth are shown often, many of little worth seldom.
VARIANTS = {
    "cxr": 50,
    "dicom": 50,
    "pairs": 50,
    "pairs/soft": 40,
    "pairs/bone": 60,
    "simulated": 10,
    "simulated/bone": 12,
    "ct/frontal": 8,
    "ct/lateral": 24,
    "ct/slice": 20,
    "cartoon": 8,
    "dicom_not_chest": 150,
    "picture": 50,
    "drawing": 4,
    "pattern": 4,
}
CROPS = {"cxr": 16, "dicom": 16, "pairs": 16, "simulated": 3, "ct/frontal": 2}


def gather(data: Path, folder: Path) -> int:
    """Write every film into ``folder/films``, one file for each source of films; a file that is there is kept.

    Parameters
    ----------
    data : the folder with ``cxr``, ``dicom``, ``dicom_not_chest``, ``pairs`` and ``ct``.
    """
    (folder / FILMS).mkdir(parents=True, exist_ok=True)
    sources: dict[str, Callable[[], Iterable[Film]]] = {
        "real": lambda: [*real_chests(data), *real_pairs(data), *real_others(data)],
        "patterns": lambda: patterns(60),
        "pictures": pictures,
        "drawings": lambda: drawings(110),
        "cartoons": lambda: cartoons(50),
        "simulated": lambda: simulated(200),
        "ct": lambda: films_of_ct(data / "ct", frontal=20, lateral=110),
    }
    for name, films in sources.items():
        if not (folder / FILMS / f"{name}.npz").exists():
            _write(films(), folder / FILMS / f"{name}.npz")
    return sum(1 for _ in load_films(folder))


def _write(films: Iterable[Film], path: Path) -> None:
    arrays = {}
    for film in films:
        key = "|".join((film.kind, film.source, film.name, str(film.fold)))
        arrays[key.replace("/", "~")] = np.rint(255 * np.clip(film.picture, 0, 1)).astype(np.uint8)
    temporary = path.with_suffix(".part.npz")
    np.savez(temporary, **arrays)  # type: ignore[arg-type]
    temporary.replace(path)


def load_films(folder: Path) -> Iterator[Film]:
    """Every film that `gather` wrote, in the order of the files' names."""
    for path in sorted((folder / FILMS).glob("*.npz")):
        with np.load(path, allow_pickle=False) as stored:
            for key in stored.files:
                kind, source, name, fold = key.replace("~", "/").split("|")
                yield Film(stored[key].astype(np.float32) / 255, kind, source, name, int(fold))


def make_pool(folder: Path, *, share: float = 1.0) -> Pool:
    """Thumbnails of all films; ``share`` of the usual number of variants."""
    parts = []
    for film in track(list(load_films(folder)), "varying films", console=Console(stderr=True)):
        seed = zlib.crc32(f"{film.source}/{film.name}".encode())
        own = _number(VARIANTS, film.source)
        parts.append(thumbnails(film, max(1, round(share * own)), seed))
        if film.source in CROPS:
            parts.append(thumbnails(film, max(1, round(share * CROPS[film.source])), seed ^ 1, useless_crop=True))
    return Pool.join(parts)


def _number(variants: dict[str, int], source: str) -> int:
    return variants[source] if source in variants else variants[source.partition("/")[0]]
