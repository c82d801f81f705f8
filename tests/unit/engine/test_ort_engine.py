"""ONNX Runtime: equal bytes for equal input, the shapes of the Protocol, every failure with its decision."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model.bundle import Bundle
from pacs_node.config import Device
from pacs_node.engine import Engine
from pacs_node.engine.load import open_engine
from pacs_node.engine.ort_engine import OrtEngine
from pacs_node.errors import ModelError
from pacs_node.records import FloatImage
from tests.bundles import TINY_GRID
from tests.conftest import REPOSITORY
from tests.unit.engine.conftest import images

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
    return images(batch, rows, columns, seed)


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
    with pytest.raises(ModelError, match=r"fused\.onnx"):
        OrtEngine(bundle.model_copy(update={"folder": tmp_path}), Device.CPU)


def test_a_graph_without_its_weights_is_a_model_error(bundle: Bundle, tmp_path: Path) -> None:
    for name in bundle.spec.graphs.values():
        (tmp_path / name).write_bytes((bundle.folder / name).read_bytes())
    with pytest.raises(ModelError, match=r"fused\.onnx"):
        OrtEngine(bundle.model_copy(update={"folder": tmp_path}), Device.CPU)
