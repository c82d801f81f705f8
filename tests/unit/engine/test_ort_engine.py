"""ONNX Runtime: equal bytes for equal input, the shapes of the Protocol, every failure with its decision."""

import ctypes
import hashlib
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import pacs_node.engine.ort_engine as ort_module
from model.bundle import Bundle
from pacs_node.config import Device
from pacs_node.engine import Engine
from pacs_node.engine.load import open_engine
from pacs_node.engine.ort_engine import CPU, CUDA, OrtEngine, choose_device
from pacs_node.errors import ModelError, Retriable
from pacs_node.records import FloatImage
from tests.bundles import TINY_GRID
from tests.conftest import REPOSITORY

RUN_ONCE = """
import hashlib, sys
import numpy as np
sys.modules["torch"] = None
from pacs_node.config import Device
from pacs_node.engine.load import load_bundle, open_engine
engine = open_engine(load_bundle(sys.argv[1]), Device.CPU, int(sys.argv[2]))
image = np.random.default_rng(0).uniform(-1, 1, (1, 1, 64, 64)).astype(np.float32)
latents = engine.encode(image)
moved = engine.predict(latents[:, :, ::-1].copy(), np.full(1, 0.5, np.float32), latents)
print(hashlib.sha256(engine.decode(moved).tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Engine:
    return open_engine(bundle, Device.CPU, threads=1)


def image(batch: int = 1, rows: int = TINY_GRID, columns: int = TINY_GRID, seed: int = 0) -> FloatImage:
    return np.random.default_rng(seed).uniform(-1, 1, (batch, 1, rows, columns)).astype(np.float32)


def chain(engine: Engine, pixels: FloatImage) -> FloatImage:
    latents = engine.encode(pixels)
    moved = engine.predict(latents[:, :, ::-1].copy(), np.full(len(latents), 0.5, np.float32), latents)
    return engine.decode(moved)


def test_shapes_follow_batch_rows_and_columns(engine: Engine) -> None:
    pixels = image(batch=2, rows=128, columns=96)
    latents = engine.encode(pixels)
    assert latents.shape == (2, 4, 16, 12)
    assert engine.predict(latents, np.zeros(2, np.float32), latents).shape == latents.shape
    assert engine.decode(latents).shape == pixels.shape


def test_every_part_depends_on_its_inputs(engine: Engine) -> None:
    """Otherwise equal outputs would prove nothing in the tests below."""
    latents, others = engine.encode(image()), engine.encode(image(seed=1))
    now, later = np.zeros(1, np.float32), np.ones(1, np.float32)
    base = engine.predict(latents, now, latents)
    for changed in (
        engine.predict(others, now, latents),
        engine.predict(latents, later, latents),
        engine.predict(latents, now, others),
    ):
        assert np.abs(changed - base).max() > 1e-3
    assert np.abs(engine.decode(latents) - engine.decode(others)).max() > 1e-3


def test_two_runs_give_equal_bytes(engine: Engine) -> None:
    assert chain(engine, image()).tobytes() == chain(engine, image()).tobytes()


def test_two_processes_without_torch_give_equal_bytes(bundle: Bundle, engine: Engine) -> None:
    here = hashlib.sha256(chain(engine, image()).tobytes()).hexdigest()
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", RUN_ONCE, str(bundle.folder), "1"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.strip() == here, done.stderr


def test_the_number_of_threads_does_not_change_the_result(bundle: Bundle, engine: Engine) -> None:
    with OrtEngine(bundle, Device.CPU, threads=2) as other:
        assert chain(other, image()).tobytes() == chain(engine, image()).tobytes()


def test_a_batch_gives_what_its_images_give_alone(engine: Engine) -> None:
    both = chain(engine, np.concatenate([image(seed=3), image(seed=4)]))
    alone = np.concatenate([chain(engine, image(seed=3)), chain(engine, image(seed=4))])
    # Matrix products may be cut up differently for another batch: a few units in the last place of float32.
    np.testing.assert_allclose(both, alone, atol=1e-5)


@pytest.mark.skipif(CUDA in ort.get_available_providers(), reason="this machine may really have CUDA")
def test_cuda_asked_for_and_absent_is_an_error_with_the_next_step(bundle: Bundle) -> None:
    with pytest.raises(ModelError, match=r"pacs-node\[gpu\].*model\.device = \"auto\""):
        open_engine(bundle, Device.CUDA)


@pytest.mark.skipif(CUDA in ort.get_available_providers(), reason="this machine may really have CUDA")
def test_auto_without_cuda_runs_on_the_cpu_and_says_why(bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert open_engine(bundle, Device.AUTO).device == "cpu"
    assert [record.message for record in caplog.records if "running on the CPU" in record.message]


def test_a_runtime_that_falls_back_in_silence_is_found_out(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime's own behaviour: asked for CUDA it opens a CPU session and only warns."""
    monkeypatch.setattr(ort_module, "_cuda_obstacle", lambda: None)
    monkeypatch.setattr(ort, "preload_dlls", lambda: None)
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(ModelError, match="could not start CUDA"),
    ):
        OrtEngine(bundle, Device.CUDA)


def test_auto_survives_a_broken_cuda_and_says_so(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ort_module, "_cuda_obstacle", lambda: None)
    monkeypatch.setattr(ort, "preload_dlls", lambda: None)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        engine = OrtEngine(bundle, Device.AUTO)
    assert engine.device == "cpu"
    assert "running on the CPU" in caplog.text
    chain(engine, image())


def test_a_cuda_runtime_without_a_driver_is_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_driver(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(ctypes, "CDLL", no_driver)
    assert choose_device(Device.AUTO) is Device.CPU
    with pytest.raises(ModelError, match="no NVIDIA driver"):
        choose_device(Device.CUDA)


@pytest.mark.parametrize(
    "shape", [(TINY_GRID, TINY_GRID), (1, 3, TINY_GRID, TINY_GRID), (1, 1, TINY_GRID, 60), (0, 1, TINY_GRID, TINY_GRID)]
)
def test_an_image_of_another_shape_is_a_mistake_of_the_caller(engine: Engine, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        engine.encode(np.zeros(shape, np.float32))


def test_float64_is_a_mistake_of_the_caller(engine: Engine) -> None:
    with pytest.raises(ValueError, match="float32"):
        engine.encode(image().astype(np.float64))


def test_times_outside_zero_to_one_are_a_mistake_of_the_caller(engine: Engine) -> None:
    latents = engine.encode(image())
    for t in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="outside"):
            engine.predict(latents, np.full(1, t, np.float32), latents)
    with pytest.raises(ValueError, match="belong together"):
        engine.predict(latents, np.zeros(2, np.float32), latents)


def test_a_graph_that_the_runtime_cannot_read_is_a_model_error(bundle: Bundle, tmp_path: Path) -> None:
    for role in bundle.spec.graphs:
        (tmp_path / bundle.spec.graphs[role]).write_bytes(b"no protobuf")
    with pytest.raises(ModelError, match=r"encoder\.onnx"):
        OrtEngine(bundle.model_copy(update={"folder": tmp_path}), Device.CPU)


def test_a_graph_without_its_weights_is_a_model_error(bundle: Bundle, tmp_path: Path) -> None:
    for name in bundle.spec.graphs.values():
        (tmp_path / name).write_bytes((bundle.folder / name).read_bytes())
    with pytest.raises(ModelError, match=r"encoder\.onnx"):
        OrtEngine(bundle.model_copy(update={"folder": tmp_path}), Device.CPU)


class _Exhausted:
    """A session whose allocator gives up: memory cannot be exhausted on purpose without harming the machine."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def run(self, *_: object) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "decision"),
    [
        (RuntimeError("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer"), Retriable),
        (RuntimeError("std::bad_alloc"), Retriable),
        (RuntimeError("CUDA failure 2: out of memory"), Retriable),
        (MemoryError(), Retriable),
        (RuntimeError("Non-zero status code returned while running Conv node"), ModelError),
    ],
)
def test_memory_can_be_tried_again_and_anything_else_stops(
    bundle: Bundle, error: Exception, decision: type[Exception]
) -> None:
    engine = OrtEngine(bundle, Device.CPU, threads=1)
    engine._sessions["encoder"] = _Exhausted(error)
    with pytest.raises(decision) as caught:
        engine.encode(image())
    assert caught.value.__cause__ is error
