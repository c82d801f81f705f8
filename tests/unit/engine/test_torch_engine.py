"""Torch, rebuilt from safetensors, computes what ONNX Runtime computes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from export.parity import measure, require, runtime_bounds
from model.bundle import Bundle, NetworkSpec
from pacs_node.config import Device
from pacs_node.engine.load import open_engine
from pacs_node.engine.torch_engine import TorchEngine
from pacs_node.errors import ModelError


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
