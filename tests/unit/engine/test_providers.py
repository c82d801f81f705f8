"""Which execution provider runs: nothing falls back in silence, and the next step is always said."""

import ctypes
import logging

import numpy as np
import onnxruntime as ort
import pytest

from model.bundle import Bundle
from pacs_node.config import Device, ModelSettings, ProviderOptions
from pacs_node.engine import providers
from pacs_node.engine.load import open_engine
from pacs_node.engine.ort_engine import OrtEngine
from pacs_node.engine.providers import CPU, CUDA, OPENVINO, TENSORRT, Setup, choose_device
from pacs_node.errors import ModelError
from tests.bundles import TINY_GRID


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
    monkeypatch.setattr(providers, "_cuda_obstacle", lambda: None)
    monkeypatch.setattr(ort, "preload_dlls", lambda: None)
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(ModelError, match="could not start CUDA"),
    ):
        OrtEngine(bundle, Device.CUDA)


def test_auto_survives_a_broken_cuda_and_says_so(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(providers, "_cuda_obstacle", lambda: None)
    monkeypatch.setattr(ort, "preload_dlls", lambda: None)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        engine = OrtEngine(bundle, Device.AUTO)
    assert engine.device == "cpu"
    assert "running on the CPU" in caplog.text
    assert engine.encode(np.zeros((1, 1, TINY_GRID, TINY_GRID), np.float32)).any()


def test_a_cuda_runtime_without_a_driver_is_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_driver(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(ctypes, "CDLL", no_driver)
    assert choose_device(Device.AUTO) is Device.CPU
    with pytest.raises(ModelError, match="no NVIDIA driver"):
        choose_device(Device.CUDA)


@pytest.mark.parametrize(("device", "provider"), [(Device.TENSORRT, TENSORRT), (Device.OPENVINO, OPENVINO)])
def test_an_optional_provider_that_is_not_installed_says_what_to_install(
    bundle: Bundle, device: Device, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])
    remedy = providers.REMEDIES[device]
    with pytest.raises(ModelError, match=rf"no {provider}.*pip install") as refusal:
        open_engine(bundle, device)
    assert remedy in str(refusal.value)


def test_tensorrt_without_a_gpu_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [TENSORRT, CPU])
    with pytest.raises(ModelError, match=r'"tensorrt" but this ONNX Runtime has no CUDA'):
        choose_device(Device.TENSORRT)


def test_openvino_needs_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [OPENVINO, CPU])
    monkeypatch.setattr(providers, "_cuda_obstacle", lambda: "no driver")
    assert choose_device(Device.OPENVINO) is Device.OPENVINO


def test_an_openvino_that_does_not_start_is_found_out(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "choose_device", lambda asked: asked)
    monkeypatch.setattr("pacs_node.engine.ort_engine.choose_device", lambda asked: asked)
    with (
        pytest.warns(UserWarning, match="OpenVINOExecutionProvider"),
        pytest.raises(ModelError, match=r"could not start OpenVINO: pip install onnxruntime-openvino"),
    ):
        OrtEngine(bundle, Device.OPENVINO)


def test_settings_reach_their_provider_as_texts_and_win_over_ours() -> None:
    given = ProviderOptions(cuda={"device_id": 1, "use_tf32": True, "gpu_mem_limit": 2**32}, openvino={"x": "y"})
    setup = Setup.of(Device.CUDA, ModelSettings(provider_options=given), half=False)
    (name, options), *others = setup.providers(enable_cuda_graph="1")
    assert name == CUDA
    assert options.items() >= {"device_id": "1", "use_tf32": "1", "gpu_mem_limit": str(2**32)}.items()
    assert options["enable_cuda_graph"] == "1"
    assert others == [CPU]
    assert (setup.memory, setup.memory_id) == ("cuda", 1)


def test_the_cpu_gets_no_options_of_others() -> None:
    settings = ModelSettings(provider_options=ProviderOptions(cuda={"device_id": 1}))
    setup = Setup.of(Device.CPU, settings, half=False)
    assert setup.providers() == [(CPU, {})]
    assert (setup.memory, setup.memory_id) == ("cpu", 0)


def test_what_tensorrt_cannot_run_goes_to_the_same_gpu() -> None:
    settings = ModelSettings(provider_options=ProviderOptions(tensorrt={"device_id": 2}))
    names = Setup.of(Device.TENSORRT, settings, half=False).providers()
    assert names[0] == (TENSORRT, {"device_id": "2"})
    assert names[1][0] == CUDA
    assert names[1][1]["device_id"] == "2"
    assert names[2] == CPU
