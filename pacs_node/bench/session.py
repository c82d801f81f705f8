"""One run of `pacs-node bench`: what is measured in which order, and the report that comes of it."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from pacs_node.bench.child import run_child
from pacs_node.bench.environment import busy_warning, describe_environment
from pacs_node.bench.matrix_rate import cpu_rates
from pacs_node.bench.onnx_rows import OnnxRow, Samples, measure_onnx, onnx_rows
from pacs_node.bench.plan import RATES, TorchRow, torch_rows
from pacs_node.bench.report import FORMAT
from pacs_node.bench.rows import Row
from pacs_node.bench.spread import Spread
from pacs_node.bench.stages import Subject, measure_parts, measure_stages
from pacs_node.config import Device
from pacs_node.imaging.fit import to_grid
from pacs_node.imaging.read import read_radiograph
from pacs_node.records import FloatImage

__all__ = ["Plan", "Session"]

SOURCE = Path(__file__).resolve().parents[2]
PROCESS_REPEAT = 3  # fresh processes: each takes seconds, and they differ little
NO_TORCH = "torch is not installed: pip install 'pacs-node[torch]'"

Sample = Callable[[Path, tuple[int, int]], object]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Attributes
    ----------
    image : file of a radiograph.
    config : file of the settings, for the process of its own.
    device : `cpu` or `cuda`: which rows of torch.
    batches : images at once.
    sizes : sides of further radiographs, px, made by ``sample``.
    """

    image: Path
    config: Path
    device: Device
    repeat: int
    batches: Sequence[int]
    quick: bool = False
    sizes: Sequence[int] = ()
    sample: Sample | None = None


@dataclass
class Session:
    """Measures one after the other; ``steps`` yields before each, so that somebody can show how far it is.

    Attributes
    ----------
    folder : empty, for what is made on the way.
    report : grows; see `pacs_node.bench.tables` for who reads it.
    """

    subject: Subject
    plan: Plan
    folder: Path
    report: dict[str, Any] = field(default_factory=dict)

    def begin(self) -> None:
        """Note where this is; before anything runs, for the load of the machine."""
        there = describe_environment(self.subject.settings.model.threads)
        spec = self.subject.bundle.spec
        facts: dict[str, Any] = {"name": spec.name, "version": spec.version, "digest": self.subject.bundle.digest}
        facts |= {"grid": spec.grid, "steps": self.subject.settings.model.steps or spec.steps, "views": spec.views}
        self.report |= {"format": FORMAT, "environment": there | {"device": self.plan.device.value}, "bundle": facts}
        warning = busy_warning(there)
        self.report |= {"warnings": [warning] if warning else [], "rates": [], "comparison": [], "sizes": []}

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """What there is to do, with a name for people."""
        steps: list[tuple[str, Callable[[], None]]] = [
            ("plain products", self._rates),
            ("stages", self._stages),
            ("the network's graphs", self._parts),
            ("a process of its own", self._process),
        ]
        onnx = onnx_rows(self.plan.device)
        steps += [(row.what, lambda row=row: self._onnx(row)) for row in onnx]  # type: ignore[misc]
        rows = torch_rows(self.plan.device.value, quick=self.plan.quick)
        steps += [("plain products, torch", self._torch_rates)] if find_spec("torch") else []
        steps += [(f"{row.what} ({row.precision})", lambda row=row: self._torch_row(row)) for row in rows]  # type: ignore[misc]
        steps += [(f"{side} x {side} px", lambda side=side: self._size(side)) for side in self.plan.sizes]  # type: ignore[misc]
        return steps

    def _rates(self) -> None:
        self.report["rates"] += [asdict(rate) for rate in cpu_rates(self.subject.settings.model.threads)]

    def _stages(self) -> None:
        radiograph = read_radiograph(self.plan.image)
        rows, columns = radiograph.pixels.shape
        self.report["image"] = {"rows": rows, "columns": columns, "bits_stored": radiograph.bits_stored}
        self.report["stages"] = self._stages_of(self.plan.image, self.plan.repeat)

    def _stages_of(self, image: Path, repeat: int) -> list[dict[str, Any]]:
        return [asdict(each) for each in measure_stages(self.subject, image, self.folder / "companion.dcm", repeat)]

    def _parts(self) -> None:
        self.report["parts"] = [asdict(part) for part in measure_parts(self.subject, self.plan.repeat)]

    def _process(self) -> None:
        self.report["process"] = self._process_of(self.plan.image, min(self.plan.repeat, PROCESS_REPEAT))

    def _process_of(self, image: Path, repeat: int) -> dict[str, Any]:
        """Seconds and memory of `pacs-node process` in processes of their own."""
        options = ["--output", str(self.folder / "of-process.dcm"), "--config", str(self.plan.config), "--json"]
        command = [sys.executable, "-m", "pacs_node", "process", str(image), *options]
        runs = [run_child(command, self._environment()) for _ in range(repeat)]
        failure = next((run.failure for run in runs if run.failure), "")
        spread = None if failure else asdict(Spread.of([run.seconds for run in runs]))
        return {"seconds": spread, "peak_bytes": max(run.peak_bytes for run in runs), "failure": failure}

    def _environment(self) -> Mapping[str, str]:
        """For a process with the same settings, that leaves no trace in the audit of a node."""
        model = self.subject.settings.model
        paths = [str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
        return os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "PACS_NODE_MODEL__BUNDLE": str(self.subject.bundle.folder),
            "PACS_NODE_MODEL__DEVICE": model.device.value,
            "PACS_NODE_MODEL__THREADS": str(model.threads),
            "PACS_NODE_NODE__DATA_DIR": str(self.folder / "var"),
        }

    @property
    def _grid_image(self) -> FloatImage:
        return to_grid(read_radiograph(self.plan.image), self.subject.bundle.spec.grid).pixels

    def _onnx(self, row: OnnxRow) -> None:
        flop = sum(part["calls"] * part["flop"] for part in self.report["parts"])
        samples = Samples(self._grid_image, self.plan.batches, flop, self.plan.repeat)
        found = measure_onnx(row, self.subject, samples)
        self.report["comparison"] += [each.to_json() for each in found]

    def _torch_rates(self) -> None:
        self._torch(RATES)

    def _torch_row(self, row: TorchRow) -> None:
        failure = (
            self._torch(row.key) if find_spec("torch") else "torch is not installed: pip install 'pacs-node[torch]'"
        )
        if failure:
            missing = Row(row.key, row.what, self.plan.device.value, row.precision, missing=failure)
            self.report["comparison"].append(missing.to_json())

    def _torch(self, key: str) -> str:
        """Rows of torch from a process of its own, whose memory is then its own; returns why there are none."""
        image, target = self.folder / "grid.npy", self.folder / f"torch-{key}.json"
        np.save(image, self._grid_image)
        values = {
            "--rows": key,
            "--bundle": self.subject.bundle.folder,
            "--device": self.plan.device.value,
            "--threads": self.subject.settings.model.threads,
            "--repeat": self.plan.repeat,
            "--batches": ",".join(map(str, self.plan.batches)),
            "--image": image,
            "--json": target,
        }
        options = [str(word) for pair in values.items() for word in pair]
        run = run_child([sys.executable, "-m", "training.benchmark", *options], self._environment())
        if run.failure:
            return run.failure
        found = json.loads(target.read_text(encoding="utf-8"))
        self.report["comparison"] += found["comparison"]
        self.report["rates"] += found.get("rates", [])
        return ""

    def _size(self, side: int) -> None:
        """A simulated radiograph of another size; fewer times, for it is the same work but for the pixels."""
        path, repeat = self.folder / f"{side}.dcm", max(1, self.plan.repeat // 2)
        if self.plan.sample is None:
            return
        self.plan.sample(path, (side, side))
        process = self._process_of(path, 1)
        size = {"rows": side, "columns": side, "stages": self._stages_of(path, repeat)}
        self.report["sizes"].append(size | {key: process[key] for key in ("seconds", "peak_bytes", "failure")})
        path.unlink()
