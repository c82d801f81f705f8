"""Real pairs to measure on: a radiograph as the service gets it, and its soft-tissue truth."""

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import Dataset

from pacs_node.errors import ConfigError
from pacs_node.imaging.fit import letterbox, place
from pacs_node.records import FloatImage, Radiograph
from training.ingest.manifest import IngestedPairs, Manifest, Split, open_pairs
from training.ingest.pictures import read_picture
from training.ingest.polarity import NEGATIVE_BELOW, chest_score, turned
from training.ingest.refusal import Refused

__all__ = ["LONGEST_SIDE", "Case", "Twins", "measured", "open_cases", "read_positive", "with_bone"]

LONGEST_SIDE = 1024  # px; a larger pair is processed as it is and measured at this size
BITS = 16  # of an ingested picture
# Truths of this set are computed from the radiograph by another algorithm: no dual energy, so no part of the mean.
COMPUTED = "jsrt"
LARGEST_DIFFERENCE = 0.05  # of the sides of twins; more is no export's rounding
SAME = 1 / 255  # a grey level of 8 bits: twins that differ nowhere by more are one picture


@dataclass(frozen=True, slots=True, eq=False)
class Twins:
    """One pair in memory.

    Attributes
    ----------
    radiograph : at the size and depth it was delivered.
    truth : (rows, columns) float32 in [0, 1], of the radiograph's shape, in its own tone.
    """

    radiograph: Radiograph
    truth: FloatImage

    @property
    def same(self) -> bool:
        """Whether there is nothing to take out, so that a ratio to it would be a division by nothing."""
        return np.allclose(self.radiograph.pixels, self.truth, rtol=0, atol=SAME)


@dataclass(frozen=True, slots=True)
class Case:
    """One pair: ``load`` reads it, so that a large set need not fit into memory.

    Attributes
    ----------
    source : set it comes from; means are taken over each.
    dual_energy : False where the truth was computed.
    """

    name: str
    source: str
    dual_energy: bool
    load: Callable[[], Twins]


def open_cases(folder: Path, split: Split | None = None) -> list[Case]:
    """Find the pairs of a folder.

    Parameters
    ----------
    folder : of pictures or DICOM files `SOURCE_NAME_cxr.*`, each with its `SOURCE_NAME_soft.*`; or what
        `pacs-node ingest` wrote.
    split : of an ingested folder.

    Raises
    ------
    ConfigError
        There is no pair, a radiograph has no twin or two, two have one name, or a split is asked for where there is
        none.
    """
    if (folder / "manifest.json").is_file():
        return _ingested(folder, split)
    if split is not None:
        raise ConfigError(f"{folder} was not ingested, so it has no split {split}: leave --split out")
    # what begins with a point is no picture: macOS leaves such a file beside each on a shared disk
    radiographs = sorted(path for path in folder.glob("*_cxr.*") if not path.name.startswith("."))
    if not radiographs:
        raise ConfigError(f"{folder} holds neither a manifest.json nor a pair NAME_cxr.* with NAME_soft.*")
    cases = [_plain(path) for path in radiographs]
    for case, other, path in zip(cases, cases[1:], radiographs[1:], strict=False):
        if case.name == other.name:  # every figure is kept by the name
            raise ConfigError(f"{path} is a second radiograph of the name {case.name}: keep one of them in the folder")
    return cases


def with_bone(cases: Sequence[Case]) -> tuple[list[Case], list[str]]:
    """The pairs that something can be measured on, and the names of the others.

    Of `pacs-node simulate` one pair in twenty-five has no bone, to learn from; of a real set it is a wrong twin.

    Raises
    ------
    ConfigError
        None is left, or a file cannot be read.
    """
    kept = [case for case in cases if not case.load().same]
    if not kept:
        raise ConfigError("every radiograph and its twin are the same picture: there is nothing to measure")
    known = {case.name for case in kept}
    return kept, [case.name for case in cases if case.name not in known]


def measured(image: FloatImage, longest: int = LONGEST_SIDE) -> FloatImage:
    """The image at the size it is measured at: averaged so that its longer side has ``longest`` px, or as it is."""
    if max(image.shape) <= longest:
        return image
    placement = place(image.shape[0], image.shape[1], longest)
    return np.ascontiguousarray(letterbox(image, placement)[placement.covered()])


def _plain(path: Path) -> Case:
    stem = path.name[: path.name.rindex("_cxr")]
    twins = sorted(path.parent.glob(f"{glob.escape(stem)}_soft.*"))
    if not twins:
        raise ConfigError(f"{path} has no twin {stem}_soft.*")
    if len(twins) > 1:
        raise ConfigError(f"{path} has {len(twins)} twins, {twins[0].name} and {twins[1].name}: keep one of them")
    source = stem.split("_")[0]
    return Case(stem, source, not source.startswith(COMPUTED), lambda: _read(path, twins[0]))


def _read(radiograph_path: Path, truth_path: Path) -> Twins:
    radiograph, truth = (read_positive(path) for path in (radiograph_path, truth_path))
    return Twins(radiograph, _of_shape(truth.pixels, radiograph.pixels.shape, truth_path))


def read_positive(path: Path) -> Radiograph:
    """Read a picture or a DICOM file with air in black: a data set says which way round it is, a picture does not.

    Raises
    ------
    ConfigError
        The file cannot be read as a grey image.
    """
    try:
        radiograph = read_picture(path)
    except Refused as error:
        raise ConfigError(f"{path} cannot be used: {error}") from error
    return turned(radiograph) if chest_score(radiograph.pixels) < NEGATIVE_BELOW else radiograph


def _of_shape(truth: FloatImage, shape: Sequence[int], path: Path) -> FloatImage:
    """A truth of another size is stretched onto its radiograph: sets are exported with a row more or less."""
    if truth.shape == tuple(shape):
        return truth
    aspects = np.array(truth.shape) / np.array(shape)
    if abs(aspects[0] / aspects[1] - 1) > LARGEST_DIFFERENCE:
        raise ConfigError(
            f"{path} has another form than its radiograph: bring them into register with pacs-node ingest"
        )
    stretched = Image.fromarray(truth).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(stretched, dtype=np.float32), 0, 1)


def _ingested(folder: Path, split: Split | None) -> list[Case]:
    pairs, sources = open_pairs(folder, split, tone="own"), Manifest.read(folder).sources
    cases = []
    for index, record in enumerate(pairs.records):
        computed = COMPUTED in (record.source, sources[record.source].layout)
        cases.append(Case(record.pair_id, record.source, not computed, _Ingested(pairs, index)))
    return cases


@dataclass(frozen=True, slots=True)
class _Ingested:
    pairs: IngestedPairs
    index: int

    def __call__(self) -> Twins:
        covered = self.pairs.placement(self.index).covered()
        cxr, soft = (np.ascontiguousarray(image[covered]) for image in self.pairs[self.index])
        return Twins(Radiograph(cxr, None, BITS, Dataset()), soft)
