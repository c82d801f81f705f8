"""`pacs-node export-onnx`: a training run or another bundle -> a bundle that the service can open."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.checkpoint import export_bundle
from export.parity import Parity
from export.to_bundle import Report, reexport_bundle
from model.bundle import Bundle
from pacs_node.commands.terminal import print_json, say, stdout, table
from pacs_node.errors import ConfigError
from training.baselines.export import export_rival
from training.checkpoint import CheckpointError

__all__ = ["Source", "parse_settings", "run"]

OPTIONS = ("force", "report")  # of the functions that take the settings as keywords, so never keys of a bundle


@dataclass(frozen=True, slots=True)
class Source:
    """Exactly one of the three: a training run, a bundle (a folder, or `default`), or a trained rival."""

    checkpoint: Path | None
    bundle: str | None
    baseline: Path | None = None

    def export(self, output: Path, changes: dict[str, Any], report: Report, *, force: bool) -> Bundle:
        """Write the bundle; raises ConfigError when none or both sources are given."""
        if self.checkpoint is not None and self.bundle is None:
            return export_bundle(self.checkpoint, output, force=force, report=report, **changes)
        if self.bundle is not None and self.checkpoint is None:
            return reexport_bundle(self.bundle, output, force=force, report=report, **changes)
        told = "--checkpoint (a training run), --bundle (a folder, or default) or --baseline (a rival)"
        raise ConfigError(f"give one of {told}")


def run(output: Path, source: Source, facts: dict[str, Any], *, force: bool, as_json: bool) -> int:
    """Export, measure that the graphs compute what the modules compute, and say what was written.

    Parameters
    ----------
    facts : keys of ModelSpec; what is None keeps the value of the source.

    Raises
    ------
    ConfigError
        None or both sources, an unusable source, or other files in ``output``.
    ModelError
        The exported network does not compute what the trained one computes.
    """
    changes = {key: value for key, value in facts.items() if value is not None}
    if source.baseline is not None:
        return _rival(source, output, changes, force=force, as_json=as_json)
    measured: dict[str, str] = {}

    def report(what: str, parity: Parity) -> None:
        measured[what] = str(parity)
        say(f"{what}: {parity}")

    made = source.export(output, changes, report, force=force)
    written: dict[str, Any] = {
        "bundle": str(made.folder),
        "name": f"{made.spec.name} {made.spec.version}",
        "digest": made.digest,
        "bytes": sum(file.bytes for file in made.spec.files.values()),
        "steps": made.spec.steps,
        "precision": made.spec.precision,
        "shapes": made.spec.shapes,
        "graphs": [*made.spec.graphs.values(), *made.spec.half_graphs.values()],
    }
    if as_json:
        print_json({**written, "parity": measured})
    else:
        shown = written | {"graphs": " ".join(written["graphs"])}
        stdout().print(table(("what", "value"), list(shown.items())))
    return 0


def _rival(source: Source, output: Path, changes: dict[str, Any], *, force: bool, as_json: bool) -> int:
    """The networks of a rival; they are no bundle, and no setting of one means anything to them."""
    if source.checkpoint is not None or source.bundle is not None or changes:
        wrong = ", ".join([*changes, *(["another source"] if source.checkpoint or source.bundle else [])])
        raise ConfigError(f"a rival is exported as it was trained: leave out {wrong}")
    assert source.baseline is not None  # noqa: S101 (for the type checker)
    try:
        told = export_rival(source.baseline, output, force=force)
    except CheckpointError as error:
        raise ConfigError(str(error)) from error
    if as_json:
        print_json({"folder": str(output), **told})
        return 0
    shown = {key: told[key] for key in ("title", "paper", "scale", "parameters", "steps")}
    shown |= {"files": " ".join(told["files"])}
    shown |= {f"{name}: max abs error": f"{error:.1e}" for name, error in told["max_abs_error"].items()}
    stdout().print(table(("what", "value"), [("folder", output), *shown.items()]))
    return 0


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """`["steps=4", "fusion.strength=0.5"]` -> ``{"steps": 4, "fusion": {"strength": 0.5}}``; values are JSON or words.

    Raises
    ------
    ConfigError
        Not of that form, or a group is set to a value too.
    """
    parsed: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        *groups, last = key.split(".")
        place: Any = parsed
        for group in groups:
            place = place.setdefault(group, {}) if isinstance(place, dict) else None
        if not (equals and all([*groups, last]) and isinstance(place, dict)) or key in OPTIONS:
            raise ConfigError(f"--set {setting}: KEY=VALUE is asked for, as --set fusion.strength=0.75")
        place[last] = _value(text)
    return parsed


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # a plain word, as in clipping.kind=static
