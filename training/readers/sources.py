"""Radiographs with their companions in a folder: DICOM as the node writes it, or pairs of pictures."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread

from pacs_node.derive.bone_image import IMAGE_TYPE as BONE
from pacs_node.derive.companion import IMAGE_TYPE as SOFT_TISSUE
from pacs_node.errors import ConfigError, NodeError, Rejected
from pacs_node.imaging.read import read_radiograph
from pacs_node.records import FloatImage
from training.evaluate.cases import Twins, open_cases
from training.ingest.pictures import is_dicom
from training.ingest.polarity import turned

__all__ = ["Found", "Pair", "Unusable", "find_pairs"]

HEADER = ("SOPInstanceUID", "ImageType", "SourceImageSequence", "Rows")
Images = tuple[FloatImage, FloatImage]


class Unusable(NodeError):
    """A pair that cannot be read; the others still can."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One radiograph with its companion.

    Attributes
    ----------
    name : path or name in the folder, for the one who makes the study; never part of the study.
    names : everything that a truth file may call it.
    load : both as (rows, columns) float32 P-values in [0, 1], of one shape; raises `Unusable`.
    """

    name: str
    names: frozenset[str]
    load: Callable[[], Images]


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder holds.

    Attributes
    ----------
    pairs : in the order of their names.
    left_out : name -> why it is no pair.
    """

    pairs: list[Pair]
    left_out: dict[str, str] = field(default_factory=dict)


def find_pairs(folder: Path) -> Found:
    """Look through a folder.

    Parameters
    ----------
    folder : pictures `NAME_cxr.png` with `NAME_soft.png`, what `pacs-node ingest` or `simulate` wrote, or DICOM files
        anywhere below it.

    Raises
    ------
    ConfigError
        There is no pair, or a radiograph has several companions.
    """
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder}")
    is_set = (folder / "manifest.json").is_file() or any(folder.glob("*_cxr.*"))
    found = _pictures(folder) if is_set else _dicom(folder)
    if not found.pairs:
        raise ConfigError(
            f"{folder} holds no radiograph with a companion: make companions with pacs-node process or serve, or give "
            "pairs NAME_cxr.png and NAME_soft.png"
        )
    return found


def _pictures(folder: Path) -> Found:
    cases = sorted(open_cases(folder), key=lambda case: case.name)
    return Found([Pair(case.name, frozenset({case.name, f"{case.name}_cxr.png"}), _Twins(case.load)) for case in cases])


@dataclass(frozen=True, slots=True)
class _Twins:
    """Both images of a pair that `open_cases` found."""

    read: Callable[[], Twins]

    def __call__(self) -> Images:
        try:
            twins = self.read()
        except ConfigError as error:
            raise Unusable(str(error)) from None
        return twins.radiograph.pixels, twins.truth


def _dicom(folder: Path) -> Found:
    headers = {path: _header(path) for path in sorted(folder.rglob("*")) if path.is_file() and is_dicom(path)}
    images = {path: ds for path, ds in headers.items() if "Rows" in ds and _kind(ds) != BONE}
    companions: dict[str, dict[str, Path]] = {}
    for path, ds in images.items():
        if _kind(ds) == SOFT_TISSUE:
            companions.setdefault(_source_of(ds), {})[str(ds.get("SOPInstanceUID"))] = path
    pairs, left_out, seen = [], {}, set()
    for path, ds in images.items():
        uid, name = str(ds.get("SOPInstanceUID")), path.relative_to(folder).as_posix()
        if _kind(ds) == SOFT_TISSUE or uid in seen:
            continue
        seen.add(uid)
        mine = list(companions.get(uid, {}).values())
        if len(mine) > 1:
            raise ConfigError(f"{path} has {len(mine)} companions: leave those of one model in the folder")
        if mine:
            pairs.append(Pair(name, frozenset({name, path.name, path.stem, uid}), _Files(path, mine[0])))
        else:
            left_out[name] = "no companion in the folder"
    return Found(pairs, left_out)


def _header(path: Path) -> Dataset:
    try:
        return dcmread(path, stop_before_pixels=True, specific_tags=list(HEADER))
    except Exception:  # noqa: BLE001 - hostile bytes raise anything; no header means no image
        return Dataset()


def _kind(ds: Dataset) -> tuple[str, ...]:
    return tuple(str(value) for value in ds.get("ImageType") or ())


def _source_of(ds: Dataset) -> str:
    items = ds.get("SourceImageSequence") or [Dataset()]
    return str(items[0].get("ReferencedSOPInstanceUID", ""))


@dataclass(frozen=True, slots=True)
class _Files:
    """A radiograph and its companion as the service reads them."""

    source: Path
    companion: Path

    def __call__(self) -> Images:
        try:
            source, companion = read_radiograph(self.source), read_radiograph(self.companion)
        except Rejected as error:
            raise Unusable(error.explanation) from None
        if source.pixels.shape != companion.pixels.shape:
            raise Unusable("the companion has other rows and columns than its radiograph")
        # a companion is positive, also that of a radiograph whose default look is a negative
        if np.corrcoef(source.pixels.ravel()[::7], companion.pixels.ravel()[::7])[0, 1] < 0:
            source = turned(source)
        return source.pixels, companion.pixels
