"""Coarse layers: fused and separate graphs agree, latents stay on the device, memory is bounded."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from model.bundle import Bundle, ClippingSpec
from pacs_node.config import Device, ModelSettings, Precision
from pacs_node.engine.coarse import separate_layers
from pacs_node.engine.device_array import DeviceArray
from pacs_node.engine.ort_engine import OrtEngine
from pacs_node.errors import ModelError, Retriable
from pacs_node.records import FloatImage
from tests.conftest import REPOSITORY
from tests.unit.engine.conftest import images

SEEDS = (11, 12, 13)


def changed(bundle: Bundle, **changes: Any) -> Bundle:
    """The same files under another description."""
    return bundle.model_copy(update={"spec": bundle.spec.model_copy(update=changes)})


def without_fused(bundle: Bundle, **changes: Any) -> Bundle:
    graphs = {role: name for role, name in bundle.spec.graphs.items() if role != "fused"}
    return changed(bundle, graphs=graphs, half_graphs={}, **changes)


def opened(bundle: Bundle, **settings: Any) -> OrtEngine:
    return OrtEngine(bundle, settings=ModelSettings(device=Device.CPU, threads=1, **settings))


def test_the_fused_graph_computes_what_the_separate_ones_compute(bundle: Bundle) -> None:
    with opened(bundle) as fused, opened(without_fused(bundle)) as separate:
        one = fused.coarse_layers(images(3), bundle.spec.steps, SEEDS)
        other = separate.coarse_layers(images(3), bundle.spec.steps, SEEDS)
    # float32 sums in another order, through two evaluations and a difference of two images in [-1, 1]
    np.testing.assert_allclose(one, other, atol=1e-4)
    assert np.abs(one).max() > 1e-2


def test_graphs_are_opened_when_they_are_needed(bundle: Bundle) -> None:
    with opened(bundle) as engine:
        assert set(engine._graphs) == {"fused"}
        engine.coarse_layers(images(), bundle.spec.steps, [0])
        assert set(engine._graphs) == {"fused"}
        engine.coarse_layers(images(), bundle.spec.steps + 1, [0])
        assert set(engine._graphs) == {"fused", "encoder", "denoiser", "decoder"}
    with opened(bundle, steps=bundle.spec.steps + 1) as engine:
        assert set(engine._graphs) == {"encoder", "denoiser", "decoder"}


def test_an_engine_that_is_not_warmed_up_still_opens_what_it_will_need(bundle: Bundle) -> None:
    with OrtEngine(bundle, Device.CPU, 1, warm=False) as engine:
        assert set(engine._graphs) == {"fused"}
        with opened(bundle) as other:
            expected = other.coarse_layers(images(), 2, [3])
        assert engine.coarse_layers(images(), 2, [3]).tobytes() == expected.tobytes()


RECIPES: list[dict[str, Any]] = [
    {},
    {"sampler": "dpmpp_2m"},
    {"sampler": "ddpm"},
    {"eta": 0.5},
    {"prediction": "v"},
    {"process": "flow", "prediction": "v"},
    {"process": "bridge"},
    {"clipping": ClippingSpec(kind="static")},
    {"clipping": ClippingSpec(kind="dynamic_thresholding")},
]


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_latents_on_the_device_end_where_latents_of_numpy_end(bundle: Bundle, recipe: dict[str, Any]) -> None:
    with opened(without_fused(bundle, **recipe), max_batch=2) as engine:
        layers = engine.coarse_layers(images(2), 3, SEEDS[:2])
        assert layers.tobytes() == separate_layers(engine, images(2), 3, SEEDS[:2]).tobytes()


def test_latents_do_not_leave_the_device_between_the_steps(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: DeviceArray) -> FloatImage:
        raise AssertionError("latents were copied to the CPU")

    with opened(without_fused(bundle)) as engine:
        monkeypatch.setattr(DeviceArray, "numpy", never)
        monkeypatch.setattr(engine, "predict", never)
        assert engine.coarse_layers(images(), 4, [0]).any()


@pytest.mark.parametrize("recipe", [{}, {"sampler": "ddpm"}, {"process": "bridge"}], ids=str)
def test_a_layer_depends_on_its_own_image_and_seed_alone(bundle: Bundle, recipe: dict[str, Any]) -> None:
    with opened(without_fused(bundle, **recipe), max_batch=8) as engine:
        several = engine.coarse_layers(images(3), 3, SEEDS)
        alone = [engine.coarse_layers(images(3)[each : each + 1], 3, SEEDS[each : each + 1]) for each in range(3)]
        # float32 sums are cut up differently in another batch
        np.testing.assert_allclose(several, np.concatenate(alone), atol=1e-5)
        assert np.abs(engine.coarse_layers(images(), 3, [1]) - engine.coarse_layers(images(), 3, [2])).max() > 1e-3


def test_on_the_cpu_companions_do_not_change_a_single_bit(bundle: Bundle) -> None:
    with opened(bundle) as engine:
        several = engine.coarse_layers(images(3), 2, SEEDS)
        for each in range(3):
            alone = engine.coarse_layers(images(3)[each : each + 1], 2, SEEDS[each : each + 1])
            assert several[each].tobytes() == alone[0].tobytes()


@pytest.mark.usefixtures("as_if_cuda")
def test_what_is_done_for_cuda_gives_the_same_layers(bundle: Bundle) -> None:
    with opened(bundle) as engine, opened(without_fused(bundle)) as separate:
        assert (engine.device, engine.max_batch) == ("cuda", 16)
        fused = engine.coarse_layers(images(3), 2, SEEDS)
        np.testing.assert_allclose(fused, separate.coarse_layers(images(3), 2, SEEDS), atol=1e-4)
        assert set(engine._replayed) == {"fused"}


@pytest.mark.parametrize(
    ("count", "steps", "seeds", "told"), [(2, 2, [1], "1 seeds for 2 images"), (1, 0, [1], "at least one")]
)
def test_an_order_that_does_not_fit_is_a_mistake_of_the_caller(
    bundle: Bundle, count: int, steps: int, seeds: list[int], told: str
) -> None:
    with opened(bundle) as engine, pytest.raises(ValueError, match=told):
        engine.coarse_layers(images(count), steps, seeds)


def test_a_bundle_of_fixed_shapes_takes_its_own_size_only(bundle: Bundle) -> None:
    with opened(changed(bundle, shapes="fixed")) as engine:
        assert engine.coarse_layers(images(), 2, [0]).any()
        with pytest.raises(ValueError, match="64 x 64 only"):
            engine.coarse_layers(images(rows=128), 2, [0])
        with pytest.raises(ValueError, match="8 x 8 only"):
            engine.decode(np.zeros((1, 4, 8, 16), np.float32))


def test_half_precision_is_for_gpus_unless_it_is_named(bundle: Bundle) -> None:
    half = changed(bundle, half_graphs={"fused": "fused.onnx"})
    with opened(half) as engine:
        assert engine.precision == "fp32"
    with opened(half, precision=Precision.FP16) as engine:
        assert engine.precision == "fp16"
        assert engine.coarse_layers(images(), 3, [0]).any(), "a role without a half-precision graph has its usual one"


@pytest.mark.usefixtures("as_if_cuda")
def test_a_gpu_takes_half_precision_where_there_is_some(bundle: Bundle) -> None:
    half = changed(bundle, half_graphs={"fused": "fused.onnx"})
    for model, precision, expected in (
        (half, Precision.AUTO, "fp16"),
        (half, Precision.FP32, "fp32"),
        (bundle, Precision.AUTO, "fp32"),
    ):
        with opened(model, precision=precision) as engine:
            assert engine.precision == expected


def test_half_precision_that_the_bundle_does_not_have_is_an_error(bundle: Bundle) -> None:
    with pytest.raises(ModelError, match=r"no half-precision graphs.*pacs-node export-onnx"):
        opened(bundle, precision=Precision.FP16)


def test_short_memory_halves_the_batch_until_it_fits(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(bundle, max_batch=8) as engine:
        expected = engine.coarse_layers(images(7), 2, range(7))
        graph, sizes = engine._graphs["fused"], []

        def small(**inputs: FloatImage) -> FloatImage:
            sizes.append(len(inputs["image"]))
            if sizes[-1] > 2:
                raise Retriable("out of memory while running fused.onnx")
            return type(graph).array(graph, **inputs)

        monkeypatch.setattr(graph, "array", small)
        layers = engine.coarse_layers(images(7), 2, range(7))
        assert engine.max_batch == max(sizes[2:]) <= 2
        assert "memory is short" in caplog.text
        # float32 sums are cut up differently in another batch
        np.testing.assert_allclose(layers, expected, atol=1e-5)


def test_memory_that_is_short_for_one_image_can_be_tried_again(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(**_: FloatImage) -> FloatImage:
        raise Retriable("out of memory while running fused.onnx")

    with opened(bundle) as engine:
        monkeypatch.setattr(engine._graphs["fused"], "array", never)
        with pytest.raises(Retriable):
            engine.coarse_layers(images(2), 2, [0, 1])


GROWTH = """
import sys, threading
from pathlib import Path
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from pacs_node.config import Device
from pacs_node.engine.load import load_bundle, open_engine

def peak_mb():
    # not getrusage: its maximum is inherited from the process that started this one
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

engine = open_engine(load_bundle(sys.argv[1]), Device.CPU, 1)
image = np.zeros((1, 1, 256, 256), np.float32)
engine.coarse_layers(image, 2, [0])
one = peak_mb()
engine.coarse_layers(np.repeat(image, 24, axis=0), 2, range(24))
turn = threading.Barrier(12)  # each of the threads takes part, as those of a queue do

def in_turn(seed):
    turn.wait()
    engine.coarse_layers(image, 2, [seed])

with ThreadPoolExecutor(12) as pool:
    list(pool.map(in_turn, range(24)))
several = peak_mb()
engine._max_batch = 24
engine.coarse_layers(np.repeat(image, 24, axis=0), 2, range(24))
print(several - one, peak_mb() - one)
"""


def test_memory_does_not_grow_with_the_number_of_images_or_callers(bundle: Bundle) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, str(bundle.folder)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    bounded_mb, unbounded_mb = map(float, done.stdout.split())
    # 19 MB, of which 12 are the arrays of 24 images; 105 MB with a heap for each thread
    assert bounded_mb < 50
    assert unbounded_mb > 1.5 * bounded_mb, "the images are too small to see anything"
