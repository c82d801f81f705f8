"""`python -m training.benchmark`: the rows that need torch, as JSON; what `pacs-node bench` starts for each of them.

It needs torch, NumPy and safetensors, so it also runs from a source folder on a machine that has nothing else.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pacs_node.bench.environment import busy_warning, describe_environment
from pacs_node.bench.plan import BATCHES, RATES, TorchRow, torch_rows
from pacs_node.bench.report import FORMAT, document_bodies
from training.benchmark.measure import Bench, measure, torch_rates

SHIPPED = Path(__file__).resolve().parents[2] / "model" / "bundles" / "default"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the rows that were asked for; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32
    rows = _asked(options.rows, options.device, quick=options.quick)
    report: dict[str, Any] = {"format": FORMAT, "environment": describe_environment(options.threads)}
    report["environment"]["device"] = options.device
    warning = busy_warning(report["environment"])
    report["warnings"] = [warning] if warning else []
    if options.rows is None or RATES in options.rows.split(","):
        _say("matrix rates")
        usable = options.device == "cpu" or torch.cuda.is_available()
        report["rates"] = [asdict(rate) for rate in torch_rates(options.device)] if usable else []
    bench = Bench(options.bundle, options.device, options.repeat, _batches(options), _image(options.image))
    report["comparison"] = []
    for row in rows:
        _say(f"{row.what} ({row.precision})")
        report["comparison"] += [found.to_json() for found in measure(row, bench)]
    _give(report, options.json)
    return 0


def _asked(names: str | None, device: str, *, quick: bool) -> list[TorchRow]:
    rows = torch_rows(device, quick=quick)
    return [row for row in rows if names is None or row.key in names.split(",")]


def _batches(options: argparse.Namespace) -> tuple[int, ...]:
    if options.batches is None:
        return BATCHES[options.device]
    return tuple(sorted({int(word) for word in options.batches.split(",")}))


def _image(path: Path | None) -> Any:
    return None if path is None else np.load(path, allow_pickle=False)


def _give(report: dict[str, Any], target: str) -> None:
    text = json.dumps(report, indent=2) + "\n"
    if target == "-":
        sys.stdout.write(text)
        return
    if target:
        Path(target).write_text(text, encoding="utf-8")
    sys.stdout.write("\n\n".join(document_bodies(report).values()) + "\n")


def _say(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.benchmark", description=__doc__)
    parser.add_argument("--rows", help="some of them by key, with commas; else all")
    parser.add_argument("--bundle", type=Path, default=SHIPPED, help="folder of a bundle")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: all")
    parser.add_argument("--repeat", type=int, default=10, help="samples of each timing")
    parser.add_argument("--batches", help="images at once, with commas, as 1,2,4,8")
    parser.add_argument("--image", type=Path, help=".npy of (1, 1, grid, grid) float32 in [-1, 1]; else a made one")
    parser.add_argument("--json", default="", metavar="FILE|-", help="the figures; else tables alone")
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
