"""One system on one set of test pairs: scores, processor time, some pictures; kept, so that nothing is done twice."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from pacs_node.imaging.fit import to_grid
from pacs_node.records import FloatImage, Radiograph
from training.compare.ground import BITS, HeldOut
from training.compare.systems import System
from training.evaluate.cases import Case, measured
from training.evaluate.scores import Judge, Reference, Scores

__all__ = ["Keep", "Make", "Measured", "Prepared", "measure", "on_the_grid", "pixels_of", "prepare", "shown_cases"]

SHOWN = 4  # pairs whose pictures are kept

Make = Callable[[Case, "Prepared"], FloatImage]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A test pair at the size that everything is compared at.

    Attributes
    ----------
    native : the radiograph as delivered, for what ships.
    radiograph : averaged down, so that its longer side is the grid's.
    """

    native: Radiograph
    radiograph: Radiograph
    reference: Reference


@dataclass(slots=True)
class Measured:
    """One row on one set.

    Attributes
    ----------
    scores : by the name of the case.
    seconds : processor time of each image, reading and measuring not included.
    pictures : outputs of the first cases, in [0, 1].
    """

    scores: dict[str, Scores] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    pictures: dict[str, FloatImage] = field(default_factory=dict)


def prepare(case: Case, size: int) -> Prepared:
    """Read a pair and average it down to ``size`` px on its longer side.

    Raises
    ------
    ConfigError
        A file cannot be read.
    """
    twins = case.load()
    cxr, truth = measured(twins.radiograph.pixels, size), measured(twins.truth, size)
    return Prepared(twins.radiograph, Radiograph(cxr, None, BITS, Dataset()), Reference(cxr, truth))


def pixels_of(prepared: Mapping[str, Prepared]) -> str:
    """SHA-256 of the pairs of a set, as they are measured."""
    digest = hashlib.sha256()
    for pair in prepared.values():
        for image in (pair.native.pixels, pair.reference.cxr, pair.reference.truth):
            digest.update(str(image.shape).encode() + np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def shown_cases(held_out: HeldOut) -> list[str]:
    """Names of the cases whose pictures are kept: some from beginning to end, chosen by nothing that was measured."""
    names = [case.name for case in held_out.cases]
    chosen = np.linspace(0, len(names) - 1, min(SHOWN, len(names))).round().astype(int)
    return [names[index] for index in sorted(set(chosen.tolist()))]


def on_the_grid(system: System, size: int) -> Make:
    """How a trained system answers: what it changes on the grid is changed in the radiograph.

    So nobody is charged for the values beyond the robust range, which the grid cuts off for all alike.
    """

    def make(case: Case, pair: Prepared) -> FloatImage:
        image = to_grid(pair.radiograph, size)
        inside = image.placement.covered()
        change = system.soft(image, case.name) - (image.pixels[0, 0] + 1) / 2
        soft = pair.radiograph.pixels + change[inside] * np.float32(image.high - image.low)
        clipped: FloatImage = np.clip(soft, 0, 1).astype(np.float32)
        return clipped

    return make


@dataclass(frozen=True, slots=True)
class Keep:
    """Where a result is kept.

    Attributes
    ----------
    stem : of its two files.
    identity : of system, set, size and metrics: what was kept under another one is made anew.
    pixels : SHA-256 of the pairs, see `pixels_of`: a folder may get other pictures under the same names.
    """

    stem: Path
    identity: str
    pixels: str


def measure(
    make: Make, pairs: tuple[HeldOut, Mapping[str, Prepared]], judge: Judge, keep: Keep, advance: Callable[[], None]
) -> Measured:
    """Make and measure every case, or read what an earlier run kept of exactly this.

    Parameters
    ----------
    pairs : the set, and its cases as `prepare` gave them.
    advance : told after each case.
    """
    known = _read(keep)
    if known is not None:
        return known
    held_out, prepared = pairs
    found, shown = Measured(), shown_cases(held_out)
    for case in held_out.cases:
        pair = prepared[case.name]
        started = time.process_time()
        output = make(case, pair)
        found.seconds.append(time.process_time() - started)
        found.scores[case.name] = judge.scores(pair.reference, output)
        if case.name in shown:
            found.pictures[case.name] = output
        advance()
    _write(keep, found)
    return found


def _read(keep: Keep) -> Measured | None:
    scores, pictures = keep.stem.with_suffix(".json"), keep.stem.with_suffix(".npz")
    if not (scores.is_file() and pictures.is_file()):
        return None
    try:
        told = json.loads(scores.read_text(encoding="utf-8"))
    except ValueError:  # half a file, after the power failed
        return None
    # the first comparisons did not note the pixels
    if (told["identity"], told.get("pixels", keep.pixels)) != (keep.identity, keep.pixels):
        return None
    with np.load(pictures) as stored:
        images: dict[str, NDArray[np.float32]] = {name: stored[name] for name in stored.files}
    return Measured(told["scores"], told["seconds"], images)


def _write(keep: Keep, found: Measured) -> None:
    """Pictures first: scores without them are made anew."""
    keep.stem.parent.mkdir(parents=True, exist_ok=True)
    part = keep.stem.with_suffix(".npz.part")
    with part.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **found.pictures)
    part.replace(keep.stem.with_suffix(".npz"))
    told = {"identity": keep.identity, "pixels": keep.pixels, "scores": found.scores, "seconds": found.seconds}
    part = keep.stem.with_suffix(".json.part")
    part.write_text(json.dumps(told, indent=1), encoding="utf-8")  # NaN as Python writes and reads it
    part.replace(keep.stem.with_suffix(".json"))
