"""One graph and its tensors: fixed addresses give the same answers, and every failure has its decision."""

import logging
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from model.bundle import Bundle
from pacs_node.config import Device
from pacs_node.engine import graph as graph_module
from pacs_node.engine.coarse import starting_noise
from pacs_node.engine.graph import MOST_PLACES, Graph, Replayed
from pacs_node.engine.providers import Setup
from pacs_node.errors import ModelError, Retriable
from pacs_node.records import FloatImage
from tests.unit.engine.conftest import images

SETUP = Setup(Device.CPU, threads=1)


def order(bundle: Bundle, count: int, seed: int = 0) -> dict[str, FloatImage]:
    pixels = images(count, seed=seed)
    return {"image": pixels, "noise": starting_noise(bundle.spec, pixels, range(count))}


def test_a_tensor_of_one_graph_goes_into_the_next_as_it_is(bundle: Bundle) -> None:
    encoder, decoder = (Graph(bundle.path(role), SETUP) for role in ("encoder", "decoder"))
    latents = encoder.run(image=images())
    assert isinstance(latents, ort.OrtValue)
    assert decoder.array(latents=latents).tobytes() == decoder.array(latents=latents.numpy()).tobytes()


def test_an_input_that_the_graph_does_not_use_is_left_out(bundle: Bundle) -> None:
    encoder = Graph(bundle.path("encoder"), SETUP)
    assert encoder.array(image=images(), noise=images()).tobytes() == encoder.array(image=images()).tobytes()


def test_tensors_with_fixed_addresses_give_the_same_bytes_for_any_number_of_images(bundle: Bundle) -> None:
    plain, replayed = Graph(bundle.path("fused"), SETUP), Replayed(bundle.path("fused"), SETUP)
    for count in [*range(1, MOST_PLACES + 3), 2]:
        inputs = order(bundle, count, seed=count)
        assert replayed.array(**inputs).tobytes() == plain.array(**inputs).tobytes()
    assert len(replayed._places) == MOST_PLACES


def test_an_answer_is_not_overwritten_by_the_next_one(bundle: Bundle) -> None:
    replayed = Replayed(bundle.path("fused"), SETUP)
    first = replayed.array(**order(bundle, 1))
    kept = first.copy()
    assert (replayed.array(**order(bundle, 1, seed=1)) != kept).any()
    np.testing.assert_array_equal(first, kept)


@pytest.mark.usefixtures("as_if_cuda")
def test_kernels_are_captured_under_a_number_for_each_shape(bundle: Bundle) -> None:
    replayed = Replayed(bundle.path("fused"), Setup(Device.CUDA, threads=1))
    for count in range(1, MOST_PLACES + 2):
        replayed.array(**order(bundle, count))
    numbers = [place.options.get_run_config_entry("gpu_graph_id") for place in replayed._places.values()]
    assert numbers == [str(number) for number in range(1, MOST_PLACES + 1)]


@pytest.mark.usefixtures("as_if_cuda")
@pytest.mark.parametrize("when", ["opening", "running"])
def test_a_graph_that_cannot_be_captured_runs_kernel_by_kernel_and_says_so(
    bundle: Bundle, when: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Uncapturable(Graph):
        def __init__(self, model: Any, setup: Setup, **further: str) -> None:
            self.captures = "enable_cuda_graph" in further
            if self.captures and when == "opening":
                raise ModelError("a node runs on the CPU")
            super().__init__(model, setup, **further)

        def launch(self, binding: ort.IOBinding, options: ort.RunOptions | None = None) -> None:
            if self.captures:
                raise ModelError("an allocation during capture")
            super().launch(binding, options)

    expected = Graph(bundle.path("fused"), SETUP).array(**order(bundle, 1))
    monkeypatch.setattr(graph_module, "Graph", Uncapturable)
    with caplog.at_level(logging.INFO):
        layer = Replayed(bundle.path("fused"), Setup(Device.CUDA, threads=1)).array(**order(bundle, 1))
    assert layer.tobytes() == expected.tobytes()
    assert "no CUDA graph of fused.onnx" in caplog.text


@pytest.mark.usefixtures("as_if_cuda")
def test_cuda_graphs_can_be_switched_off(bundle: Bundle) -> None:
    replayed = Replayed(bundle.path("fused"), Setup(Device.CUDA, 1, {"enable_cuda_graph": "0"}))
    assert not replayed._captures
    assert replayed.array(**order(bundle, 1)).any()


class _Exhausted:
    """A session whose allocator gives up: memory cannot be exhausted on purpose without harming the machine."""

    def __init__(self, session: ort.InferenceSession, error: Exception) -> None:
        self.io_binding = session.io_binding
        self.error = error

    def run_with_iobinding(self, *_: object) -> None:
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
@pytest.mark.parametrize("kind", [Graph, Replayed])
def test_memory_can_be_tried_again_and_anything_else_stops(
    bundle: Bundle, kind: type[Graph] | type[Replayed], error: Exception, decision: type[Exception]
) -> None:
    opened = kind(bundle.path("fused"), SETUP)
    inner = opened if isinstance(opened, Graph) else opened._graph
    inner._session = _Exhausted(inner._session, error)
    with pytest.raises(decision, match=r"running fused\.onnx") as caught:
        opened.array(**order(bundle, 1))
    assert caught.value.__cause__ is error


def test_a_graph_that_does_not_open_with_options_of_the_settings_points_to_them(bundle: Bundle) -> None:
    (bundle.folder / "broken.onnx").write_bytes(b"no protobuf")
    setup = Setup(Device.CPU, 1, {"device_type": "GPU"})
    with pytest.raises(ModelError, match=r"broken\.onnx.*check model\.provider_options\.cpu"):
        Graph(bundle.folder / "broken.onnx", setup)
