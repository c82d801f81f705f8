"""Which files of a folder belong together: the public sets by their names, other folders by theirs.

::

    szch      CXR/7.png + BS/7.png                         SZCH-X-Rays, as its authors publish it
    jsrt      JSRT/JPCLN001.IMG + BSE_JSRT/JPCLN001.png    JSRT and its bone-suppressed set (also PNG + PNG or JPEG)
    folders   any two folders with matching names          which is which: known names, or --cxr and --soft
    suffixes  A_cxr.png + A_soft.png in one folder         other endings: --cxr and --soft
    dicom     DICOM files, twins in one study              `training.ingest.dicom_pairs`
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pacs_node.errors import ConfigError
from training.ingest.dicom_pairs import find_dicom_pairs, patient_of
from training.ingest.found import Candidate, Found, Loner
from training.ingest.manifest import Tone
from training.ingest.pictures import is_dicom, is_picture
from training.ingest.refusal import Refusal

__all__ = ["Layout", "Wish", "find_pairs"]

Layout = Literal["auto", "szch", "jsrt", "folders", "suffixes", "dicom"]
# Folder names that say which twin they hold, lower case.
CXR_FOLDERS = ("cxr", "jsrt", "original", "input", "source")
SOFT_FOLDERS = ("bs", "bse_jsrt", "soft", "soft_tissue", "softtissue", "bone_suppressed", "target")
CXR_ENDING, SOFT_ENDING = "_cxr", "_soft"
JSRT_NAME = re.compile(r"JPC[LN]N\d{3}", re.IGNORECASE)  # one patient each, whatever an augmented copy appends
TITLES: dict[str, tuple[str, str | None]] = {
    "szch": ("SZCH-X-Rays", "CC BY-NC 4.0"),
    "jsrt": ("JSRT with its bone-suppressed set (Juhasz et al. 2010)", "terms of the JSRT database, db.jsrt.or.jp"),
    "folders": ("pairs in two folders", None),
    "suffixes": ("pairs by the endings of their names", None),
    "dicom": ("pairs in DICOM studies", None),
}
NEXT = "name the twins: --cxr FOLDER --soft FOLDER, or --cxr ENDING --soft ENDING; --layout dicom for DICOM studies"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person says about a source; "auto" and None leave it to us.

    Attributes
    ----------
    cxr, soft : two folders (of the source, or anywhere), or two endings of names; for DICOM studies, words of the
        SeriesDescription or ImageType.
    patient : regular expression on a file's name; its first group, or all of it, is the patient.
    """

    layout: Layout = "auto"
    cxr: str | None = None
    soft: str | None = None
    patient: "re.Pattern[str] | None" = None


@dataclass(slots=True)
class _Shelf:
    """Files of one side by name, and names that two files have."""

    files: dict[str, Path] = field(default_factory=dict)
    doubled: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def of(cls, paths: Iterable[tuple[str, Path]]) -> "_Shelf":
        shelf = cls()
        for name, path in paths:
            shelf.doubled |= {name: path} if name in shelf.files else {}
            shelf.files[name] = path
        return shelf


def find_pairs(source: Path, wish: Wish) -> Found:
    """Look through a folder, and pair what belongs together.

    Raises
    ------
    ConfigError
        There is no such folder, or nothing in it looks like pairs; says what to give.
    """
    if not source.is_dir():
        raise ConfigError(f"there is no folder {source}")
    if (wish.cxr is None) != (wish.soft is None) and wish.layout != "dicom":
        raise ConfigError("give both --cxr and --soft, or neither")
    layout = _layout(source, wish)
    if layout == "dicom":
        found = find_dicom_pairs(_pictures(source), wish.cxr, wish.soft)
    elif layout == "suffixes":
        found = _by_endings(source, wish)
    else:
        found = _by_folders(*_two_folders(source, wish), wish)
    title, licence = TITLES[layout]
    tone: Tone = "cxr" if layout == "jsrt" else "own"  # computed twins: their contrast was changed, no energy was
    return Found(layout, title, licence, tone, found[0], found[1])


def _layout(source: Path, wish: Wish) -> str:
    if wish.layout != "auto":
        return wish.layout
    if wish.cxr and wish.soft:
        return "folders" if (source / wish.cxr).is_dir() and (source / wish.soft).is_dir() else "suffixes"
    folders = _known_folders(source)
    if folders:
        names = {folder.name.lower() for folder in folders}
        jsrt = "bse_jsrt" in names or any(JSRT_NAME.search(path.name) for path in folders[0].iterdir())
        return "szch" if names == {"cxr", "bs"} else "jsrt" if jsrt else "folders"
    if any(path.stem.endswith(CXR_ENDING) for path in source.rglob("*")):
        return "suffixes"
    if any(is_dicom(path) for path in _pictures(source)):
        return "dicom"
    raise ConfigError(f"nothing in {source} says which files are twins: {NEXT}")


def _known_folders(source: Path) -> tuple[Path, Path] | None:
    """The folders of the radiographs and of their twins, where their names say so."""
    folders = {path.name.lower(): path for path in sorted(source.iterdir()) if path.is_dir()}
    cxr, soft = ([folders[name] for name in names if name in folders] for names in (CXR_FOLDERS, SOFT_FOLDERS))
    return (cxr[0], soft[0]) if cxr and soft else None


def _two_folders(source: Path, wish: Wish) -> tuple[Path, Path]:
    chosen = (source / wish.cxr, source / wish.soft) if wish.cxr and wish.soft else _known_folders(source)
    if chosen is None or not all(path.is_dir() for path in chosen):
        raise ConfigError(f"{source} has no two folders that are known to hold twins: {NEXT}")
    return chosen


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if "__MACOSX" not in path.parts and is_picture(path))


def _by_folders(cxr: Path, soft: Path, wish: Wish) -> tuple[list[Candidate], list[Loner]]:
    sides = [_Shelf.of((_name(path, folder), path) for path in _pictures(folder)) for folder in (cxr, soft)]
    first, second = sides
    if not first.files or not second.files:
        empty = cxr if not first.files else soft
        raise ConfigError(f"{empty} holds no picture (PNG, JPEG, TIFF, BMP, DICOM or raw JSRT .IMG)")
    if not first.files.keys() & second.files.keys() and any(is_dicom(path) for path in first.files.values()):
        return find_dicom_pairs(list(first.files.values()), softs=list(second.files.values()))
    return _joined(first, second, wish)


def _by_endings(source: Path, wish: Wish) -> tuple[list[Candidate], list[Loner]]:
    paths = _pictures(source)
    sides = []
    for ending in (wish.cxr or CXR_ENDING, wish.soft or SOFT_ENDING):
        own = [path for path in paths if path.stem.endswith(ending)]
        sides.append(_Shelf.of((_name(path, source).removesuffix(ending.lower()), path) for path in own))
    if not sides[0].files:
        raise ConfigError(f"no picture in {source} has a name that ends in {wish.cxr or CXR_ENDING}: {NEXT}")
    return _joined(sides[0], sides[1], wish)


def _name(path: Path, folder: Path) -> str:
    """The place inside of a folder without the file's ending, in one case: 1.PNG and 1.jpg are twins."""
    return path.relative_to(folder).with_suffix("").as_posix().lower()


def _joined(first: _Shelf, second: _Shelf, wish: Wish) -> tuple[list[Candidate], list[Loner]]:
    pairs, loners = [], []
    doubled = first.doubled | second.doubled
    for name in sorted(first.files.keys() | second.files.keys()):
        if name in doubled:
            told = "two files differ in their ending only: keep one"
            loners.append(Loner(name, doubled[name], Refusal.DUPLICATE_NAME, told))
        elif name in first.files and name in second.files and _strangers(first.files[name], second.files[name]):
            told = "the two headers name two patients"
            loners.append(Loner(name, second.files[name], Refusal.DIFFERENT_PATIENTS, told))
        elif name in first.files and name in second.files:
            pairs.append(
                Candidate(name, first.files[name], second.files[name], _patient(name, first.files[name], wish))
            )
        else:
            here, missing = (first, "soft-tissue twin") if name in first.files else (second, "radiograph")
            told = f"there is no {missing} of this name"
            loners.append(Loner(name, here.files[name], Refusal.MISSING_TWIN, told))
    return pairs, loners


def _strangers(cxr: Path, soft: Path) -> bool:
    first, second = patient_of(cxr), patient_of(soft)
    return first is not None and second is not None and first != second


def _patient(name: str, path: Path, wish: Wish) -> str:
    """Who it is: by the wish, by the header, by a JSRT number, else every name is a patient of its own."""
    stem = name.rpartition("/")[2]
    if wish.patient is not None:
        match = wish.patient.search(stem)
        return (match.group(1) if wish.patient.groups else match.group()) if match else stem
    jsrt = JSRT_NAME.search(stem)
    return patient_of(path) or (jsrt.group().upper() if jsrt else name)
