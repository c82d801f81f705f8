"""The engine of the service: the ONNX graphs of a bundle on ONNX Runtime, on CPU or CUDA, without torch.

Deterministic: equal inputs give equal bytes, run after run and process after process, on one machine with one version
of the runtime. On CUDA that is why the convolution algorithm is chosen by rule (not by timing) and TF32 is off.
Another machine, device or version may differ in the last bits of float32.
"""

import ctypes
import logging
from types import TracebackType
from typing import Any, Self

import numpy as np
import onnxruntime as ort

from model.bundle import Bundle, ModelSpec, Role
from pacs_node.config import Device
from pacs_node.engine.checks import check_image, check_latents, check_step
from pacs_node.errors import ModelError, Retriable
from pacs_node.records import FloatImage

__all__ = ["OrtEngine"]

log = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
# ONNX Runtime has no exception type of its own for memory; these are the words of its allocators.
OUT_OF_MEMORY = (
    "failed to allocate memory",
    "bad_alloc",
    "out of memory",
    "cudnn_status_alloc_failed",
    "bad allocation",
)
ORT_FATAL = 4  # severity from which the C++ side may write to stderr by itself


class OrtEngine:
    """Engine (see `pacs_node.engine.Engine`) on ONNX Runtime; safe to call from several threads.

    Parameters
    ----------
    bundle : an open bundle.
    device : `auto` takes CUDA where it really works, else the CPU with one log line.
    threads : CPU threads for one operator; 0 lets the runtime take every core.

    Raises
    ------
    ModelError
        A graph cannot be loaded or run, or CUDA was asked for and is not there.
    """

    def __init__(self, bundle: Bundle, device: Device = Device.AUTO, threads: int = 0) -> None:
        self._spec = bundle.spec
        self._device = choose_device(device)
        self._sessions: dict[Role, ort.InferenceSession] = {}
        try:
            self._open(bundle, threads)
        except ModelError:
            if device is not Device.AUTO or self._device is Device.CPU:
                raise
            log.warning("CUDA is here but ONNX Runtime cannot use it: running on the CPU")
            self._device = Device.CPU
            self._open(bundle, threads)

    def _open(self, bundle: Bundle, threads: int) -> None:
        self._sessions = {role: _session(bundle, role, self._device, threads) for role in bundle.roles}
        self.warm_up()

    @property
    def spec(self) -> ModelSpec:
        """Sizes, schedule and digest of the open bundle."""
        return self._spec

    @property
    def device(self) -> str:
        """`cpu` or `cuda`: what really runs."""
        return self._device.value

    def encode(self, image: FloatImage) -> FloatImage:
        """Image (B, 1, H, W) -> standardised latents (B, C, H / r, W / r)."""
        return self._run("encoder", image=check_image(self._spec, image))

    def predict(self, x_t: FloatImage, t: FloatImage, condition: FloatImage) -> FloatImage:
        """One evaluation of the denoiser at the times t (B,) in [0, 1]."""
        check_step(self._spec, x_t, t, condition)
        return self._run("denoiser", x_t=x_t, t=t, condition=condition)

    def decode(self, latents: FloatImage) -> FloatImage:
        """Latents (B, C, h, w) -> image (B, 1, h r, w r)."""
        return self._run("decoder", latents=check_latents(self._spec, latents))

    def refine(self, image: FloatImage, layer: FloatImage) -> FloatImage:
        """Bone layer (B, 1, H, W) with the edges of the image; as it came where there is no refiner."""
        if "refiner" not in self._sessions:
            return layer
        return self._run("refiner", image=check_image(self._spec, image), layer=check_image(self._spec, layer))

    def warm_up(self) -> None:
        """Run every graph once, so that memory, kernels and damage show at start and not with the first patient.

        On CUDA at full size, where the first run plans; on the CPU at the smallest grid, since planning there is free.
        """
        side = self._spec.grid if self._device is Device.CUDA else min(self._spec.grid, 128)
        image = np.zeros((1, 1, side, side), np.float32)
        latents = self.encode(image)
        self.refine(image, self.decode(self.predict(latents, np.ones(1, np.float32), latents)))

    def _run(self, role: Role, **inputs: FloatImage) -> FloatImage:
        try:
            (output,) = self._sessions[role].run(None, inputs)
        except Exception as error:  # the runtime's exceptions share no base of their own
            raise _translated(error, f"running the {role}") from error
        if not isinstance(output, np.ndarray):
            raise ModelError(f"the {role} graph returned no array: export the bundle again")
        return output.astype(np.float32, copy=False)

    def close(self) -> None:
        """Give memory back; the engine cannot be used afterwards."""
        self._sessions.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def choose_device(asked: Device) -> Device:
    """CUDA or CPU, by what is really there.

    Raises
    ------
    ModelError
        CUDA was asked for by name and there is none; the message says what to change.
    """
    if asked is Device.CPU:
        return Device.CPU
    obstacle = _cuda_obstacle()
    if obstacle is None:
        return Device.CUDA
    if asked is Device.CUDA:
        raise ModelError(f'model.device is "cuda" but {obstacle}; or set model.device = "auto" or "cpu"')
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


def _session(bundle: Bundle, role: Role, device: Device, threads: int) -> ort.InferenceSession:
    providers: list[Any] = [(CUDA, CUDA_OPTIONS), CPU] if device is Device.CUDA else [CPU]
    try:
        if device is Device.CUDA:
            ort.preload_dlls()  # CUDA and cuDNN from the wheels of the `gpu` extra, where they are installed
        session = ort.InferenceSession(bundle.path(role), _options(threads), providers=providers)
    except Exception as error:
        raise _translated(error, f"opening {bundle.path(role)}") from error
    if device is Device.CUDA and CUDA not in session.get_providers():
        raise ModelError(
            "ONNX Runtime could not start CUDA: pip install 'onnxruntime-gpu[cuda,cudnn]' brings its libraries; "
            'or set model.device = "cpu"'
        )
    return session


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.use_deterministic_compute = True
    options.log_severity_level = ORT_FATAL  # what matters comes back as an exception
    # Idle threads sleep in place of spinning: reception runs on the same cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _translated(error: Exception, doing: str) -> ModelError | Retriable:
    """The decision that this failure of the runtime stands for; its text stays in the chain."""
    words = str(error).lower()
    if isinstance(error, MemoryError) or any(phrase in words for phrase in OUT_OF_MEMORY):
        return Retriable(f"out of memory while {doing}")
    return ModelError(
        f"ONNX Runtime failed while {doing} ({type(error).__name__}): export the bundle again or reinstall it"
    )
