"""`pacs-node sweep`: one bundle sampled in many ways on real pairs, the best way first."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pacs_node.commands.errors import ExitCode
from pacs_node.commands.export_onnx import parse_settings
from pacs_node.commands.terminal import print_json, say, stdout, table
from pacs_node.config import Device
from pacs_node.engine.load import load_bundle, open_engine
from pacs_node.errors import ConfigError
from training.evaluate.cases import open_cases, with_bone
from training.evaluate.report import without_nan
from training.evaluate.scores import METRICS, Judge
from training.perceptual import PerceptualWeightsError, load_perceptual
from training.sources import is_ingested
from training.sweep import Ground, Trial, plan, sweep

__all__ = ["Order", "parse_values", "run"]

SHOWN = ("bsr_tone", "bsr_tone_lungs", "ribs_left", "lpips", "psnr_fitted")


@dataclass(frozen=True, slots=True)
class Order:
    """What to vary and what to measure it on; see `pacs-node sweep --help`."""

    bundle: str
    pairs: Path
    vary: tuple[str, ...]
    by: str
    lpips: bool
    device: str = "auto"
    threads: int = 0


def parse_values(vary: Sequence[str]) -> dict[str, list[Any]]:
    """`["clipping.omega=0,3", "sampler=ddim"]` -> ``{"clipping.omega": [0, 3], "sampler": ["ddim"]}``.

    Raises
    ------
    ConfigError
        Not of that form, or a key comes twice.
    """
    values: dict[str, list[Any]] = {}
    for text in vary:
        key, equals, words = text.partition("=")
        if not (key and equals and all(words.split(","))):
            raise ConfigError(f"--vary {text}: KEY=VALUE,VALUE is asked for, as --vary clipping.omega=0,3,12")
        if key in values:
            raise ConfigError(f"--vary {key} comes twice: name all of its values at once")
        values[key] = [_value(f"{key}={word}") for word in words.split(",")]
    return values


def _value(setting: str) -> Any:
    """The value of one setting, read as `export-onnx --set` reads it."""
    value: Any = parse_settings([setting])
    for key in setting.partition("=")[0].split("."):
        value = value[key]
    return value


def run(order: Order, *, as_json: bool) -> int:
    """Sample in every combination, show the best first, and say how to keep it.

    Raises
    ------
    ConfigError
        Pairs or bundle are not there, a key cannot be varied, or a value is out of range.
    """
    best_is_high = _direction(order.by, order.lpips)
    values = parse_values(order.vary)
    bundle = load_bundle(order.bundle)
    trials = plan(bundle.spec, values)
    # what is chosen on the test split has been seen by it
    cases, boneless = with_bone(open_cases(order.pairs, "validation" if is_ingested(order.pairs) else None))
    if boneless:
        say(f"left out, radiograph and twin being the same picture: {', '.join(boneless)}")
    engine = open_engine(bundle, Device(order.device), order.threads)
    real = [case for case in cases if case.dual_energy] or cases
    say(f"{len(trials)} ways on {len(real)} pairs")
    with _bar() as bar:
        task = bar.add_task("sampling", total=len(trials) * len(real))
        sweep(Ground(bundle, engine, real, _judge(order.lpips)), trials, lambda: bar.advance(task))
    trials.sort(key=lambda trial: _rank(trial.scores[order.by], best_is_high=best_is_high))
    if as_json:
        rows = [{**trial.changes, **trial.scores, "seconds": round(trial.seconds, 2)} for trial in trials]
        print_json(without_nan(rows))
    else:
        stdout().print(_table(trials, list(values), order.by))
        ranked = math.isfinite(trials[0].scores[order.by])
        kept = f"to keep the first: {_keep(order.bundle, trials[0])}"
        say(kept if ranked else f"no way has a {order.by} on these pairs, so none is the first")
    return ExitCode.DONE


def _direction(by: str, lpips: bool) -> bool:
    """Whether a higher value of a metric is better."""
    ranked = {metric.key: metric.better == "higher" for metric in METRICS if metric.better != "between"}
    if not lpips:
        ranked.pop("lpips")
    if by not in ranked:
        raise ConfigError(f"--by {by}: one of {', '.join(ranked)}{'' if lpips else ' without --lpips'}")
    return ranked[by]


def _rank(value: float, *, best_is_high: bool) -> tuple[bool, float]:
    """The best first, and last what has no figure, which compares with nothing."""
    return math.isnan(value), -value if best_is_high else value


def _judge(lpips: bool) -> Judge:
    try:
        return Judge(load_perceptual() if lpips else None)
    except PerceptualWeightsError as error:
        raise ConfigError(f"{error}; or go without it: --no-lpips") from error


def _table(trials: Sequence[Trial], varied: list[str], by: str) -> Any:
    measured = trials[0].scores
    shown = [metric for metric in METRICS if metric.key in measured and metric.key in {*SHOWN, by}]
    titles = [f"{metric.key}{' *' if metric.key == by else ''}" for metric in shown]
    rows = [
        [
            *(str(trial.changes[key]) for key in varied),
            *(f"{metric.factor * trial.scores[metric.key]:.{metric.digits}f}" for metric in shown),
            f"{trial.seconds:.1f}",
        ]
        for trial in trials
    ]
    return table([*varied, *titles, "s a picture"], rows)


def _keep(bundle: str, trial: Trial) -> str:
    words = ["pacs-node", "export-onnx", "--bundle", bundle, "-o", "my-bundle"]
    for key, value in trial.changes.items():
        words += ["--set", f"{key}={value}"]
    return shlex.join(words)


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True))
