"""The service's own way from a file to a companion, stage by stage, and the network's parts one by one."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.bundle import Bundle, ModelSpec, Role
from pacs_node.bench.flops import graph_flop
from pacs_node.bench.rows import TOTAL, Part, StageTime
from pacs_node.bench.spread import Spread, timed
from pacs_node.config import Settings
from pacs_node.engine import Engine
from pacs_node.pipeline import make_companion
from pacs_node.records import FloatImage
from pacs_node.timing import Stopwatch, recorded_stages, stage

__all__ = ["Subject", "measure_parts", "measure_stages"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: the parts that `pacs-node serve` would wire together."""

    bundle: Bundle
    engine: Engine
    settings: Settings


def measure_stages(subject: Subject, received: Path, target: Path, repeat: int) -> list[StageTime]:
    """Make the companion of one file ``repeat`` times, after once to warm up.

    Parameters
    ----------
    received : file of the radiograph.
    target : file that the companion is written to, and brought to the disk, each time.

    Raises
    ------
    Rejected
        The file is no radiograph that can be processed.
    """
    watches = []
    for _ in range(repeat + 1):
        with recorded_stages() as watch, stage(TOTAL):
            companion, _inference = make_companion(received, subject.engine, subject.bundle, subject.settings)
            _store(companion.save_as, target)
        watches.append(watch)
    return _summary(watches[1:])


def _store(save_as: Callable[..., object], target: Path) -> None:
    with target.open("wb") as stream:
        with stage("encode DICOM"):
            save_as(stream, enforce_file_format=True)
        with stage("fsync"):
            stream.flush()
            os.fsync(stream.fileno())


def _summary(watches: list[Stopwatch]) -> list[StageTime]:
    """In the order of the first companion; what holds other stages comes after them, as it ends after them."""
    return [
        StageTime(
            name,
            Spread.of([sum(watch.seconds[name]) for watch in watches]),
            Spread.of([seconds for watch in watches for seconds in watch.seconds[name]]),
            len(watches[0].seconds[name]),
        )
        for name in watches[0].seconds
    ]


def measure_parts(subject: Subject, repeat: int) -> list[Part]:
    """Time and count the separate graphs on an image of noise; a fused graph does the same work out of sight."""
    bundle, engine, spec = subject.bundle, subject.engine, subject.bundle.spec
    image = _noise_image(spec)
    latents, layer = engine.encode(image), np.zeros_like(image)
    t = np.ones(1, np.float32)
    runs: dict[Role, tuple[Callable[[], object], int, dict[str, FloatImage]]] = {
        "encoder": (lambda: engine.encode(image), 1, {"image": image}),
        "denoiser": (
            lambda: engine.predict(latents, t, latents),
            subject.settings.model.steps or spec.steps,
            {"x_t": latents, "t": t, "condition": latents},
        ),
        "decoder": (lambda: engine.decode(latents), 2, {"latents": latents}),
        "refiner": (lambda: engine.refine(image, layer), 1, {"image": image, "layer": layer}),
    }
    return [
        Part(
            role,
            calls * (1 if role == "refiner" else spec.views),
            timed(run, repeat),
            graph_flop(bundle.path(role), inputs),
        )
        for role, (run, calls, inputs) in runs.items()
        if role in bundle.roles
    ]


def _noise_image(spec: ModelSpec) -> FloatImage:
    shape = (1, 1, spec.grid, spec.grid)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
