"""Execution providers of ONNX Runtime: which one a device means, what it is given, and what stands in its way."""

import ctypes
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import onnxruntime as ort

from pacs_node.config import Device, ModelSettings
from pacs_node.errors import ModelError

__all__ = ["CPU", "CUDA", "OPENVINO", "TENSORRT", "Setup", "choose_device"]

log = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"

# In the order in which they take nodes: what one cannot run falls to the next.
PROVIDERS: dict[Device, tuple[str, ...]] = {
    Device.CPU: (CPU,),
    Device.CUDA: (CUDA, CPU),
    Device.TENSORRT: (TENSORRT, CUDA, CPU),
    Device.OPENVINO: (OPENVINO, CPU),
}
OPTIONS: dict[str, dict[str, str]] = {
    # The algorithm by rule and not by timing, and no TF32: equal input has to give equal output. Memory grows by what
    # is asked for; doubling would hold up to twice as much for good.
    CUDA: {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"},
}
REMEDIES = {
    Device.TENSORRT: "pip install pacs-node[gpu] tensorrt",
    Device.OPENVINO: "pip install onnxruntime-openvino in place of onnxruntime",
}


@dataclass(frozen=True, slots=True)
class Setup:
    """How every session of an engine is opened.

    Attributes
    ----------
    device : decided, never `auto`.
    threads : CPU threads for one operator; 0 lets the runtime take every core.
    options : for the execution provider of the device, by its own names; they win over our defaults.
    half : float16 graphs where the bundle has them.
    """

    device: Device
    threads: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    half: bool = False

    @classmethod
    def of(cls, device: Device, settings: ModelSettings, *, half: bool) -> "Setup":
        """What the settings ask of a device."""
        given: Mapping[str, object] = getattr(settings.provider_options, device.value, {})
        return cls(device, settings.threads, {name: _as_text(value) for name, value in given.items()}, half)

    @property
    def memory(self) -> str:
        """Where tensors lie, in the words of `onnxruntime.OrtValue`: `cpu` or `cuda`."""
        return "cuda" if CUDA in PROVIDERS[self.device] else "cpu"

    @property
    def memory_id(self) -> int:
        """Which of several GPUs."""
        return int(self.options.get("device_id", "0"))

    def providers(self, **further: str) -> list[Any]:
        """For `onnxruntime.InferenceSession`; ``further`` options of ours, which those of the settings overrule."""
        first, *others = PROVIDERS[self.device]
        chosen = (first, OPTIONS.get(first, {}) | further | dict(self.options))
        same_gpu = {"device_id": str(self.memory_id)}
        return [chosen, *((name, OPTIONS[name] | same_gpu) if name in OPTIONS else name for name in others)]

    def require_provider(self, session: ort.InferenceSession) -> None:
        """See that a session runs where it was asked to; ONNX Runtime falls back to the CPU in silence.

        Raises
        ------
        ModelError
            It does not.
        """
        if PROVIDERS[self.device][0] in session.get_providers():
            return
        if self.device is Device.CUDA:
            remedy = "pip install 'onnxruntime-gpu[cuda,cudnn]' brings its libraries"
        else:
            remedy = REMEDIES.get(self.device, "reinstall it")
        name = {Device.CUDA: "CUDA", Device.TENSORRT: "TensorRT", Device.OPENVINO: "OpenVINO"}.get(
            self.device, "the CPU"
        )
        raise ModelError(f'ONNX Runtime could not start {name}: {remedy}; or set model.device = "cpu"')


def _as_text(value: object) -> str:
    """A provider's option is a text, and a switch is 1 or 0 (onnxruntime, provider_options_utils.h)."""
    return str(int(value)) if isinstance(value, bool) else str(value)


def choose_device(asked: Device) -> Device:
    """The device that is really there; `auto` takes CUDA or the CPU.

    Raises
    ------
    ModelError
        One was asked for by name and it is not there; the message says what to change.
    """
    if asked is Device.CPU:
        return Device.CPU
    if asked in REMEDIES:
        if PROVIDERS[asked][0] not in ort.get_available_providers():
            told = f'model.device is "{asked}" but this ONNX Runtime has no {PROVIDERS[asked][0]}: {REMEDIES[asked]}'
            raise ModelError(f'{told}; or set model.device = "auto" or "cpu"')
        if asked is Device.OPENVINO:
            return asked
    obstacle = _cuda_obstacle()
    if obstacle is None:
        return Device.CUDA if asked is Device.AUTO else asked
    if asked is not Device.AUTO:
        raise ModelError(f'model.device is "{asked}" but {obstacle}; or set model.device = "auto" or "cpu"')
    log.info("running on the CPU: %s", obstacle)
    return Device.CPU


def _cuda_obstacle() -> str | None:
    """Why CUDA cannot run here, or None.

    Asked before a session is opened: ONNX Runtime's own answer to a missing GPU is to use the CPU in silence.
    """
    if CUDA not in ort.get_available_providers():
        return "this ONNX Runtime has no CUDA: install pacs-node[gpu] in place of pacs-node[cpu]"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver was found: install it"
    count = ctypes.c_int(0)
    # 0 is CUDA_SUCCESS in both calls of the driver API.
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value < 1:
        return "the NVIDIA driver sees no GPU: check nvidia-smi"
    return None
