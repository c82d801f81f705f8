"""Torch, rebuilt from safetensors, computes what ONNX Runtime computes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from export.parity import measure, require, runtime_bounds
from model.bundle import Bundle, NetworkSpec
from pacs_node.config import Device
from pacs_node.engine import TorchOptions
from pacs_node.engine.load import open_engine
from pacs_node.engine.torch_engine import TorchEngine
from pacs_node.errors import ModelError
from tests.unit.engine.conftest import images


def test_both_engines_agree_graph_by_graph_and_through_the_sampler(bundle: Bundle) -> None:
    parity = measure(open_engine(bundle, Device.CPU), open_engine(bundle, Device.CPU, runtime="torch"))
    require(parity, runtime_bounds(quantised=False), "ONNX Runtime")
    # 5e-6 is what float32 sums in another order amount to here; the bound for larger networks is far wider.
    assert max(parity.max_abs_error.values()) < 5e-5


def test_a_bundle_with_a_tensor_missing_is_a_model_error(bundle: Bundle, tmp_path: Path) -> None:
    tensors = load_file(bundle.weights_path)
    del tensors["denoiser.out.weight"]
    save_file(tensors, tmp_path / "weights.safetensors")
    with pytest.raises(ModelError, match="does not fit"):
        TorchEngine.open(bundle.model_copy(update={"folder": tmp_path}), Device.CPU)


def test_a_bundle_of_another_architecture_is_a_model_error(bundle: Bundle) -> None:
    network = NetworkSpec(autoencoder=bundle.spec.network.autoencoder, denoiser={"width": 3})
    with pytest.raises(ModelError, match="does not fit"):
        TorchEngine.open(bundle.model_copy(update={"spec": bundle.spec.model_copy(update={"network": network})}))


def test_a_pickle_under_the_name_of_the_weights_is_not_loaded(bundle: Bundle, tmp_path: Path) -> None:
    torch.save({"denoiser.out.weight": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(ModelError, match="does not fit"):
        TorchEngine.open(bundle.model_copy(update={"folder": tmp_path}), Device.CPU)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine really has CUDA")
def test_cuda_asked_for_and_absent_is_an_error(bundle: Bundle) -> None:
    with pytest.raises(ModelError, match="no GPU"):
        open_engine(bundle, Device.CUDA, runtime="torch")


def test_the_same_mistakes_are_refused_as_by_onnx(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        open_engine(bundle, Device.CPU, runtime="torch").encode(np.zeros((1, 1, 60, 60), np.float32))


def test_both_engines_find_the_same_layers_and_torch_bounds_its_batch_too(bundle: Bundle) -> None:
    layers = open_engine(bundle, Device.CPU, 1).coarse_layers(images(3), 2, [1, 2, 3])
    for max_batch in (0, 2):
        options = TorchOptions(max_batch=max_batch)
        engine = open_engine(bundle, Device.CPU, 1, "torch", torch_options=options)
        # float32 sums in another order, through two evaluations and a difference of two images in [-1, 1]
        np.testing.assert_allclose(engine.coarse_layers(images(3), 2, [1, 2, 3]), layers, atol=1e-4)


@pytest.mark.parametrize("options", [TorchOptions(channels_last=True), TorchOptions(precision="bf16")], ids=str)
def test_options_change_how_and_hardly_what_is_computed(bundle: Bundle, options: TorchOptions) -> None:
    plain = open_engine(bundle, Device.CPU, 1, "torch").coarse_layers(images(), 2, [1])
    engine = TorchEngine.open(bundle, Device.CPU, 1, options)
    layers = engine.coarse_layers(images(), 2, [1])
    assert engine.precision == options.precision
    assert layers.dtype == np.float32
    difference = np.abs(layers - plain).max()
    if options.precision == "bf16":
        assert 1e-4 < difference < 0.05, "bfloat16 has 8 bits of mantissa"
    else:
        assert difference < 1e-4, "float32 sums in another order"


def test_compiling_without_a_compiler_says_what_to_install(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(ModelError, match="apt-get install g"):
        TorchEngine.open(bundle, Device.CPU, 1, TorchOptions(compiled=True))


@pytest.mark.skipif(
    not any(shutil.which(name) for name in ("c++", "g++", "clang++")), reason="torch.compile needs a C++ compiler"
)
def test_the_compiled_network_computes_the_same(bundle: Bundle) -> None:
    latents = open_engine(bundle, Device.CPU, 1).encode(images())
    plain, compiled = (
        TorchEngine.open(bundle, Device.CPU, 1, TorchOptions(compiled=compiled)) for compiled in (False, True)
    )
    # float32 sums in another order
    np.testing.assert_allclose(compiled.decode(latents), plain.decode(latents), atol=1e-4)


@pytest.mark.parametrize("device", [Device.TENSORRT, Device.OPENVINO])
def test_torch_does_not_run_on_a_provider_of_onnx_runtime(bundle: Bundle, device: Device) -> None:
    with pytest.raises(ModelError, match="torch does not run on"):
        open_engine(bundle, device, runtime="torch")
