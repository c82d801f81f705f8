"""`pacs-node evaluate --lesions`: what is left of nodules, consolidations and lines that are put into radiographs."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pacs_node.bench.environment import describe_environment
from pacs_node.commands.errors import ExitCode
from pacs_node.commands.places import require_places
from pacs_node.commands.terminal import print_json, say, stdout, table
from pacs_node.config import Device
from pacs_node.engine.load import load_bundle, open_engine
from pacs_node.errors import ConfigError, DiskFull
from training.evaluate.facts import facts
from training.ingest.manifest import Split
from training.lesions.report import as_json, write_json, write_page
from training.lesions.run import Found, Subject, measure_all, paired_subjects, plain_subjects
from training.lesions.tables import grids, headline

__all__ = ["LesionOrder", "run_lesions"]


@dataclass(frozen=True, slots=True)
class LesionOrder:
    """What to measure on and what to write; see `pacs-node evaluate --help`."""

    bundle: str
    radiographs: Path | None
    pairs: Path | None
    count: int
    seed: int
    output: Path | None = None
    markdown: Path | None = None
    device: Device = Device.AUTO
    threads: int = 0
    split: Split | None = None

    @property
    def command(self) -> str:
        """The command line that makes the same report."""
        words: list[object] = ["pacs-node", "evaluate", "--lesions", "--bundle", self.bundle]
        named = (("radiographs", self.radiographs), ("pairs", self.pairs), ("split", self.split))
        files = (("output", self.output), ("markdown", self.markdown))
        for name, value in (*named, ("count", self.count), ("seed", self.seed), *files):
            words += [f"--{name}", value] if value is not None else []
        return shlex.join(map(str, words))


def run_lesions(order: LesionOrder, *, as_json_document: bool) -> int:
    """Put lesions in, measure, write what was asked for and show the tables.

    Raises
    ------
    ConfigError
        No radiograph was named or found, in none of them lungs were found, or a folder is not there.
    ModelError
        The bundle cannot be run.
    DiskFull
        The report cannot be written.
    """
    subjects = _subjects(order)
    bundle = load_bundle(order.bundle)
    engine = open_engine(bundle, order.device, order.threads)
    machine = _machine(order)  # now: the commit may be another one when this ends
    with _bar() as bar:
        task = bar.add_task("lesions", total=len(subjects))
        found = measure_all(subjects, engine, order.seed, lambda: bar.advance(task))
    if not found.lesions:
        raise ConfigError("two lungs were found in none of the radiographs: name frontal chest radiographs, air black")
    shown = facts(bundle, engine.device, order.command, _data(order, subjects, found)) | machine
    written = _written(order, found, shown)
    if as_json_document:
        print_json(as_json(found, shown))
    else:
        for grid in grids(found):
            cells = [[str(cell) for cell in row] for row in grid.rows]
            stdout().print(table(list(grid.columns), cells, title=grid.title))
        for sentence in headline(found):
            say(sentence)
    for path in written:
        say(f"wrote {path}")
    return ExitCode.DONE


def _subjects(order: LesionOrder) -> list[Subject]:
    for folder in (order.radiographs, order.pairs):
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"there is no folder {folder}")
    require_places(order.output, order.markdown)
    subjects: list[Subject] = []
    if order.radiographs is not None:
        subjects += plain_subjects(order.radiographs, order.count)
    if order.pairs is not None:
        subjects += paired_subjects(order.pairs, order.count, order.split)
    if not subjects:
        raise ConfigError("--lesions needs frontal chest radiographs: --radiographs FOLDER, or --pairs FOLDER, or both")
    return subjects


def _data(order: LesionOrder, subjects: list[Subject], found: Found) -> dict[str, str]:
    used = {
        known: len({each.subject for each in found.lesions if each.truth_known is known}) for known in (True, False)
    }
    named = {True: ("pairs", order.pairs), False: ("radiographs", order.radiographs)}
    data = {}
    for known, (name, folder) in named.items():
        if folder is not None:
            tried = sum(subject.known is known for subject in subjects)
            data[name] = (
                f"{used[known]} of {tried}, evenly over the names in their folder; the others show no two lungs"
            )
    return data | {"lesions": f"{len(found.lesions)} in {len(found.passes)} sets, seed {order.seed}"}


def _machine(order: LesionOrder) -> dict[str, str]:
    seen = describe_environment(order.threads)
    return {"machine": f"{seen['cpu']}, {seen['cores']} cores", "commit": str(seen["commit"])}


def _written(order: LesionOrder, found: Found, shown: dict[str, str]) -> list[Path]:
    written: list[Path] = []
    try:
        if order.output is not None:
            order.output.mkdir(parents=True, exist_ok=True)
            written.append(write_json(order.output / "lesions.json", found, shown))
            written += write_page(order.output / "lesions.md", found, shown)
        if order.markdown is not None:
            written += write_page(order.markdown, found, shown)
    except OSError as error:
        raise DiskFull(f"{error.filename or order.output} cannot be written: {error.strerror}") from error
    return written


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True))
