"""Images of several callers in one run of the network, where that pays: on a GPU, which one image does not fill.

The first request waits a moment for others; what arrives while a run goes on waits for the next one by itself.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from model.bundle import ModelSpec
from pacs_node.engine import Engine
from pacs_node.engine.checks import check_image, check_order
from pacs_node.errors import Retriable
from pacs_node.records import FloatImage

__all__ = ["BatchingEngine", "OpenEngine"]

GATHER_S = 0.002  # a fraction of what one image takes on a GPU


class OpenEngine(Engine, Protocol):
    """An engine that can be closed, and says what it computes in."""

    @property
    def precision(self) -> str: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """Images of one caller; requests of one kind can be computed together."""

    kind: tuple[object, ...]
    images: FloatImage
    compute: Callable[[list["_Request"]], FloatImage]
    layer: FloatImage | None = None
    seeds: Sequence[int] = ()
    answer: "Future[FloatImage]" = field(default_factory=Future)


class BatchingEngine:
    """Engine (see `pacs_node.engine.Engine`) that gathers the calls of several threads; closed by `close`.

    Parameters
    ----------
    engine : what computes; called from one thread for layers.
    max_batch : images in one run; a single request with more of them is left to ``engine``.
    gather_s : how long the first request waits for others, s.
    """

    def __init__(self, engine: OpenEngine, max_batch: int, gather_s: float = GATHER_S) -> None:
        self._engine, self._max_batch, self._gather_s = engine, max_batch, gather_s
        self._pending: list[_Request] = []
        self._closed = False
        self._changed = threading.Condition()  # guards the two above
        self._thread = threading.Thread(target=self._serve, name="batching", daemon=True)
        self._thread.start()

    @property
    def spec(self) -> ModelSpec:
        """Sizes, schedule and digest of the open bundle."""
        return self._engine.spec

    @property
    def device(self) -> str:
        """What really runs."""
        return self._engine.device

    @property
    def precision(self) -> str:
        """What it computes in."""
        return self._engine.precision

    def encode(self, image: FloatImage) -> FloatImage:
        """Image -> latents, as it comes."""
        return self._engine.encode(image)

    def predict(self, x_t: FloatImage, t: FloatImage, condition: FloatImage) -> FloatImage:
        """One evaluation of the denoiser, as it comes."""
        return self._engine.predict(x_t, t, condition)

    def decode(self, latents: FloatImage) -> FloatImage:
        """Latents -> image, as they come."""
        return self._engine.decode(latents)

    def coarse_layers(self, images: FloatImage, steps: int, seeds: Sequence[int]) -> FloatImage:
        """Bone layers before refinement, together with those of other callers."""
        check_order(self.spec, images, steps, seeds)  # before it could spoil the batch of others

        def compute(batch: list[_Request]) -> FloatImage:
            return self._engine.coarse_layers(_all(batch), steps, [seed for each in batch for seed in each.seeds])

        return self._ask(_Request(("layers", steps, images.shape[1:]), images, compute, seeds=tuple(seeds)))

    def refine(self, image: FloatImage, layer: FloatImage) -> FloatImage:
        """Refined bone layers, together with those of other callers."""
        if "refiner" not in self.spec.graphs:
            return layer
        if check_image(self.spec, image).shape != check_image(self.spec, layer).shape:
            raise ValueError(f"image {image.shape} and layer {layer.shape} do not belong together")

        def compute(batch: list[_Request]) -> FloatImage:
            layers = [each.layer for each in batch if each.layer is not None]
            return self._engine.refine(_all(batch), np.concatenate(layers))

        return self._ask(_Request(("refine", image.shape[1:]), image, compute, layer=layer))

    def close(self) -> None:
        """Answer what was asked, then end the thread and close the engine."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: _Request) -> FloatImage:
        with self._changed:  # nothing is asked after the end, so nobody waits for ever
            if self._closed:
                raise Retriable("the network is being closed")
            self._pending.append(request)
            self._changed.notify_all()
        return request.answer.result()

    def _serve(self) -> None:
        while batch := self._next_batch():
            _answer(batch)

    def _next_batch(self) -> list[_Request]:
        """The oldest request and others of its kind, as soon as they are enough or it has waited; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._closed)
            self._changed.wait_for(lambda: self._closed or self._is_full(), self._gather_s)
            batch = self._together()
            self._pending = [request for request in self._pending if request not in batch]
            return batch

    def _together(self) -> list[_Request]:
        """Of what is pending: the oldest, and those of its kind that fit beside it."""
        batch, count = self._pending[:1], len(self._pending[0].images) if self._pending else 0
        for request in self._pending[1:]:
            if request.kind == batch[0].kind and count + len(request.images) <= self._max_batch:
                batch.append(request)
                count += len(request.images)
        return batch

    def _is_full(self) -> bool:
        return sum(len(request.images) for request in self._together()) >= self._max_batch


def _all(batch: Sequence[_Request]) -> FloatImage:
    return np.concatenate([each.images for each in batch])


def _answer(batch: list[_Request]) -> None:
    """Compute a batch and give everybody their part; what goes wrong reaches everybody, too."""
    try:
        results = batch[0].compute(batch)
        ends = np.cumsum([len(each.images) for each in batch])
        for request, result in zip(batch, np.split(results, ends[:-1]), strict=True):
            request.answer.set_result(result)
    except BaseException as error:  # noqa: BLE001 - the thread has to go on, and the callers raise it
        for request in batch:
            if not request.answer.done():
                request.answer.set_exception(error)
