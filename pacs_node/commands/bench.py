"""`pacs-node bench`: how long a companion takes, where the time goes, and what else there is to compare it with."""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from model.bundle import Bundle
from pacs_node.bench.environment import busy_warning, describe_environment
from pacs_node.bench.markdown import MarkMissing, update_document
from pacs_node.bench.plan import BATCHES
from pacs_node.bench.report import FORMAT, document_bodies, environment_facts
from pacs_node.bench.session import Plan, Session
from pacs_node.bench.stages import Subject
from pacs_node.bench.tables import all_tables, size_tables
from pacs_node.commands.errors import ExitCode
from pacs_node.commands.terminal import print_json, say, stderr, stdout, table
from pacs_node.config import Device, Settings, config_file, load_settings
from pacs_node.engine import Engine
from pacs_node.engine.load import load_bundle, open_engine
from pacs_node.errors import ConfigError, DiskFull, ModelError

__all__ = ["Order", "run"]

SIDE = 2048  # px of the simulated radiograph
SIZES = (1024, 2048, 3072, 4096)


@dataclass(frozen=True, slots=True)
class Order:
    """What to measure; see `pacs-node bench --help`."""

    image: Path | None = None
    bundle: str | None = None
    device: str = "auto"
    threads: int | None = None
    repeat: int = 10
    batches: str | None = None
    quick: bool = False
    sizes: bool = False
    config: Path | None = None


def run(order: Order, *, results: str | None, markdown: Path | None, show: Path | None) -> int:
    """Measure, or read an earlier report, and show it.

    Raises
    ------
    ConfigError
        There is no such image or report, or the document lacks the marks.
    """
    report = _read(show) if show is not None else _measure(order)
    _write(report, results, markdown)
    if results != "-":
        _print(report)
    return ExitCode.DONE


def _read(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        known = report["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"--from {path}: not a file that pacs-node bench --json wrote") from error
    if not known:
        raise ConfigError(f"--from {path}: it was written by another version; measure again")
    return dict(report)


def _measure(order: Order) -> dict[str, Any]:
    if order.image is not None and not order.image.is_file():
        raise ConfigError(f"--image {order.image} is not a file; leave it out for a simulated radiograph")
    batches = _batches(order.batches)
    settings = _settings(order)
    warning = busy_warning(describe_environment())
    if warning:
        say(warning)
    with TemporaryDirectory(prefix="pacs-node-bench-") as name, _bar() as bar:
        task = bar.add_task("loading the network", total=None)
        folder, bundle = Path(name), load_bundle(settings.model.bundle)
        device = _device(settings)
        engine, told = _engine(bundle, settings, device)
        image = order.image or _simulated(folder / "radiograph.dcm", (SIDE, SIDE))
        plan = Plan(
            image.resolve(),
            config_file(order.config).resolve(),
            device,
            order.repeat,
            batches or BATCHES[device.value],
            order.quick,
            SIZES if order.sizes else (),
            _simulated,
        )
        session = Session(Subject(bundle, engine, settings), plan, folder)
        session.begin()
        session.report["warnings"] += told
        session.report["environment"]["engine_device"] = engine.device
        steps = session.steps()
        bar.update(task, total=len(steps))
        for title, measure in steps:
            bar.update(task, description=title)
            measure()
            bar.advance(task)
    return session.report


def _batches(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    words = text.split(",")
    if not all(word.isdecimal() and int(word) for word in words):
        raise ConfigError(f"--batches {text}: numbers of images with commas are asked for, as 1,2,4")
    return tuple(sorted({1, *map(int, words)}))


def _settings(order: Order) -> Settings:
    """Those of the file, with what the command line says; a folder becomes absolute, for processes of their own."""
    overrides: dict[str, Any] = {"model.device": order.device} if order.device != "auto" else {}
    if order.threads is not None:
        overrides["model.threads"] = order.threads
    settings = load_settings(order.config, overrides)
    bundle = order.bundle or settings.model.bundle
    folder = Path(bundle).expanduser()
    named = str(folder.resolve()) if folder.is_dir() else bundle
    return settings.model_copy(update={"model": settings.model.model_copy(update={"bundle": named})})


def _device(settings: Settings) -> Device:
    """`cuda` where it is named, or where there is a GPU: torch may run on one that this ONNX Runtime cannot use."""
    if settings.model.device is not Device.AUTO:
        return Device.CPU if settings.model.device is Device.CPU else Device.CUDA
    return Device.CUDA if describe_environment()["gpu"] else Device.CPU


def _engine(bundle: Bundle, settings: Settings, device: Device) -> tuple[Engine, list[str]]:
    """The engine of the service; on the CPU, and a sentence about it, where the GPU is there for others only."""
    try:
        return open_engine(bundle, settings.model), []
    except ModelError as error:
        if device is not Device.CUDA:
            raise
        on_cpu = settings.model.model_copy(update={"device": Device.CPU})
        return open_engine(bundle, on_cpu), [f"the stages ran on the CPU: {error}"]


def _simulated(path: Path, size: tuple[int, int]) -> Path:
    from training.sample_dicom import write_sample  # noqa: PLC0415 (the one way up that the contracts allow)

    write_sample(path, size=size)
    return path


def _write(report: dict[str, Any], results: str | None, markdown: Path | None) -> None:
    if results == "-":
        print_json(report)
    try:
        if results not in (None, "-"):
            Path(str(results)).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        if markdown is not None:
            update_document(markdown, document_bodies(report))
    except MarkMissing as error:
        raise ConfigError(f"{markdown}: {error}; put both where the tables shall stand") from error
    except OSError as error:
        raise DiskFull(f"{error.filename} cannot be written: {error.strerror}") from error


def _print(report: dict[str, Any]) -> None:
    console = stdout()
    for name, value in environment_facts(report):
        console.print(f"{name}: {value}", markup=False)
    for grid in [*all_tables(report), *size_tables(report)]:
        console.print()
        console.print(grid.title, markup=False, style="bold")
        console.print(table(grid.columns, grid.rows))
    for warning in report["warnings"]:
        say(f"note: {warning}")


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=stderr(), transient=True)
