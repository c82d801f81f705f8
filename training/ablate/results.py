"""`results.json`: what was made with, every training, and every cell with the figures of each test pair."""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacs_node.errors import ConfigError
from training.ablate.measure import Measured
from training.ablate.plan import Cell, Variant
from training.evaluate.scores import Scores
from training.stage import Outcome

__all__ = ["RESULTS", "Results"]

RESULTS = "results.json"
Figures = NDArray[np.float64]


class Results:
    """The results of one folder; written whole after every part, so that a crash loses the part in hand at most.

    Parameters
    ----------
    settings : what the figures depend on. A folder made with others is refused.

    Raises
    ------
    ConfigError
        The folder holds results of other settings, or a file that is not ours.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.path = folder / RESULTS
        self.document: dict[str, Any] = {"version": 1, "settings": _plain(settings)}
        self.document |= {"facts": {}, "autoencoder": {}, "references": {}, "trainings": {}, "cells": {}}
        if self.path.is_file():
            self._read()

    def _read(self) -> None:
        try:
            found: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
            settings = found["settings"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{self.path} is no result of pacs-node ablate: choose another folder") from error
        if settings != self.document["settings"]:
            differing = [key for key, value in self.document["settings"].items() if settings.get(key) != value]
            told = f"{self.path.parent} was made with another {', '.join(differing) or 'version'}"
            raise ConfigError(f"{told}: repeat that command, or choose another folder")
        self.document |= found

    def note(self, part: str, values: dict[str, Any]) -> None:
        """Keep facts, the autoencoder's figures, or the scores of a reference row."""
        self.document[part] |= _plain(values)
        self.write()

    def bind(self, identity: str) -> None:
        """Keep which pairs were trained on.

        Raises
        ------
        ConfigError
            What is here was trained on others.
        """
        known = self.document["facts"].setdefault("pairs_sha256", identity)
        if known != identity:
            raise ConfigError(f"{self.path.parent} was made with other pairs: choose another folder")

    def trained(self, variant: Variant, seed: int) -> bool:
        """Whether this training has ended."""
        return f"{variant.name}-seed-{seed}" in self.document["trainings"]

    def add_training(self, variant: Variant, seed: int, outcome: Outcome) -> None:
        """Keep how a training ended."""
        facts = {"variant": asdict(variant), "seed": seed, "ending": outcome.ending, "step": outcome.step}
        facts |= {"cpu_seconds": round(outcome.cpu_seconds, 1)}
        self.document["trainings"][f"{variant.name}-seed-{seed}"] = facts
        self.write()

    def measured(self, cell: Cell, seed: int) -> bool:
        """Whether this cell has its figures."""
        return _key(cell, seed) in self.document["cells"]

    def add_cell(self, cell: Cell, seed: int, measured: Measured) -> None:
        """Keep the figures of a cell, with mean and deviation over the test pairs (null where none is finite)."""
        facts = {"name": cell.name, "variant": asdict(cell.variant), "way": asdict(cell.way), "seed": seed}
        facts |= {"cpu_seconds": round(measured.cpu_seconds, 1), **spread(measured.scores), "scores": measured.scores}
        self.document["cells"][_key(cell, seed)] = _plain(facts)
        self.write()

    def figures(self, cell: Cell, metric: str) -> Figures | None:
        """(seeds, pairs), NaN where a sample was not finite; None where the cell was not measured."""
        found = [facts for facts in self.document["cells"].values() if facts["name"] == cell.name]
        rows = [_column(facts["scores"], metric) for facts in sorted(found, key=lambda facts: int(facts["seed"]))]
        return np.stack(rows) if rows else None

    def reference(self, name: str, metric: str) -> Figures:
        """(pairs,) of a row without a trained denoiser: `identity`, `tone` or `bound`."""
        return _column(self.document["references"][name], metric)

    def write(self) -> None:
        """Replace the file in one step."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f".{RESULTS}.part")
        with part.open("w", encoding="utf-8") as stream:
            json.dump(self.document, stream, indent=1, allow_nan=False)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(self.path)


def spread(scores: Sequence[Scores]) -> dict[str, Scores]:
    """Mean and deviation of each figure over the pairs that have one."""
    columns = {name: _column(scores, name) for name in scores[0]}
    known = {name: column[np.isfinite(column)] for name, column in columns.items()}
    return {
        "mean": {name: float(values.mean()) if len(values) else math.nan for name, values in known.items()},
        "deviation": {name: float(values.std()) if len(values) else math.nan for name, values in known.items()},
    }


def _key(cell: Cell, seed: int) -> str:
    return f"{cell.name}, seed {seed}"


def _column(scores: Sequence[dict[str, Any]], metric: str) -> Figures:
    return np.array([math.nan if row.get(metric) is None else row[metric] for row in scores], dtype=np.float64)


def _plain(value: Any) -> Any:
    """What JSON can hold: no tuples, and null for what is not finite."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
