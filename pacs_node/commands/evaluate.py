"""`pacs-node evaluate`: a bundle on real pairs, beside what is trivial; or the checkpoints of trainings, ranked."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from model.bundle import Bundle
from pacs_node.commands.errors import ExitCode
from pacs_node.commands.places import require_places
from pacs_node.commands.terminal import print_json, say, stdout, table
from pacs_node.config import Device
from pacs_node.engine import Engine
from pacs_node.engine.load import load_bundle, open_engine
from pacs_node.errors import ConfigError, DiskFull
from training.baselines.export import open_rival
from training.baselines.rival import Rival
from training.checkpoint import CheckpointError, read_meta
from training.control import load_control
from training.control_network import ControlNetwork
from training.evaluate.cases import Case, open_cases, with_bone
from training.evaluate.choice import checkpoints, rank
from training.evaluate.facts import facts
from training.evaluate.folds import Folds
from training.evaluate.reconstruction import held_out
from training.evaluate.report import as_json, without_nan, write_markdown, write_report
from training.evaluate.run import Evaluation, Materials, evaluate
from training.evaluate.scores import LPIPS_SIDE, Judge
from training.evaluate.tables import summary
from training.ingest.manifest import Split
from training.perceptual import SMALLEST, PerceptualWeightsError, load_perceptual
from training.validate import RealPairs

__all__ = ["Order", "parse_steps", "run"]

MOST_STEPS = 1000
WITHOUT_LPIPS = "LPIPS was left out."


@dataclass(frozen=True, slots=True)
class Order:
    """What to evaluate and what to write; see `pacs-node evaluate --help`."""

    bundle: str
    pairs: Path
    split: Split | None = None
    steps: tuple[int, ...] = ()
    control: Path | None = None
    folds: Path | None = None
    radiographs: Path | None = None
    output: Path | None = None
    markdown: Path | None = None
    lpips_side: int = LPIPS_SIDE
    device: Device = Device.AUTO
    threads: int = 0
    rivals: tuple[Path, ...] = ()

    @property
    def command(self) -> str:
        """The command line that makes the same report."""
        words: list[object] = ["pacs-node", "evaluate", "--bundle", self.bundle, "--pairs", self.pairs]
        words += ["--steps", ",".join(map(str, self.steps))]
        named = (("split", self.split), ("control", self.control), ("folds", self.folds))
        files = (("radiographs", self.radiographs), ("output", self.output), ("markdown", self.markdown))
        for name, value in (*named, *files):
            words += [f"--{name}", value] if value is not None else []
        for folder in self.rivals:
            words += ["--baseline", folder]
        words += [] if self.lpips_side == LPIPS_SIDE else ["--lpips-side", self.lpips_side]
        return shlex.join(map(str, words))


def parse_steps(text: str) -> tuple[int, ...]:
    """Numbers of steps from `1,2,4`.

    Raises
    ------
    ConfigError
        One is no number from 1 to 1000.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(word.isdecimal() and 1 <= int(word) <= MOST_STEPS for word in words):
        raise ConfigError(f"--steps {text}: numbers from 1 to {MOST_STEPS} with commas between them, as 1,4,50")
    return tuple(sorted({int(word) for word in words}))


def run(order: Order, runs: tuple[Path, ...] = (), *, as_json_document: bool) -> int:
    """Evaluate, write what was asked for and show the summary; or rank the checkpoints of ``runs``.

    Raises
    ------
    ConfigError
        Pairs, bundle, control or weights of LPIPS are not there or cannot be used.
    ModelError
        The bundle cannot be run.
    DiskFull
        The report cannot be written.
    """
    if runs:
        return _ranked(order, runs, as_json_document=as_json_document)
    materials, notes = _materials(order)
    with _bar() as bar:
        result = evaluate(materials, bar, say)
    shown = facts(materials.bundle, materials.engine.device, order.command, _data(order, materials))
    written = _written(order, result, shown, notes)
    if as_json_document:
        print_json(as_json(result, shown))
    else:
        found = summary(result)
        stdout().print(table(found.columns, found.rows, title=found.title))
    for path in written:
        say(f"wrote {path}")
    return ExitCode.DONE


def _ranked(order: Order, runs: tuple[Path, ...], *, as_json_document: bool) -> int:
    """The checkpoints of training runs, by what they do on the pairs at the bundle's grid; the best comes first."""
    folders = [folder for run_folder in runs for folder in checkpoints(run_folder)]
    try:
        pairs = RealPairs(order.pairs, load_bundle(order.bundle).spec.grid, split=order.split)
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error
    choices = [asdict(choice) for choice in rank(folders, pairs)]
    if as_json_document:
        print_json(without_nan(choices))
    else:
        cells = [[f"{value:.3f}" if isinstance(value, float) else value for value in c.values()] for c in choices]
        stdout().print(table(list(choices[0]), cells, title=f"on {len(pairs.names)} pairs, the best first"))
    return ExitCode.DONE


def _materials(order: Order) -> tuple[Materials, list[str]]:
    """Open everything, so that what is missing is said before the work begins."""
    for folder in (order.pairs, order.radiographs, order.folds):
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"there is no folder {folder}")
    require_places(order.output, order.markdown)
    if 0 < order.lpips_side < SMALLEST:
        raise ConfigError(f"--lpips-side {order.lpips_side}: LPIPS needs {SMALLEST} px or more; 0 leaves it out")
    bundle = load_bundle(order.bundle)
    judge, notes = Judge(None), [WITHOUT_LPIPS]
    if order.lpips_side:
        try:
            judge, notes = Judge(load_perceptual(), order.lpips_side), []
        except PerceptualWeightsError as error:
            raise ConfigError(f"{error}; or go without it: --lpips-side 0") from error
    cases, boneless = with_bone(open_cases(order.pairs, order.split))
    if boneless:
        notes.append(f"Left out, radiograph and twin being the same picture: {', '.join(boneless)}.")
        say(notes[-1])
    return Materials(
        bundle=bundle,
        cases=cases,
        steps=order.steps,
        judge=judge,
        control=_control(order.control, bundle),
        rivals=_rivals(order.rivals),
        fold=Folds(order.folds, cases, partial(_opened, order)) if order.folds else None,
        radiographs=held_out(order.radiographs) if order.radiographs else (),
        threads=order.threads,
        engine=open_engine(bundle, order.device, order.threads),  # last: it takes the longest
    ), notes


def _opened(order: Order, folder: Path) -> tuple[Bundle, Engine]:
    bundle = load_bundle(folder)
    return bundle, open_engine(bundle, order.device, order.threads)


def _control(folder: Path | None, bundle: Bundle) -> ControlNetwork | None:
    if folder is None:
        return None
    try:
        control = load_control(_checkpoint(folder))
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
    if bundle.spec.grid % control.config.multiple:
        raise ConfigError(f"the control needs a grid in multiples of {control.config.multiple}, not {bundle.spec.grid}")
    return control


def _rivals(folders: Sequence[Path]) -> tuple[Rival, ...]:
    try:
        return tuple(open_rival(folder) for folder in folders)
    except CheckpointError as error:
        raise ConfigError(str(error)) from error


def _checkpoint(folder: Path) -> Path:
    """A checkpoint, or the best one of a training or of a run."""
    places = (folder, folder / "best", folder / "last", folder / "control" / "best", folder / "control" / "last")
    return next((place for place in places if (place / "meta.json").is_file()), folder)


def _data(order: Order, materials: Materials) -> dict[str, str]:
    counts: dict[str, int] = {}
    for case in materials.cases:
        counts[_kind(case)] = counts.get(_kind(case), 0) + 1
    data = {"pairs": ", ".join(f"{count} of {kind}" for kind, count in sorted(counts.items()))}
    if order.lpips_side:
        data["LPIPS"] = f"of images averaged down to {order.lpips_side} px"
    if order.split:
        data["split"] = order.split
    if materials.radiographs:
        data["radiographs"] = f"{len(materials.radiographs)}, the last of their folder by name"
    if order.control is not None:
        meta = read_meta(_checkpoint(order.control))
        data["control"] = f"step {meta['step']}, preset {(meta.get('provenance') or {}).get('preset', 'unknown')}"
    for rival in materials.rivals:
        data[rival.title] = f"step {rival.meta['step']}, {rival.parameters:,} weights, {rival.baseline.paper}"
    return data


def _kind(case: Case) -> str:
    return case.source if case.dual_energy else f"{case.source} (computed truth)"


def _written(order: Order, result: Evaluation, shown: dict[str, str], notes: list[str]) -> Sequence[Path]:
    written: list[Path] = []
    try:
        if order.output is not None:
            written += write_report(order.output, result, shown, notes)
        if order.markdown is not None:
            write_markdown(order.markdown, result, shown, notes)
            written.append(order.markdown)
    except OSError as error:
        raise DiskFull(f"{error.filename or order.output} cannot be written: {error.strerror}") from error
    return written


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True))
