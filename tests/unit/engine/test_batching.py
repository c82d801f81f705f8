"""Calls of several threads become one run; everybody gets their own part, and their own mistake."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from model.bundle import Bundle
from pacs_node.config import Device, ModelSettings
from pacs_node.engine.batching import BatchingEngine
from pacs_node.engine.load import open_engine
from pacs_node.engine.ort_engine import OrtEngine
from pacs_node.errors import ModelError, Retriable
from pacs_node.records import FloatImage
from tests.unit.engine.conftest import images

GATHER_S = 0.5  # long, so that threads that start together are gathered on a busy machine, too
THREADS = 8


class _Counting(OrtEngine):
    """The real engine; remembers how many images came at once, and fails when told to."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, settings=ModelSettings(device=Device.CPU, threads=1, max_batch=THREADS))
        self.sizes: list[int] = []
        self.error: Exception | None = None
        self.closed = False

    def coarse_layers(self, images: FloatImage, steps: int, seeds: Sequence[int]) -> FloatImage:
        if not hasattr(self, "sizes"):  # warming up
            return super().coarse_layers(images, steps, seeds)
        self.sizes.append(len(images))
        if self.error:
            raise self.error
        return super().coarse_layers(images, steps, seeds)

    def close(self) -> None:
        self.closed = True
        super().close()


def together(count: int, call: Callable[[int], FloatImage]) -> list[FloatImage | Exception]:
    """``call(0)`` to ``call(count - 1)``, each in a thread, all at the same moment."""
    start = threading.Barrier(count)

    def one(number: int) -> FloatImage | Exception:
        start.wait()
        try:
            return call(number)
        except Exception as error:  # noqa: BLE001 - what each caller gets is what is looked at
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_eight_threads_share_runs_and_get_their_own_layers(bundle: Bundle) -> None:
    with _Counting(bundle) as engine, BatchingEngine(engine, THREADS, GATHER_S) as batching:
        alone = [engine.coarse_layers(images(seed=each), 2, [each]) for each in range(THREADS)]
        engine.sizes.clear()
        answers = together(THREADS, lambda each: batching.coarse_layers(images(seed=each), 2, [each]))
        assert sum(engine.sizes) == THREADS
        assert len(engine.sizes) < THREADS
    for answer, expected in zip(answers, alone, strict=True):
        assert isinstance(answer, np.ndarray)
        # float32 sums are cut up differently in another batch
        np.testing.assert_allclose(answer, expected, atol=1e-5)


def test_a_batch_is_never_larger_than_allowed(bundle: Bundle) -> None:
    with _Counting(bundle) as engine, BatchingEngine(engine, 4, GATHER_S) as batching:
        answers = together(THREADS, lambda each: batching.coarse_layers(images(3, seed=each), 2, [each] * 3))
        assert max(engine.sizes) <= 4
        assert sum(engine.sizes) == 3 * THREADS
    assert all(isinstance(answer, np.ndarray) and answer.shape == (3, 1, 64, 64) for answer in answers)


def test_other_steps_are_another_run(bundle: Bundle) -> None:
    with _Counting(bundle) as engine, BatchingEngine(engine, THREADS, GATHER_S) as batching:
        answers = together(4, lambda each: batching.coarse_layers(images(), 1 + each % 2, [0]))
        expected = [engine.coarse_layers(images(), steps, [0]) for steps in (1, 2)]
    for each, answer in enumerate(answers):
        assert isinstance(answer, np.ndarray)
        np.testing.assert_allclose(answer, expected[each % 2], atol=1e-5)
        assert np.abs(answer - expected[1 - each % 2]).max() > 1e-4


def test_a_poisoned_image_fails_alone(bundle: Bundle) -> None:
    with _Counting(bundle) as engine, BatchingEngine(engine, THREADS, GATHER_S) as batching:

        def call(number: int) -> FloatImage:
            pixels = images() if number else np.zeros((1, 1, 60, 60), np.float32)
            return batching.coarse_layers(pixels, 2, [number])

        poisoned, *others = together(4, call)
    assert isinstance(poisoned, ValueError)
    assert all(isinstance(answer, np.ndarray) for answer in others)


@pytest.mark.parametrize("error", [ModelError("the device has gone"), Retriable("out of memory")])
def test_what_goes_wrong_reaches_everybody_and_the_next_batch_runs(bundle: Bundle, error: Exception) -> None:
    with _Counting(bundle) as engine, BatchingEngine(engine, THREADS, GATHER_S) as batching:
        engine.error = error
        answers = together(4, lambda each: batching.coarse_layers(images(), 2, [each]))
        assert answers == [error] * 4
        engine.error = None
        assert batching.coarse_layers(images(), 2, [0]).any()


def test_closing_answers_what_was_asked_and_refuses_what_comes_later(bundle: Bundle) -> None:
    engine = _Counting(bundle)
    batching = BatchingEngine(engine, THREADS, gather_s=30)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(batching.coarse_layers, images(), 2, [0])
        while not batching._pending:
            time.sleep(0.01)
        batching.close()
        assert asked.result(10).any()
    with pytest.raises(Retriable, match="closed"):
        batching.coarse_layers(images(), 2, [0])
    assert engine.closed
    assert not batching._thread.is_alive()
    batching.close()


def test_the_cpu_takes_one_image_at_a_time_unless_it_is_told_otherwise(bundle: Bundle) -> None:
    assert isinstance(open_engine(bundle, Device.CPU), OrtEngine)
    engine = open_engine(bundle, ModelSettings(device=Device.CPU, threads=1, max_batch=4))
    assert isinstance(engine, BatchingEngine)
    assert (engine.spec, engine.device, engine.precision) == (bundle.spec, "cpu", "fp32")
    alone = open_engine(bundle, Device.CPU, 1)
    latents = alone.encode(images())
    assert engine.encode(images()).tobytes() == latents.tobytes()
    t = np.ones(1, np.float32)
    assert engine.predict(latents, t, latents).tobytes() == alone.predict(latents, t, latents).tobytes()
    assert engine.decode(latents).tobytes() == alone.decode(latents).tobytes()
    engine.close()
