"""One comparison from beginning to end; every finished part is kept, and the same call goes on from there."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from model.bundle import Bundle
from pacs_node.config import Device
from pacs_node.engine import Engine
from pacs_node.engine.load import open_engine
from pacs_node.engine.torch_engine import TorchEngine, rebuild
from pacs_node.errors import ConfigError
from pacs_node.pipeline import noise_seed, predicted_bone
from pacs_node.records import FloatImage
from training.baselines.registry import BASELINES, Scale
from training.compare.ground import Ground, HeldOut
from training.compare.measure import (
    Keep,
    Make,
    Measured,
    Prepared,
    measure,
    on_the_grid,
    pixels_of,
    prepare,
    shown_cases,
)
from training.compare.page import Pictures
from training.compare.pictures import jpeg_sheet
from training.compare.result import Comparison, Row, SetResult
from training.compare.systems import NAMES, TITLES, Name, open_system
from training.compare.trained import FACTS, Budget, Task, Trained, described, earlier, taken_over, train_system
from training.evaluate.cases import Case, measured
from training.evaluate.contenders import suppressed
from training.evaluate.facts import model_facts
from training.evaluate.scores import Judge
from training.metrics import tone_fitted
from training.preset import Preset
from training.readers.durable import write_atomically

__all__ = ["SHIPS", "Order", "Watcher", "claim_folder", "compare", "one_thread", "sheets", "train_all"]

PLAN, SYSTEMS, MEASURED = "plan.json", "systems", "measured"
SHIPS = "ships"
SMALL = 192  # px of a picture that is passed on with a page
Note = Callable[[Comparison], None]


@dataclass(frozen=True, slots=True)
class Order:
    """What to compare.

    Attributes
    ----------
    folder : gets `systems/NAME/`, `measured/SET/NAME.json` and what the command writes.
    names : which systems to train and measure now; those that were trained before are reported too.
    scales : of the rivals.
    loaded : systems that are taken over, name -> folder of the training.
    bundle : what ships, for a row of its own; None leaves it out.
    """

    folder: Path
    preset: Preset
    budget: Budget
    names: tuple[Name, ...] = NAMES
    scales: Mapping[Name, Scale] = field(default_factory=dict)
    loaded: Mapping[Name, Path] = field(default_factory=dict)
    bundle: Bundle | None = None
    quiet: bool = False

    def scale(self, name: Name) -> Scale:
        """Of one rival."""
        return self.scales.get(name, "small")


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told how far it is.

    Attributes
    ----------
    begin : what, and of how many parts.
    advance : one part is done.
    note : after every finished part, all that is known by then.
    """

    begin: Callable[[str, int], None]
    advance: Callable[[], None]
    note: Note


def one_thread() -> None:
    """What a budget of processor time is counted in."""
    torch.set_num_threads(1)


def claim_folder(order: Order, ground: Ground) -> None:
    """Note what the folder's trainings share; another plan there would be another comparison.

    Raises
    ------
    ConfigError
        The folder holds a comparison of another size, budget, seed or other pairs. Each system notes its preset.
    """
    budget = order.budget
    plan = {"cpu_minutes": repr(budget.cpu_minutes), "max_steps": budget.max_steps, "framings": budget.framings}
    plan |= {"seed": budget.seed, "pairs": ground.identity, "size": order.preset.grid}
    path = order.folder / PLAN
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        other = sorted(key for key in plan if before.get(key) != plan[key])
        if other:
            raise ConfigError(f"{order.folder} holds a comparison with other {', '.join(other)}: choose another folder")
    order.folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(plan, indent=1).encode())


def train_all(order: Order, ground: Ground, tell: Callable[[str], None]) -> dict[Name, Trained] | None:
    """Train what is to be trained, one after the other.

    Returns
    -------
    name -> what its training cost; with those of earlier calls. None when one was stopped on the way.

    Raises
    ------
    TrainingError, CheckpointError
        A system was trained at another scale or with another preset here; see also `training.compare.trained`.
    """
    found: dict[Name, Trained] = {}
    for name in NAMES:
        folder = order.folder / SYSTEMS / name
        if name in order.loaded:
            found[name] = taken_over(name, order.loaded[name])
            continue
        if name not in order.names:
            if (folder / FACTS).is_file():
                found[name] = earlier(folder)
            continue
        tell(f"{TITLES[name]}: {folder}")
        trained = train_system(Task(name, order.scale(name), order.preset, ground, order.budget, folder, order.quiet))
        if trained is None:
            return None
        found[name] = trained
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Contender:
    row: Row
    make: Make
    identity: str


def compare(
    order: Order, trained: Mapping[Name, Trained], sets: Sequence[HeldOut], judge: Judge, watch: Watcher
) -> Comparison:
    """Measure every system on every set.

    Raises
    ------
    ConfigError
        A pair cannot be read.
    ModelError
        The bundle cannot be run.
    """
    contenders = [*_trivial(), *_trained(order, trained), *([_ships(order)] if order.bundle else [])]
    rows, results = tuple(each.row for each in contenders), []
    for held_out in sets:
        watch.begin(f"reading {held_out.name}", len(held_out.cases))
        prepared = {}
        for case in held_out.cases:
            prepared[case.name] = prepare(case, order.preset.grid)
            watch.advance()
        found: dict[str, Measured] = {}
        pixels = pixels_of(prepared)
        results.append(SetResult(held_out, found))
        for each in contenders:
            watch.begin(f"{held_out.name}: {each.row.title}", len(held_out.cases))
            stem = order.folder / MEASURED / held_out.name / each.row.key
            keep = Keep(stem, _identity(each, held_out, order.preset, judge), pixels)
            found[each.row.key] = measure(each.make, (held_out, prepared), judge, keep, watch.advance)
            watch.note(Comparison({}, rows, tuple(results)))
    return Comparison({}, rows, tuple(results))


def _identity(contender: _Contender, held_out: HeldOut, preset: Preset, judge: Judge) -> str:
    cases = [case.name for case in held_out.cases]
    return json.dumps(
        [contender.identity, held_out.title, cases, preset.grid, judge.perceptual is not None, judge.side]
    )


def _trivial() -> list[_Contender]:
    def identity(_case: Case, pair: Prepared) -> FloatImage:
        return pair.reference.cxr

    def toned(_case: Case, pair: Prepared) -> FloatImage:
        return tone_fitted(pair.reference.cxr, pair.reference.truth, pair.reference.everywhere)

    def truth(_case: Case, pair: Prepared) -> FloatImage:
        return pair.reference.truth

    titles = {"identity": "identity (the input)", "tone_curve": "best tone curve", "truth": "the truth"}
    makes: dict[str, Make] = {"identity": identity, "tone_curve": toned, "truth": truth}
    return [_Contender(Row(key, titles[key], "trivial"), make, key) for key, make in makes.items()]


def _trained(order: Order, trained: Mapping[Name, Trained]) -> list[_Contender]:
    made = []
    for name, facts in trained.items():
        system = open_system(name, facts.folder, order.preset)
        row = Row(
            name,
            TITLES[name],
            "loaded" if facts.loaded else "system",
            described(name, facts, order.preset),
            system.parameters,
            system.flops(order.preset.grid),
            facts.steps,
            facts.cpu_minutes,
            published=None if name == "control" or name == "ours" else BASELINES[name].parameters("paper"),  # noqa: PLR1714 (narrows)
        )
        made.append(_Contender(row, on_the_grid(system, order.preset.grid), facts.identity))
    return made


def _ships(order: Order) -> _Contender:
    """The bundle on the radiograph as delivered, as the service runs it; only what it shows is averaged down."""
    bundle, size = order.bundle, order.preset.grid
    assert bundle is not None  # noqa: S101  (asked by the caller)
    engine = open_engine(bundle, Device.CPU, 1)

    def make(case: Case, pair: Prepared) -> FloatImage:
        seed = noise_seed(case.name, bundle.digest, bundle.spec.steps, 0)
        return measured(suppressed(pair.native, engine, bundle.spec.steps, seed).soft, size)

    parameters, flop = _work(bundle)
    steps = {stage: int(meta.get("step", 0)) for stage, meta in bundle.spec.training.items() if isinstance(meta, dict)}
    title, scale = (
        f"ours as it ships: {bundle.spec.name} {bundle.spec.version}",
        f"its own grid of {bundle.spec.grid} px",
    )
    seen = model_facts(bundle).get("real pairs in its training", "")
    row = Row(SHIPS, title, "ships", scale, parameters, flop, steps, seen=seen)
    return _Contender(row, make, bundle.digest)


def _work(bundle: Bundle) -> tuple[int, float]:
    """Weights of a bundle, and the operations of one image on its own grid."""
    modules = [module for module in rebuild(bundle) if module is not None]
    engine: Engine = TorchEngine.open(bundle, Device.CPU)
    image = np.zeros((1, 1, bundle.spec.grid, bundle.spec.grid), np.float32)
    with FlopCounterMode(display=False) as counter:
        predicted_bone(image, engine, bundle.spec.steps, 0)
    return sum(weight.numel() for module in modules for weight in module.parameters()), float(counter.get_total_flops())


def sheets(comparison: Comparison, order: Order, stem: str | None) -> tuple[dict[str, Pictures], dict[str, bytes]]:
    """Pictures of every set, side by side.

    Parameters
    ----------
    stem : of the files beside a page that is passed on, which get one pair of each simulated set; None for a page
        that keeps all pictures inside.

    Returns
    -------
    Set -> its sheets, and file name -> JPEG.
    """
    titles, made, files = {row.key: row.title for row in comparison.rows}, {}, {}
    for result in comparison.sets:
        names = shown_cases(result.held_out)
        if stem is None:
            found = {name: _sheet(result, titles, name, order.preset.grid) for name in names}
            made[result.held_out.name] = Pictures(found)
        elif result.held_out.simulated:
            file = f"{stem}-{result.held_out.name}.jpg"
            files[file] = _sheet(result, titles, names[0], SMALL)
            made[result.held_out.name] = Pictures({}, file)
    return made, files


def _sheet(result: SetResult, titles: Mapping[str, str], name: str, side: int) -> bytes:
    order = ["identity", *(key for key in result.measured if key not in ("identity", "tone_curve", "truth"))]
    truth = result.measured["truth"].pictures[name]
    return jpeg_sheet({titles[key]: result.measured[key].pictures[name] for key in order}, truth, side)
