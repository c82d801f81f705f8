"""What a comparison found, in records that JSON can carry."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from training.compare.ground import HeldOut
from training.compare.measure import Measured
from training.compare.statistics import Difference, Summary, paired_difference, summary
from training.compare.systems import OURS
from training.evaluate.scores import METRICS, Metric

__all__ = ["COMPARED", "Comparison", "Kind", "Row", "SetResult", "as_json", "difference", "known_metrics"]

Kind = Literal["trivial", "system", "loaded", "ships"]
COMPARED = (
    "bsr_tone",
    "bsr_tone_lungs",
    "lpips",
    "ms_ssim",
    "psnr",
    "psnr_fitted",
    "mse",
    "bsr_strict",
    "bsr_paper",
)


@dataclass(frozen=True, slots=True)
class Row:
    """A system, and what is the same on every set.

    Attributes
    ----------
    kind : `system` was trained under the budget; `loaded` and `ships` elsewhere, for longer.
    scale : how far it is from its published size.
    flop : of one image at the size of the comparison.
    steps, cpu_minutes : of its training.
    published : parameters of the published network, of a rival.
    seen : real pairs in its training, where it says so.
    """

    key: str
    title: str
    kind: Kind
    scale: str = ""
    parameters: int | None = None
    flop: float | None = None
    steps: Mapping[str, int] = field(default_factory=dict)
    cpu_minutes: float | None = None
    published: int | None = None
    seen: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class SetResult:
    """Every row on one set of test pairs."""

    held_out: HeldOut
    measured: Mapping[str, Measured]

    def of(self, row: str, key: str) -> Summary:
        """Mean and spread of one figure."""
        return summary(self.measured[row].scores, key)

    def seconds(self, row: str) -> float | None:
        """Median processor time of one image; None where nothing is computed."""
        found = self.measured[row].seconds
        return float(np.median(found)) if found else None


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """All that was found.

    Attributes
    ----------
    facts : how, on what, with what; name -> value in words.
    missing : systems that are not in it, and why.
    """

    facts: Mapping[str, str]
    rows: tuple[Row, ...]
    sets: tuple[SetResult, ...]
    missing: tuple[str, ...] = ()


def known_metrics(result: SetResult) -> list[Metric]:
    """Those that the first row has, in the order of the report."""
    first = next(iter(result.measured.values())).scores
    measured = next(iter(first.values()))
    return [metric for key in COMPARED for metric in METRICS if metric.key == key and key in measured]


def difference(result: SetResult, row: str, key: str, other: str = OURS) -> Difference | None:
    """``row`` less ``other`` on the same pairs."""
    one, two = result.measured[row].scores, result.measured[other].scores
    return paired_difference(one, two, result.held_out.persons, key)


def as_json(comparison: Comparison, findings: Mapping[str, list[str]]) -> dict[str, Any]:
    """All numbers; null where there is none."""
    document = {
        "facts": dict(comparison.facts),
        "systems": [asdict(row) for row in comparison.rows],
        "sets": [_set(comparison, each) for each in comparison.sets],
        "findings": dict(findings),
        "missing": list(comparison.missing),
    }
    cleaned: dict[str, Any] = _without_nan(document)
    return cleaned


def _set(comparison: Comparison, result: SetResult) -> dict[str, Any]:
    keys = [metric.key for metric in METRICS]
    rows = {}
    for row in comparison.rows:
        if row.key not in result.measured:
            continue
        facts: dict[str, Any] = {"seconds": result.seconds(row.key)}
        facts["figures"] = {key: asdict(result.of(row.key, key)) for key in keys}
        if row.kind != "trivial" and row.key != OURS and OURS in result.measured:
            found = {metric.key: difference(result, row.key, metric.key) for metric in known_metrics(result)}
            facts["less_ours"] = {key: asdict(each) for key, each in found.items() if each is not None}
        facts["by_pair"] = result.measured[row.key].scores
        rows[row.key] = facts
    held_out = result.held_out
    return {"name": held_out.name, "title": held_out.title, "simulated": held_out.simulated, "rows": rows}


def _without_nan(value: Any) -> Any:
    """JSON knows neither NaN nor infinity."""
    if isinstance(value, Mapping):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
