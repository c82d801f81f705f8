"""The bundle's network on ONNX Runtime: as the service runs it, by its separate graphs, in half precision, on CUDA."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from model.bundle import Bundle
from pacs_node.bench.rows import Row
from pacs_node.bench.spread import timed
from pacs_node.bench.stages import Subject
from pacs_node.config import Device, ModelSettings, Precision
from pacs_node.engine import Engine
from pacs_node.engine.load import open_engine
from pacs_node.errors import ModelError, Retriable
from pacs_node.imaging.views import mean_layer, views
from pacs_node.records import FloatImage

__all__ = ["OnnxRow", "Samples", "layers_of", "measure_onnx", "onnx_rows"]

SEED = 1
MAX_BATCH = 64  # the most that a graph takes


@dataclass(frozen=True, slots=True)
class OnnxRow:
    """One way of running the graphs.

    Attributes
    ----------
    fused : whether a fused graph is used where the bundle has one.
    device : by name, or what the settings ask for.
    batched : timed for several images at once, too.
    """

    key: str
    what: str
    precision: Precision = Precision.AUTO
    fused: bool = True
    device: Device | None = None
    batched: bool = False


SERVICE = OnnxRow("service", "ONNX Runtime, as the service runs it", batched=True)
ON_CPU = (
    SERVICE,
    OnnxRow("separate", "ONNX Runtime, encoder, denoiser and decoder one by one", fused=False),
    OnnxRow("half", "ONNX Runtime, half-precision graphs", Precision.FP16),
    OnnxRow("onnx-cuda", "ONNX Runtime on CUDA", device=Device.CUDA),
)
ON_CUDA = (
    replace(SERVICE, device=Device.CUDA),
    OnnxRow("service-fp32", "ONNX Runtime, fused graph", Precision.FP32, device=Device.CUDA, batched=True),
    OnnxRow("separate", "ONNX Runtime, encoder, denoiser and decoder one by one", fused=False, device=Device.CUDA),
)


def onnx_rows(device: Device) -> tuple[OnnxRow, ...]:
    """Those that belong to a run on this device."""
    return ON_CUDA if device is Device.CUDA else ON_CPU


@dataclass(frozen=True, slots=True)
class Samples:
    """What every row is measured on.

    Attributes
    ----------
    image : (1, 1, grid, grid) float32 in [-1, 1]; a batch repeats it.
    batches : images at once, ascending, from 1.
    flop : of one image.
    repeat : samples of each timing.
    """

    image: FloatImage
    batches: Sequence[int]
    flop: float
    repeat: int


def measure_onnx(row: OnnxRow, subject: Subject, samples: Samples) -> Iterator[Row]:
    """One row for each number of images; one that cannot run says why."""
    device = row.device or subject.settings.model.device
    blank = Row(row.key, row.what, "cuda" if device is Device.CUDA else subject.engine.device, _named(row.precision))
    if not row.fused and "fused" not in subject.bundle.spec.graphs:
        yield replace(blank, missing="this bundle has no fused graph: the service runs them one by one")
        return
    for batch in samples.batches if row.batched else (1,):
        try:
            yield _measured(row, subject, samples, replace(blank, batch=batch))
        except (ModelError, Retriable) as error:
            yield replace(blank, batch=batch, missing=str(error))
            return


def _named(precision: Precision) -> str:
    return "fp32" if precision is Precision.AUTO else precision.value


def _measured(row: OnnxRow, subject: Subject, samples: Samples, blank: Row) -> Row:
    model = _model(row, subject, blank.batch)
    steps, seeds = model.steps or subject.bundle.spec.steps, [SEED] * blank.batch
    images = np.repeat(samples.image, blank.batch, axis=0)
    with _opened(subject.bundle, model, fused=row.fused) as engine:
        seconds = timed(lambda: layers_of(images, engine, steps, seeds), samples.repeat)
        precision = str(getattr(engine, "precision", blank.precision))
        layer, device = layers_of(samples.image, engine, steps, seeds[:1]), engine.device
    psnr_db = None
    if precision != "fp32":
        with _opened(subject.bundle, model.model_copy(update={"precision": Precision.FP32})) as exact:
            psnr_db = _psnr_db(layers_of(samples.image, exact, steps, seeds[:1]), layer)
    return replace(blank, device=device, precision=precision, seconds=seconds, flop=samples.flop, psnr_db=psnr_db)


def _model(row: OnnxRow, subject: Subject, batch: int) -> ModelSettings:
    """The settings of the service, with what the row is about; a batch runs as one, views and all."""
    asked: dict[str, object] = {"max_batch": min(MAX_BATCH, batch * subject.bundle.spec.views)} if batch > 1 else {}
    if row.precision is not Precision.AUTO:
        asked["precision"] = row.precision
    if row.device is not None:
        asked["device"] = row.device
    return subject.settings.model.model_copy(update=asked)


@contextmanager
def _opened(bundle: Bundle, model: ModelSettings, *, fused: bool = True) -> Iterator[Engine]:
    """An engine that gives its memory back; without the fused graph where that is not wanted."""
    engine = open_engine(bundle if fused else _unfused(bundle), model)
    try:
        yield engine
    finally:
        getattr(engine, "close", lambda: None)()


def _unfused(bundle: Bundle) -> Bundle:
    graphs = {role: name for role, name in bundle.spec.graphs.items() if role != "fused"}
    halves = {role: name for role, name in bundle.spec.half_graphs.items() if role != "fused"}
    plain = bundle.spec.model_copy(update={"graphs": graphs, "half_graphs": halves})
    return bundle.model_copy(update={"spec": plain})


def layers_of(images: FloatImage, engine: Engine, steps: int, seeds: Sequence[int]) -> FloatImage:
    """Bone layers (B, 1, H, W) of several images at once, as `pacs_node.pipeline` makes one.

    Parameters
    ----------
    images : (B, 1, grid, grid) float32 in [-1, 1].
    seeds : one for each image.
    """
    several, moved, count = views(engine.spec.views), engine.spec.downsampling // 2, len(images)
    shown = np.concatenate([view.shown(images, moved) for view in several])
    layers = engine.coarse_layers(shown, steps, [*seeds] * len(several)).reshape(len(several), count, *images.shape[2:])
    means = [
        mean_layer([view.undone(layers[number, each], moved) for number, view in enumerate(several)])
        for each in range(count)
    ]
    return engine.refine(images, np.stack(means)[:, None])


def _psnr_db(exact: FloatImage, other: FloatImage) -> float:
    """For a data range of 2; soft tissue is the image minus the layer, so their errors are one."""
    error = float(np.mean((exact.astype(np.float64) - other) ** 2))
    return math.inf if error == 0 else 10 * math.log10(4 / error)
