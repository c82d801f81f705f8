"""The graphs of a bundle: fused like separate, any size or one, float32 or float16, weights once."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import export.to_bundle as export_module
from export.half import in_half
from export.onnx_graphs import can_fuse
from export.parity import measure
from model.bundle import Bundle, ModelSpec, Role, open_bundle
from model.sampler import Recipe, draw_noise, walk
from model.schedule import timesteps
from pacs_node.cli import main
from pacs_node.config import Device, ModelSettings, Precision
from pacs_node.engine.ort_engine import OrtEngine
from pacs_node.engine.torch_engine import TorchEngine, rebuild
from pacs_node.records import FloatImage

COMMAND = ["export-onnx", "--precision", "fp16", "--fixed", "--set", "steps=1"]


def image(count: int, rows: int = 64, columns: int = 64) -> FloatImage:
    return np.random.default_rng(5).uniform(-1, 1, (count, 1, rows, columns)).astype(np.float32)


def fused(bundle: Bundle, shown: FloatImage, *, half: bool = False) -> FloatImage:
    """The fused graph by itself."""
    session = ort.InferenceSession(bundle.path("fused", half=half), providers=["CPUExecutionProvider"])
    shape = (len(shown), 4, shown.shape[2] // 8, shown.shape[3] // 8)
    layer: FloatImage = session.run(None, {"image": shown, "noise": draw_noise(3, shape, 0.1)})[0]
    return layer


@pytest.fixture(scope="module")
def fixed(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """What the command makes of the tiny bundle: float16 too, and for its grid only."""
    out = tmp_path_factory.mktemp("fixed") / "bundle"
    assert main([*COMMAND, "--bundle", str(bundle.folder), "-o", str(out)]) == 0
    return open_bundle(out)


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 64, 64), (2, 64, 64), (5, 32, 80), (1, 144, 48)])
def test_the_fused_graph_is_the_separate_ones(bundle: Bundle, count: int, rows: int, columns: int) -> None:
    shown = image(count, rows, columns)
    with OrtEngine(bundle, Device.CPU, warm=False) as engine:
        condition = engine.encode(shown)
        noise = draw_noise(3, condition.shape, bundle.spec.offset_noise)
        layers = engine.decode(condition) - engine.decode(two_steps(engine, noise, condition))
    # float32 sums in another order; the layer is of order 1
    np.testing.assert_allclose(fused(bundle, shown), layers, atol=1e-4)


def two_steps(engine: OrtEngine, noise: FloatImage, condition: FloatImage) -> FloatImage:
    """The sampler of the tiny bundle from a given noise, as NumPy and the separate graphs compute it."""

    def predict(x_t: FloatImage, t: float) -> FloatImage:
        return engine.predict(x_t, np.full(len(x_t), t, np.float32), condition)

    assert engine.spec.steps == 2
    soft: FloatImage = walk(predict, noise, timesteps(2), Recipe.of(engine.spec))
    return soft


def test_graphs_of_any_size_take_any_batch_and_size(bundle: Bundle) -> None:
    with OrtEngine(bundle, Device.CPU, warm=False) as engine:
        whole = engine.decode(engine.encode(image(5, 48, 112)))
        assert whole.shape == (5, 1, 48, 112)
        np.testing.assert_allclose(engine.decode(engine.encode(image(5, 48, 112)[3:4])), whole[3:4], atol=1e-5)


def test_fixed_graphs_take_any_batch_of_their_grid_and_nothing_else(fixed: Bundle) -> None:
    assert fixed.spec.shapes == "fixed"
    for count in (1, 3):
        assert fused(fixed, image(count)).shape == (count, 1, 64, 64)
    with pytest.raises(Exception, match="invalid dimensions"):
        fused(fixed, image(1, 64, 128))


def test_fixed_graphs_compute_no_shapes_but_the_batch(fixed: Bundle, bundle: Bundle) -> None:
    def shapes(of: Bundle) -> int:
        return sum(node.op_type == "Shape" for node in onnx.load(of.path("denoiser")).graph.node)

    assert shapes(fixed) < shapes(bundle)


def test_float16_graphs_keep_sixty_decibels(fixed: Bundle) -> None:
    shown = image(1)
    error = fused(fixed, shown, half=True) - fused(fixed, shown)
    assert 60 < 10 * np.log10(4 / np.mean(np.square(error))) < 150


def test_sixty_decibels_are_kept_with_every_operation_rounded(fixed: Bundle) -> None:
    """On a CPU the runtime computes most of a float16 graph in float32, torch does not: what a GPU will show."""
    whole, (autoencoder, denoiser, _) = TorchEngine.open(fixed, Device.CPU), rebuild(fixed)
    half = TorchEngine(fixed.spec, in_half(autoencoder), in_half(denoiser))  # type: ignore[arg-type]
    assert 60 < measure(whole, half).decoded_psnr_db < 150


@pytest.mark.parametrize("role", ["encoder", "denoiser", "decoder", "fused"])
def test_a_float16_graph_convolves_in_float16_from_and_to_float32(fixed: Bundle, role: Role) -> None:
    proto = onnx.shape_inference.infer_shapes(onnx.load(fixed.path(role, half=True)))
    types = {value.name: value.type.tensor_type.elem_type for value in [*proto.graph.value_info, *proto.graph.output]}
    found = {types[node.output[0]] for node in proto.graph.node if node.op_type == "Conv"}
    assert found == {onnx.TensorProto.FLOAT16}
    ends = [*proto.graph.input, *proto.graph.output]
    assert {end.type.tensor_type.elem_type for end in ends} == {onnx.TensorProto.FLOAT}


def test_every_set_of_graphs_points_into_one_file_of_weights(fixed: Bundle, bundle: Bundle) -> None:
    assert fixed.weights_path.stat().st_size < 0.6 * bundle.weights_path.stat().st_size
    for half, names in ((False, fixed.spec.graphs), (True, fixed.spec.half_graphs)):
        for role in names:
            proto = onnx.load(fixed.path(role, half=half), load_external_data=False)
            outside = [tensor for tensor in proto.graph.initializer if tensor.external_data]
            assert {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"} == {
                "weights.safetensors"
            }
            inside = sum(len(tensor.raw_data) for tensor in proto.graph.initializer)
            held = sum(
                int(entry.value) for tensor in outside for entry in tensor.external_data if entry.key == "length"
            )
            assert inside < held


def test_the_engine_computes_in_float16_where_it_is_told_to(fixed: Bundle) -> None:
    settings = ModelSettings(device=Device.CPU, precision=Precision.FP16)
    with OrtEngine(fixed, settings=settings, warm=False) as half, OrtEngine(fixed, Device.CPU, warm=False) as whole:
        layers = [engine.coarse_layers(image(2), 1, [1, 2]) for engine in (half, whole)]
    assert 0 < np.abs(layers[0] - layers[1]).max() < 0.01


def test_a_broken_weight_fails_the_command_and_leaves_nothing(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own: dict[Role, onnx.ModelProto] = {role: onnx.load(bundle.path(role)) for role in bundle.spec.graphs}
    broken = next(tensor for tensor in own["fused"].graph.initializer if len(tensor.dims) == 4 and tensor.dims[0] > 8)
    broken.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(broken) * np.float32(1.1), broken.name))
    monkeypatch.setattr(export_module, "to_graphs", lambda *_, **__: own)
    assert main(["export-onnx", "--bundle", str(bundle.folder), "-o", str(tmp_path / "out")]) == 3
    assert "fused layer" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def facts(**changes: Any) -> ModelSpec:
    graphs = {"encoder": "e", "denoiser": "n", "decoder": "d"}
    files = {name: {"sha256": "0" * 64, "bytes": 0} for name in (*graphs.values(), "weights.safetensors")}
    plain: dict[str, Any] = {"name": "x", "version": "1", "grid": 64, "graphs": graphs, "files": files}
    return ModelSpec.model_validate(plain | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 1000},
        {"eta": 0.5},
        {"sampler": "ddpm"},
        {"process": "bridge"},
        {"clipping": {"kind": "dynamic_thresholding"}},
    ],
)
def test_a_way_that_draws_or_looks_up_or_is_long_is_not_fused(changes: dict[str, Any]) -> None:
    assert can_fuse(facts())
    assert not can_fuse(facts(**changes))


def test_the_shipped_bundle_has_every_graph(tmp_path: Path) -> None:
    folder = Path(export_module.__file__).parents[1] / "model" / "bundles" / "default"
    shutil.copytree(folder, tmp_path / "copy")
    spec = open_bundle(tmp_path / "copy").spec
    assert set(spec.graphs) == set(spec.half_graphs) == {"encoder", "denoiser", "decoder", "refiner", "fused"}
    assert json.loads((folder / "bundle.json").read_text())["licence"] == "CC BY-NC 4.0, research use only"
