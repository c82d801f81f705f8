"""From a trained network to a bundle that computes the same, from a bundle to an equal one."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file

import export.to_bundle as export_module
from export.checkpoint import export_bundle
from export.fingerprint import fingerprint
from export.parity import Bounds, Parity, measure, require
from export.to_bundle import export_network, reexport_bundle
from model.bundle import ROLES, Bundle, Role
from pacs_node.config import Device
from pacs_node.engine.load import open_engine
from pacs_node.errors import ConfigError, ModelError
from tests.networks import tiny_network

WITH_FUSED: tuple[Role, ...] = (*ROLES, "fused")
FACTS: dict[str, Any] = {"name": "tiny", "version": "0", "grid": 64, "steps": 2}


@pytest.fixture
def graphs_once(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> dict[Role, onnx.ModelProto]:
    """The real graphs of the tiny network, with their weights inside: tracing takes most of an export's time."""
    own: dict[Role, onnx.ModelProto] = {role: onnx.load(bundle.path(role)) for role in ROLES}
    monkeypatch.setattr(export_module, "can_fuse", lambda _: False)  # each test has steps of its own
    monkeypatch.setattr(export_module, "to_graphs", lambda *_, **__: own)
    return own


def save_run(folder: Path) -> Path:
    """A training run's folder as `pacs-node train` leaves it."""
    network = tiny_network()
    known = {"grid": 64, "steps": 3, "offset_noise": 0.2, "clipping": {"kind": "none"}}
    for stage, module, provenance in (
        ("autoencoder", network.autoencoder, {}),
        ("diffusion", network.denoiser, {"bundle": known, "autoencoder_sha256": fingerprint(network.autoencoder)}),
    ):
        best = folder / stage / "best"
        best.mkdir(parents=True)
        save_file(module.state_dict(), best / "weights.safetensors")
        meta = {"stage": stage, "step": 7, "config": asdict(module.config), "scores": {}, "provenance": provenance}
        (best / "meta.json").write_text(json.dumps(meta))
    return folder


@pytest.mark.parametrize("role", WITH_FUSED)
def test_weights_lie_once_in_the_safetensors_file(bundle: Bundle, role: Role) -> None:
    proto = onnx.load(bundle.path(role), load_external_data=False)
    outside = [tensor for tensor in proto.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    assert outside
    for tensor in outside:
        place = {entry.key: entry.value for entry in tensor.external_data}
        assert place["location"] == "weights.safetensors"
    for tensor in proto.graph.initializer:
        if tensor not in outside and len(tensor.raw_data) >= 1024:
            # what moves numbers about: 0 and one more value, in half precision
            assert len(np.unique(onnx.numpy_helper.to_array(tensor))) == 2
            assert tensor.data_type == onnx.TensorProto.FLOAT16


def test_every_tensor_of_the_graphs_has_the_bytes_of_its_namesake(bundle: Bundle) -> None:
    tensors = load_file(bundle.weights_path)
    compared = 0
    for role in ROLES:
        for tensor in onnx.load(bundle.path(role)).graph.initializer:
            if tensor.name in tensors:
                np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), tensors[tensor.name].numpy())
                compared += 1
    assert compared > 50


@pytest.mark.parametrize("role", WITH_FUSED)
def test_a_graph_says_what_it_is_and_nothing_of_the_machine(bundle: Bundle, role: Role) -> None:
    proto = onnx.load(bundle.path(role), load_external_data=False)
    onnx.checker.check_model(bundle.path(role), full_check=True)
    assert {entry.key: entry.value for entry in proto.metadata_props} == {
        "role": role,
        "bundle": "tiny",
        "version": "0",
        "licence": "research use only",
        "grid": "64",
        "shapes": "dynamic",
        "computes_in": "float32",
    } | ({"recipe": "diffusion x0, ddim, 2 steps"} if role == "fused" else {})
    content = bundle.path(role).read_bytes()
    for trace in (b"stack_trace", b".py", str(Path.cwd()).encode()):
        assert trace not in content


def test_the_same_weights_make_the_same_digest(bundle: Bundle, tmp_path: Path) -> None:
    assert reexport_bundle(bundle.folder, tmp_path / "again").digest == bundle.digest


def test_half_precision_halves_the_file_and_keeps_the_image_and_the_callers_network(
    bundle: Bundle, tmp_path: Path
) -> None:
    told: dict[str, Parity] = {}
    network = tiny_network()
    facts = FACTS | {"precision": "fp16"}
    half = export_network(network, tmp_path / "half", facts, report=told.__setitem__)
    assert half.weights_path.stat().st_size < 0.6 * bundle.weights_path.stat().st_size
    assert sorted(told) == [
        "ONNX Runtime against torch",
        "float16 graphs against torch",
        "fp16 storage",
        "torch rebuilt from the bundle",
    ]
    parity = measure(open_engine(bundle, Device.CPU), open_engine(half, Device.CPU))
    # 2**-11 relative per weight; 50 dB is the bound that the export itself holds, 150 dB would be no rounding at all.
    assert 50 < parity.decoded_psnr_db < 150
    assert torch.equal(network.denoiser.out.weight, tiny_network().denoiser.out.weight)


def test_a_graph_that_computes_something_else_never_becomes_a_bundle(
    tmp_path: Path, graphs_once: dict[Role, onnx.ModelProto]
) -> None:
    for tensor in graphs_once["denoiser"].graph.initializer:
        if len(tensor.dims) == 4:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 1.1, tensor.name))
    with pytest.raises(ModelError, match="ONNX Runtime against torch differs too much"):
        export_network(tiny_network(), tmp_path / "bundle", FACTS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "parity",
    [
        Parity({"encoder": 0.1, "denoiser": 0.0, "decoder": 0.0}, 200.0),
        Parity({"encoder": 0.0, "denoiser": 0.0, "decoder": 0.0}, 10.0),
        Parity({"encoder": float("nan"), "denoiser": 0.0, "decoder": 0.0}, 200.0),
        Parity({"encoder": 0.0, "denoiser": 0.0, "decoder": 0.0}, float("nan")),
    ],
)
def test_parity_beyond_either_bound_or_no_number_at_all_fails(parity: Parity) -> None:
    with pytest.raises(ModelError, match="differs too much"):
        require(parity, Bounds(max_abs_error=0.01, decoded_psnr_db=80), "it")


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    network = tiny_network()
    with torch.no_grad():
        network.denoiser.out.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(ModelError, match=r"out\.weight"):
        export_network(network, tmp_path / "bundle", FACTS)


def test_weights_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    network = tiny_network()
    with torch.no_grad():
        network.denoiser.out.weight[0, 0, 0, 0] = 1e6
    with pytest.raises(ModelError, match="fp16 cannot"):
        export_network(network, tmp_path / "bundle", FACTS | {"precision": "fp16"})


@pytest.mark.parametrize("facts", [{"colour": "blue"}, {"steps": 0}, {"name": ""}, {"precision": "fp8"}])
def test_facts_that_make_no_bundle_are_refused_before_the_work(tmp_path: Path, facts: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(facts))):
        export_network(tiny_network(), tmp_path / "bundle", FACTS | facts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("graphs_once")
def test_a_run_becomes_a_bundle_with_what_it_was_trained_with(tmp_path: Path) -> None:
    exported = export_bundle(save_run(tmp_path / "run"), tmp_path / "bundle", version="1")
    assert (exported.spec.name, exported.spec.version, exported.spec.steps) == ("run", "1", 3)
    assert (exported.spec.offset_noise, exported.spec.clipping.kind) == (0.2, "none")
    assert exported.spec.training["diffusion"]["step"] == 7


def test_a_run_without_its_second_stage_says_what_is_missing(tmp_path: Path) -> None:
    shutil.rmtree(save_run(tmp_path / "run") / "diffusion")
    with pytest.raises(ConfigError, match="diffusion/best"):
        export_bundle(tmp_path / "run", tmp_path / "bundle")


def test_stages_laid_in_each_others_folder_are_refused(tmp_path: Path) -> None:
    run = save_run(tmp_path / "run")
    shutil.copytree(run / "autoencoder", run / "diffusion", dirs_exist_ok=True)
    with pytest.raises(ConfigError, match="another stage"):
        export_bundle(run, tmp_path / "bundle")


def test_a_denoiser_of_another_autoencoder_is_refused(tmp_path: Path) -> None:
    run = save_run(tmp_path / "run")
    weights = run / "autoencoder" / "best" / "weights.safetensors"
    tensors = load_file(weights)
    tensors["encoder.1.weight"][0] += 0.01
    save_file(tensors, weights)
    with pytest.raises(ConfigError, match="another autoencoder"):
        export_bundle(run, tmp_path / "bundle")


@pytest.mark.usefixtures("graphs_once")
def test_the_last_autoencoder_is_taken_where_the_denoiser_was_trained_on_that(tmp_path: Path) -> None:
    run = save_run(tmp_path / "run")
    shutil.copytree(run / "autoencoder" / "best", run / "autoencoder" / "last")
    better = run / "autoencoder" / "best" / "weights.safetensors"
    save_file({name: tensor * 1.5 for name, tensor in load_file(better).items()}, better)
    exported = export_bundle(run, tmp_path / "bundle")
    weights = load_file(exported.weights_path)["autoencoder.encoder.1.weight"]
    assert torch.equal(weights, tiny_network().autoencoder.state_dict()["encoder.1.weight"])


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    run = save_run(tmp_path / "run")
    meta = run / "diffusion" / "best" / "meta.json"
    content = json.loads(meta.read_text())
    content["config"]["base"] = 32
    meta.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="does not hold the network"):
        export_bundle(run, tmp_path / "bundle")


@pytest.mark.parametrize("content", ["", "[]", '{"stage": "diffusion"}', '{"stage": "diffusion", "config": 3}'])
def test_a_damaged_description_of_a_checkpoint_is_refused(tmp_path: Path, content: str) -> None:
    run = save_run(tmp_path / "run")
    (run / "diffusion" / "best" / "meta.json").write_text(content)
    with pytest.raises(ConfigError, match="not the description"):
        export_bundle(run, tmp_path / "bundle")
