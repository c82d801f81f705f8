"""Put lesions into radiographs, run the service's own pipeline with and without them, and measure what is left."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from model.bundle import FusionSpec
from pacs_node.engine import Engine
from pacs_node.imaging.fit import intensity_range, to_grid
from pacs_node.imaging.fuse import native_layer
from pacs_node.pipeline import predicted_bone, run_network
from pacs_node.records import FloatImage, MaskImage, Radiograph
from training.evaluate.cases import Case, open_cases, read_positive
from training.ingest.manifest import Split
from training.lesions.attenuation import MU, ToneCurve, mm_per_px
from training.lesions.measure import FalseStructures, Four, Remains, false_structures, remains
from training.lesions.places import Place, bone_mask, places_for, two_lungs
from training.lesions.shapes import (
    NODULES,
    SIZES_MM,
    Kind,
    Shadow,
    Sheet,
    catheter,
    consolidation,
    nodule,
    pneumothorax,
)
from training.metrics import lung_mask, tone_fitted
from training.radiographs import SUFFIXES

__all__ = ["Found", "Lesion", "Pass", "Subject", "measure_all", "paired_subjects", "plain_subjects"]

NODULE_PASSES = 4  # of one radiograph; one more holds a consolidation and lines
EACH_PASS = 5  # nodules
SCATTERED = (0.1, 0.5)  # share of the primary contrast that scatter takes, even with a grid
CONSOLIDATION_MM = (25.0, 60.0)
NETWORK_SEED = 1
Each = TypeVar("Each")


@dataclass(frozen=True, slots=True)
class Subject:
    """One radiograph to put lesions into.

    Attributes
    ----------
    load : reads it, and the true layer of bone (rows, columns) in P-values where it is known.
    known : whether it is.
    """

    name: str
    known: bool
    load: Callable[[], tuple[Radiograph, FloatImage | None]]


@dataclass(frozen=True, slots=True)
class Lesion:
    """One lesion and what is left of it."""

    subject: str
    truth_known: bool
    kind: Kind
    size_mm: float
    place: Place | None
    remains: Remains


@dataclass(frozen=True, slots=True)
class Pass:
    """One radiograph with several lesions."""

    subject: str
    truth_known: bool
    lesions: int
    false: FalseStructures


@dataclass(slots=True)
class Found:
    """All that was measured; ``skipped`` names radiographs without two lungs that the crude threshold finds."""

    lesions: list[Lesion] = field(default_factory=list)
    passes: list[Pass] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def plain_subjects(folder: Path, count: int) -> list[Subject]:
    """``count`` radiographs of a folder, evenly over their names; places come from the predicted layer."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in {*SUFFIXES, ".dcm"})
    return [Subject(path.stem, False, partial(_plain, path)) for path in _some(paths, count)]


def _plain(path: Path) -> tuple[Radiograph, None]:
    return read_positive(path), None


def paired_subjects(folder: Path, count: int, split: Split | None = None) -> list[Subject]:
    """``count`` pairs of a folder, evenly over their names; places come from the true layer.

    Parameters
    ----------
    split : of an ingested folder; None for all of it.

    Raises
    ------
    ConfigError
        There is no pair, or a split is asked for where there is none.
    """
    return [Subject(case.name, True, partial(_paired, case)) for case in _some(open_cases(folder, split), count)]


def _paired(case: Case) -> tuple[Radiograph, FloatImage]:
    twins = case.load()
    pixels = twins.radiograph.pixels
    return twins.radiograph, pixels - tone_fitted(twins.truth, pixels, np.ones(pixels.shape, dtype=bool))


def _some(items: Sequence[Each], count: int) -> list[Each]:
    many = min(count, len(items))
    return [items[int(index)] for index in np.linspace(0, len(items) - 1, many).round()]


def measure_all(subjects: Sequence[Subject], engine: Engine, seed: int, advance: Callable[[], None]) -> Found:
    """Every lesion in every radiograph; ``advance`` is called after each radiograph."""
    found = Found()
    for number, subject in enumerate(subjects):
        radiograph, layer = subject.load()
        lungs = lung_mask(radiograph.pixels, np.ones(radiograph.pixels.shape, dtype=bool))
        if len(two_lungs(lungs)) < 2:
            found.skipped.append(subject.name)
        else:
            rng = np.random.default_rng([seed, number, 0x1E510])
            _measure(Film.of(radiograph, lungs, layer, engine), subject, rng, engine, found)
        advance()
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """A radiograph with all that placing and measuring need."""

    radiograph: Radiograph
    lungs: MaskImage
    bone: MaskImage
    companion: FloatImage
    tone: ToneCurve
    spread: float
    mm: float

    @classmethod
    def of(cls, radiograph: Radiograph, lungs: MaskImage, layer: FloatImage | None, engine: Engine) -> "Film":
        """Run the network; ``layer`` is the true one where it is known."""
        pixels = radiograph.pixels
        companion = _companion(radiograph, engine)
        low, high = intensity_range(pixels, None if radiograph.padding is None else ~radiograph.padding)
        bone = bone_mask(_whole_layer(radiograph, engine) if layer is None else layer, lungs)
        tone = ToneCurve.of(pixels, lungs)
        return cls(radiograph, lungs, bone, companion, tone, high - low, mm_per_px(radiograph, lungs))

    def with_shadows(self, shadows: Sequence[Shadow], scattered: float, engine: Engine) -> Four:
        """The four images; ``scattered`` is the share of contrast that is lost before the detector."""
        pixels = self.radiograph.pixels
        grams = np.zeros(pixels.shape, np.float32)
        for shadow in shadows:
            grams[shadow.window] += shadow.grams
        marked = pixels + self.tone.added(pixels, np.float32(MU * (1 - scattered)) * grams)
        film = Radiograph(marked, self.radiograph.padding, self.radiograph.bits_stored, self.radiograph.ds)
        return Four(pixels, self.companion, marked, _companion(film, engine), self.mm)


def _whole_layer(radiograph: Radiograph, engine: Engine) -> FloatImage:
    """What the network takes for bone, before fusion weighs it: where lesions lie must not depend on a strength."""
    grid_image = to_grid(radiograph, engine.spec.grid)
    layer = predicted_bone(grid_image.pixels, engine, engine.spec.steps, NETWORK_SEED)
    return native_layer(layer, radiograph, grid_image, FusionSpec())


def _companion(radiograph: Radiograph, engine: Engine) -> FloatImage:
    """What the service subtracts, before it is rounded to the source's depth."""
    layer = run_network(radiograph, engine, engine.spec.steps, NETWORK_SEED).bone_layer
    companion: FloatImage = np.clip(radiograph.pixels - layer, 0, 1)
    return companion


def _measure(film: Film, subject: Subject, rng: np.random.Generator, engine: Engine, found: Found) -> None:
    for lesions in _passes(film, rng):
        shadows = [shadow for _, _, _, shadow in lesions]
        if not shadows:
            continue
        four = film.with_shadows(shadows, float(rng.uniform(*SCATTERED)), engine)
        for kind, size_mm, place, shadow in lesions:
            lesion = Lesion(subject.name, subject.known, kind, size_mm, place, remains(four, shadow))
            found.lesions.append(lesion)
        false = false_structures(four, shadows, film.spread)
        found.passes.append(Pass(subject.name, subject.known, len(shadows), false))


Drawn = tuple[Kind, float, Place | None, Shadow]


def _passes(film: Film, rng: np.random.Generator) -> Iterator[list[Drawn]]:
    deck = [(kind, size) for kind in NODULES for size in SIZES_MM[kind]]
    order = list(rng.permutation(len(deck))) * 2  # so that every size comes once or twice in one radiograph
    for number in range(NODULE_PASSES):
        chosen = [deck[index] for index in order[number * EACH_PASS : (number + 1) * EACH_PASS]]
        yield _nodules(film, rng, sorted(chosen, key=lambda each: -each[1]))
    yield _others(film, rng)


def _nodules(film: Film, rng: np.random.Generator, chosen: Sequence[tuple[Kind, float]]) -> list[Drawn]:
    first = int(rng.integers(2))
    sides: tuple[Place, Place] = ("behind ribs", "between ribs")
    wanted = [(size / 2, sides[(number + first) % 2]) for number, (_, size) in enumerate(chosen)]
    made: list[Drawn] = []
    for (kind, size), at in zip(chosen, places_for(rng, film.lungs, film.bone, wanted, film.mm), strict=True):
        if at is not None:
            shadow = nodule(rng, kind, size, at[:2], Sheet(film.lungs.shape, film.mm))
            made.append((kind, size, at[2], shadow))
    return made


def _others(film: Film, rng: np.random.Generator) -> list[Drawn]:
    """A line in each lung, and a consolidation beside the catheter where there is room."""
    lungs = two_lungs(film.lungs)
    lungs = [lungs[int(index)] for index in rng.permutation(len(lungs))]
    made: list[Drawn] = []
    edge = pneumothorax(rng, lungs[0], film.mm)
    if edge is not None:
        made.append(("pneumothorax edge", 1.0, None, edge))
    made.append(("catheter", 2.0, None, catheter(rng, lungs[1], film.mm)))
    size = float(rng.uniform(*CONSOLIDATION_MM))
    rows = np.flatnonzero(lungs[0].any(axis=1))
    base = lungs[0].copy()
    base[: int(np.percentile(rows, 55))] = False  # below the pneumothorax
    at = places_for(rng, base, film.bone, [(size / 4, "across an edge")], film.mm)[0]
    if at is not None:
        made.append(("consolidation", size, None, consolidation(rng, size, at[:2], Sheet(base.shape, film.mm))))
    return made
