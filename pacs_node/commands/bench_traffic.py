"""`pacs-node bench --ingest` and `--soak`: the node among real peers, as a department would load it."""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pacs_node.bench.archives import archive
from pacs_node.bench.environment import busy_warning, describe_environment
from pacs_node.bench.ingest import Volley, client_name, ingest_table, measure_ingest
from pacs_node.bench.markdown import MarkMissing, as_markdown, update_document
from pacs_node.bench.peers import serve
from pacs_node.bench.radiographs import MIXED, Form, formed, pictures_of
from pacs_node.bench.report import environment_facts
from pacs_node.bench.resident import ResidentSampler
from pacs_node.bench.rows import Grid
from pacs_node.bench.soak import Soak, SoakReport, make_pool, samples_csv, soak_svg, soak_table
from pacs_node.commands.errors import ExitCode
from pacs_node.commands.terminal import print_json, say, stderr, stdout, table
from pacs_node.demo import free_port
from pacs_node.errors import ConfigError, DiskFull, Retriable
from pacs_node.records import FloatImage

__all__ = ["Results", "SoakOrder", "run_ingest", "run_soak"]

INGEST_FORM = Form(2048, 16)
INGEST_IMAGES = 32
SIMULATED = 6  # pictures of a long run; each is shown in every form
POOL = 3 * len(MIXED)  # files that a long run draws on, about 0.4 GB


@dataclass(frozen=True, slots=True)
class Results:
    """Where figures go besides the terminal; ``json`` is a file or `-` for stdout."""

    json: str | None = None
    markdown: Path | None = None


@dataclass(frozen=True, slots=True)
class SoakOrder:
    """What `--soak` was asked for; see `pacs-node bench --help`."""

    count: int
    images: Path | None = None
    in_flight: int = 48
    keep: bool = False
    out: Path | None = None


def run_ingest(rounds: int, images: Path | None, results: Results) -> int:
    """Measure reception and show it.

    Raises
    ------
    ConfigError
        ``images`` holds no radiograph, or the document lacks the marks.
    Retriable
        A program did not start or did not take the images.
    """
    environment = _environment()
    with TemporaryDirectory(prefix="pacs-node-ingest-") as name, _spinner() as bar:
        task = bar.add_task("making radiographs", total=None)
        picture = pictures_of(images, 1)[0] if images else _simulated(1)[0]
        volley = Volley.of(formed(picture, INGEST_FORM, 0), INGEST_IMAGES, Path(name))
        rows = measure_ingest(volley, rounds, lambda told: bar.update(task, description=told))
    client = client_name()
    report = {"environment": environment, "client": client, "ingest": [row.as_json() for row in rows]}
    sent = f"Sent by {client}; {rounds} rounds, every program started anew in each, one at a time."
    _tell(report, [ingest_table(rows)], "ingest", results, [sent])
    return ExitCode.DONE


def run_soak(order: SoakOrder, results: Results) -> int:
    """Send and collect; the exit code is 1 when anything is missing or left, 130 after Ctrl-C.

    Raises
    ------
    ConfigError
        ``order.images`` holds no radiograph, or the document lacks the marks.
    Retriable
        The node or Orthanc did not start.
    """
    environment = _environment()
    with TemporaryDirectory(prefix="pacs-node-soak-") as name, _bar() as bar:
        report = _soak(order, Path(name), bar)
    _write_out(order, report)
    document = {"environment": environment, "soak": report.as_json()}
    _tell(document, [soak_table(report)], "soak", results, [])
    for problem in report.problems():
        say(f"pacs-node: {problem}")
    if report.stopped.startswith("interrupted"):
        return ExitCode.INTERRUPTED
    return ExitCode.FAILED if report.problems() else ExitCode.DONE


def _soak(order: SoakOrder, folder: Path, bar: Progress) -> SoakReport:
    """Everything in a folder of its own; Ctrl-C and a stop of any part end the run, not the report."""
    pictures = pictures_of(order.images, POOL) if order.images else _simulated(SIMULATED)
    places = [folder / name for name in ("pool", "archive", "node")]
    for place in places:
        place.mkdir()
    size = min(POOL, order.count)
    making = bar.add_task("making radiographs", total=size)
    pool = make_pool(pictures, size, places[0], lambda done: bar.update(making, completed=done))
    node_port = free_port()
    with (
        archive(places[1], node_port) as peer,
        serve(places[2], destination=(peer.ae_title, peer.port), port=node_port) as node,
        ResidentSampler(node.pid) as sampler,
    ):
        bar.update(making, visible=False)
        task = bar.add_task("companions that came back", total=order.count)
        soak = Soak(peer, node.folder, pool, count=order.count, in_flight=order.in_flight, keep=order.keep)
        try:
            soak.run(lambda back: bar.update(task, completed=back))
        except KeyboardInterrupt:
            soak.report.stopped = "interrupted: what was reached is shown"
        except Retriable as error:
            soak.report.stopped = str(error)
        soak.settle()
        soak.report.samples = sampler.samples
    return soak.report


def _write_out(order: SoakOrder, report: SoakReport) -> None:
    if order.out is None:
        return
    try:
        order.out.mkdir(parents=True, exist_ok=True)
        (order.out / "soak.csv").write_text(samples_csv(report), encoding="utf-8")
        (order.out / "soak.svg").write_text(soak_svg(report), encoding="utf-8")
    except ValueError as error:
        say(f"no curve was drawn: {error}")
    except OSError as error:
        raise DiskFull(f"{error.filename} cannot be written: {error.strerror}") from error


def _simulated(count: int) -> list[FloatImage]:
    from training.sample_dicom import sample_dataset  # noqa: PLC0415 (the one way up that the contracts allow)

    pictures = []
    for seed in range(count):
        ds = sample_dataset(18 + seed, (INGEST_FORM.side, INGEST_FORM.side))
        pictures.append((ds.pixel_array / np.float32(2**ds.BitsStored - 1)).astype(np.float32))
    return pictures


def _environment() -> dict[str, Any]:
    found = describe_environment()
    warning = busy_warning(found)
    if warning:
        say(warning)
    return found


def _tell(report: dict[str, Any], grids: list[Grid], mark: str, results: Results, notes: list[str]) -> None:
    facts = environment_facts(report)
    if results.json == "-":
        print_json(report)
    else:
        _print(facts, grids, notes)
    head = "\n".join(f"- {label}: {value}" for label, value in facts)
    try:
        if results.json not in (None, "-"):
            Path(str(results.json)).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        if results.markdown is not None:
            update_document(results.markdown, {mark: "\n\n".join([head, as_markdown(grids, notes)])})
    except MarkMissing as error:
        raise ConfigError(f"{results.markdown}: {error}; put both where the tables shall stand") from error
    except OSError as error:
        raise DiskFull(f"{error.filename} cannot be written: {error.strerror}") from error


def _print(facts: list[tuple[str, str]], grids: list[Grid], notes: list[str]) -> None:
    console = stdout()
    for name, value in facts:
        console.print(f"{name}: {value}", markup=False)
    for grid in grids:
        console.print()
        console.print(table(grid.columns, grid.rows, title=escape(grid.title)))
    for note in notes:
        console.print(note, markup=False)


def _spinner() -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    return Progress(*columns, console=stderr(), transient=True)


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=stderr(), transient=True)
