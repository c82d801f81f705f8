"""One evaluation from beginning to end: every contender on every pair, then what needs no truth."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from model.bundle import Bundle
from pacs_node.engine import Engine
from training.baselines.rival import Rival
from training.control_network import ControlNetwork
from training.evaluate.cases import Case, measured, read_positive
from training.evaluate.contenders import Contender, Kind, OpenFold, Others, Output, contenders, suppressed
from training.evaluate.pictures import Panel, panel
from training.evaluate.reconstruction import SIZES, Reconstruction, reconstruct
from training.evaluate.scores import Judge, Reference, Scores
from training.evaluate.stability import NODULE_SIGMAS, NoduleContrast, SeedSpread, nodule_contrast, seed_spread

__all__ = ["Evaluation", "Materials", "Row", "evaluate"]

SHOWN_RADIOGRAPHS = 12
CODING = 3  # what encoding and decoding twice cost, in evaluations of the denoiser; for the bar only


@dataclass(frozen=True, slots=True)
class Materials:
    """What is evaluated, and on what.

    Attributes
    ----------
    steps : numbers of network evaluations, beside the bundle's own.
    fold : bundles for leaving pairs out, see `training.evaluate.contenders`.
    rivals : other networks to compare with.
    radiographs : held-out pictures without twins; may be empty.
    threads : of the control and of LPIPS; 0 leaves torch its choice. The engine has its own.
    """

    bundle: Bundle
    engine: Engine
    cases: Sequence[Case]
    steps: tuple[int, ...]
    judge: Judge
    control: ControlNetwork | None = None
    fold: OpenFold | None = None
    radiographs: Sequence[Path] = ()
    threads: int = 0
    rivals: Sequence[Rival] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One contender on all pairs.

    Attributes
    ----------
    scores : by the name of the pair.
    seconds : a pair takes, reading and measuring not included; mean.
    """

    key: str
    title: str
    kind: Kind
    scores: dict[str, Scores]
    seconds: float


@dataclass(slots=True)
class Evaluation:
    """All that was found."""

    cases: list[Case]
    shipped: str
    rows: list[Row] = field(default_factory=list)
    seeds: list[SeedSpread] = field(default_factory=list)
    reconstructions: list[Reconstruction] = field(default_factory=list)
    nodules: list[NoduleContrast] = field(default_factory=list)
    pair_panels: list[Panel] = field(default_factory=list)
    radiograph_panels: list[Panel] = field(default_factory=list)


def evaluate(materials: Materials, bar: Progress, tell: Callable[[str], None] = lambda _: None) -> Evaluation:
    """Make and measure everything.

    Parameters
    ----------
    bar : started; gets a task for the pairs and one for the radiographs.
    tell : is told once how long it will take.

    Raises
    ------
    ConfigError
        A pair cannot be read.
    """
    if materials.threads:
        torch.set_num_threads(materials.threads)
    result = Evaluation(list(materials.cases), f"steps_{materials.bundle.spec.steps}")
    _pairs(materials, result, bar, tell)
    if materials.radiographs:
        _radiographs(materials, result, bar)
    return result


def _pairs(materials: Materials, result: Evaluation, bar: Progress, tell: Callable[[str], None]) -> None:
    others = Others(materials.control, materials.fold, materials.rivals)
    rows = list(contenders(materials.bundle, materials.engine, materials.steps, others))
    work = [CODING + row.evaluations for row in rows]
    steps = materials.bundle.spec.steps
    task = bar.add_task("pairs", total=len(materials.cases) * (sum(work) + 2 * (CODING + steps)))
    found: dict[str, dict[str, Scores]] = {row.key: {} for row in rows}
    seconds: dict[str, list[float]] = {row.key: [] for row in rows}
    for number, case in enumerate(materials.cases):
        twins = case.load()
        reference = Reference(measured(twins.radiograph.pixels), measured(twins.truth))
        for row, units in zip(rows, work, strict=True):
            started = time.perf_counter()
            output = row.make(case.name, twins)
            seconds[row.key].append(time.perf_counter() - started)
            found[row.key][case.name] = materials.judge.scores(reference, measured(output.soft))
            if number == 0 and row is rows[0]:
                spent = time.perf_counter() - started
                tell(_estimate(materials, rows, spent))
            if row.key == result.shipped:
                result.pair_panels.append(_pair_panel(case, reference, output))
            bar.advance(task, units)
        spread, size = seed_spread(twins.radiograph, materials.engine, steps)
        result.seeds.append(SeedSpread(case.name, spread, size))
        bar.advance(task, 2 * (CODING + steps))
    result.rows = [Row(r.key, r.title, r.kind, found[r.key], float(np.mean(seconds[r.key]))) for r in rows]


def _pair_panel(case: Case, reference: Reference, output: Output) -> Panel:
    return panel(case.name, reference.cxr, measured(output.soft), measured(output.layer), reference.truth)


def _radiographs(materials: Materials, result: Evaluation, bar: Progress) -> None:
    paths, engine, steps = materials.radiographs, materials.engine, materials.bundle.spec.steps
    shown = {paths[int(i)] for i in np.linspace(0, len(paths) - 1, min(SHOWN_RADIOGRAPHS, len(paths))).round()}
    task = bar.add_task("radiographs", total=len(paths) + len(shown) * (1 + len(NODULE_SIGMAS)))
    quality: dict[int, list[float]] = {size: [] for size in SIZES}
    kept: dict[float, list[float]] = {sigma: [] for sigma in NODULE_SIGMAS}
    for path in paths:
        for size in SIZES:
            quality[size].append(reconstruct(engine, path, size))
        bar.advance(task)
        if path not in shown:
            continue
        radiograph = read_positive(path)
        output = suppressed(radiograph, engine, steps, seed=0)
        result.radiograph_panels.append(panel(path.stem, radiograph.pixels, output.soft, output.layer))
        bar.advance(task)
        for sigma in NODULE_SIGMAS:
            kept[sigma] += nodule_contrast(radiograph, engine, steps, sigma)
            bar.advance(task)
    result.reconstructions = [Reconstruction(size, tuple(figures)) for size, figures in quality.items()]
    result.nodules = [NoduleContrast(sigma, tuple(figures)) for sigma, figures in kept.items()]


def _estimate(materials: Materials, rows: Sequence[Contender], seconds_to_measure: float) -> str:
    """How long the pairs will take, from one encoding, one decoding and one evaluation of the denoiser."""
    engine, grid = materials.engine, materials.bundle.spec.grid
    started = time.perf_counter()
    latents = engine.encode(np.zeros((1, 1, grid, grid), np.float32))
    engine.decode(latents)
    coded = time.perf_counter()
    engine.predict(latents, np.ones(1, np.float32), latents)
    step = time.perf_counter() - coded
    evaluations = sum(row.evaluations for row in rows)
    count = len(materials.cases)
    seconds = count * (len(rows) * (seconds_to_measure + 1.5 * (coded - started)) + evaluations * step)
    return f"{count} pairs, {evaluations} network evaluations each: about {_spoken(seconds)}"


def _spoken(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
