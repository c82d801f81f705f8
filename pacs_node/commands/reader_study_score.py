"""`pacs-node reader-study score`: the tables of a reader study, as far as it was read."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pacs_node import __version__
from pacs_node.bench.environment import describe_environment
from pacs_node.commands.errors import EXTRAS, ExitCode
from pacs_node.commands.places import require_places
from pacs_node.commands.terminal import print_json, say, stdout, table
from training.readers.durable import write_atomically
from training.readers.page import NOBODY_READ, as_json, as_page, readings_csv
from training.readers.records import open_study, read_answers
from training.readers.score import Options, Result, score_study
from training.readers.tables import summary

__all__ = ["Order", "how", "run"]


@dataclass(frozen=True, slots=True)
class Order:
    """What to score and what to write; see `pacs-node reader-study score --help`."""

    study: Path
    output: Path | None = None
    markdown: Path | None = None
    options: Options = field(default_factory=Options)

    @property
    def command(self) -> str:
        """The command line that makes the same tables."""
        plain, words = Options(), ["pacs-node", "reader-study", "score", str(self.study)]
        for reader in self.options.readers:
            words += ["--reader", reader]
        if self.options.thresholds != plain.thresholds:
            words += [word for at in self.options.thresholds for word in ("--at", str(at))]
        if self.options.tolerance_percent != plain.tolerance_percent:
            words += ["--tolerance", f"{self.options.tolerance_percent:g}"]
        for name, path in (("--output", self.output), ("--markdown", self.markdown)):
            words += [] if path is None else [name, str(path)]
        return shlex.join(words)


def how(readers: Sequence[str] | None, thresholds: Sequence[int] | None, tolerance_percent: float) -> Options:
    """What the options of the command say; None stands for the default."""
    at = tuple(sorted(set(thresholds))) if thresholds else Options().thresholds
    return Options(tuple(readers or ()), at, tolerance_percent)


def run(asked: Order, *, as_json_document: bool) -> int:
    """Score, write what was asked for, show the tables and say what is missing.

    Raises
    ------
    ConfigError
        No study, no finished answer, or a folder is not there.
    DiskFull
        The report cannot be written.
    """
    require_places(asked.output, asked.markdown)
    study = open_study(asked.study)
    result = score_study(study, read_answers(asked.study), asked.options)
    facts = {
        "command": f"`{asked.command}`",
        "version": f"pacs-node {__version__}, commit {describe_environment()['commit'] or 'unknown'}",
    }
    for path in _written(asked, result, facts):
        say(f"wrote {path}")
    if as_json_document:
        print_json(as_json(result, facts))
    else:
        for grid in summary(result):
            stdout().print(table(grid.columns, grid.rows, title=grid.title))
            stdout().print()
    if result.simulated:
        say(NOBODY_READ)
    for warning in result.warnings:
        say(f"note: {warning}")
    return ExitCode.DONE


def _written(asked: Order, result: Result, facts: dict[str, str]) -> list[Path]:
    if asked.output is None and asked.markdown is None:
        return []
    picture, files = _curves(result), dict[Path, bytes]()
    pages = [asked.markdown, asked.output / "report.md" if asked.output is not None else None]
    for page in (page for page in pages if page is not None):
        beside = page.with_name(f"{page.stem}-curves.svg") if picture is not None else None
        files[page] = as_page(result, facts, beside.name if beside is not None else None).encode()
        if beside is not None and picture is not None:
            files[beside] = picture
    if asked.output is not None:
        asked.output.mkdir(parents=True, exist_ok=True)
        document = json.dumps(as_json(result, facts), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        files[asked.output / "scores.json"] = document.encode()
        files[asked.output / "readings.csv"] = readings_csv(result.readings).encode()
    for path, data in files.items():
        write_atomically(path, data)
    return list(files)


def _curves(result: Result) -> bytes | None:
    try:
        from training.readers.plots import curves  # noqa: PLC0415 (tables need no matplotlib)
    except ImportError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        say(f"note: no curves without matplotlib: {EXTRAS['matplotlib']}")
        return None
    return curves(result.blocks)
