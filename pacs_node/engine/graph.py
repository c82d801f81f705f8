"""One ONNX graph in a session, its inputs and outputs bound to the memory of a device.

The code is the same for every device: on the CPU a bound tensor is the array itself and nothing is copied.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from pacs_node.config import Device
from pacs_node.engine.providers import Setup
from pacs_node.errors import ModelError, Retriable
from pacs_node.records import FloatImage

__all__ = ["Graph", "Replayed", "session_options", "translated"]

log = logging.getLogger(__name__)

# ONNX Runtime has no exception type of its own for memory; these are the words of its allocators.
OUT_OF_MEMORY = (
    "failed to allocate memory",
    "bad_alloc",
    "out of memory",
    "cudnn_status_alloc_failed",
    "bad allocation",
)
MOST_PLACES = 8  # numbers of images at once whose kernels stay captured
ORT_FATAL = 4  # severity from which the C++ side may write to stderr by itself


class Graph:
    """A graph with one output; one thread at a time.

    Parameters
    ----------
    model : file, or the bytes of the ONNX model.
    setup : see `Setup`.
    further : options for the execution provider.

    Attributes
    ----------
    inputs : names.
    output : name.

    Raises
    ------
    ModelError
        The graph cannot be loaded, or the execution provider does not run.
    Retriable
        There is not enough memory.
    """

    def __init__(self, model: Path | bytes, setup: Setup, **further: str) -> None:
        self.name = model.name if isinstance(model, Path) else "the arithmetic of the sampler"
        self.setup = setup
        self._session = _session(model, setup, further)
        self.inputs = tuple(each.name for each in self._session.get_inputs())
        self.output = self._session.get_outputs()[0].name

    def run(self, **inputs: FloatImage | ort.OrtValue) -> ort.OrtValue:
        """The output, in the memory of the device.

        Parameters
        ----------
        inputs : arrays, or outputs of other graphs of this setup; one that the graph does not use is left out.

        Raises
        ------
        ModelError, Retriable
            See `translated`.
        """
        binding = self.new_binding()
        for name in self.inputs:
            value = inputs[name]
            if isinstance(value, np.ndarray):
                binding.bind_cpu_input(name, np.ascontiguousarray(value))
            else:
                binding.bind_ortvalue_input(name, value)
        binding.bind_output(self.output, self.setup.memory, self.setup.memory_id)
        self.launch(binding)
        output: ort.OrtValue = binding.get_outputs()[0]
        return output

    def array(self, **inputs: FloatImage | ort.OrtValue) -> FloatImage:
        """The output as an array."""
        return np.asarray(self.run(**inputs).numpy(), dtype=np.float32)

    def new_binding(self) -> ort.IOBinding:
        return self._session.io_binding()

    def launch(self, binding: ort.IOBinding, options: ort.RunOptions | None = None) -> None:
        """Run on what is bound; raises as `run`."""
        try:
            self._session.run_with_iobinding(binding, options)
        except Exception as error:  # the runtime's exceptions share no base of their own
            raise translated(error, f"running {self.name}") from error


@dataclass(frozen=True, slots=True)
class _Place:
    """Tensors with fixed addresses for one set of shapes."""

    inputs: Mapping[str, ort.OrtValue]
    output: ort.OrtValue
    binding: ort.IOBinding
    options: ort.RunOptions


class Replayed:
    """A graph whose output has the shape of its input `image`, run in tensors with fixed addresses.

    On CUDA its kernels are captured once for each set of shapes and then replayed as a whole (CUDA graphs). Where that
    cannot be done, a log line says so and they are launched one by one.

    Raises
    ------
    ModelError, Retriable
        As from `Graph`.
    """

    def __init__(self, model: Path, setup: Setup) -> None:
        self._model, self._setup = model, setup
        self._places: dict[tuple[tuple[int, ...], ...], _Place] = {}
        self._captures = setup.device is Device.CUDA and setup.options.get("enable_cuda_graph", "1") != "0"
        try:
            self._graph = Graph(model, setup, **({"enable_cuda_graph": "1"} if self._captures else {}))
        except ModelError:  # such as for a node that only the CPU can run
            if not self._captures:
                raise
            self._launch_one_by_one()

    def array(self, **inputs: FloatImage) -> FloatImage:
        """The output, in an array of its own."""
        try:
            return self._array(inputs)
        except ModelError:  # capturing happens in the first run, so that is where it fails
            if not self._captures:
                raise
            self._launch_one_by_one()
            return self._array(inputs)

    def _array(self, inputs: Mapping[str, FloatImage]) -> FloatImage:
        place = self._place({name: inputs[name] for name in self._graph.inputs}, inputs["image"].shape)
        for name, value in place.inputs.items():
            value.update_inplace(np.ascontiguousarray(inputs[name]))
        self._graph.launch(place.binding, place.options)
        return np.array(place.output.numpy(), dtype=np.float32)

    def _place(self, inputs: Mapping[str, FloatImage], output: tuple[int, ...]) -> _Place:
        key = tuple(value.shape for value in inputs.values())
        if key in self._places:
            return self._places[key]
        kept = len(self._places) < MOST_PLACES
        # numbers from 1 are ours, 0 is the runtime's own, -1 captures nothing (onnxruntime_run_options_config_keys.h)
        place = self._new_place(inputs, output, len(self._places) + 1 if kept else -1)
        if kept:
            self._places[key] = place
        return place

    def _new_place(self, inputs: Mapping[str, FloatImage], output: tuple[int, ...], number: int) -> _Place:
        try:
            tensors = {name: self._tensor(value.shape) for name, value in inputs.items()}
            place = _Place(tensors, self._tensor(output), self._graph.new_binding(), ort.RunOptions())
        except Exception as error:
            raise translated(error, f"making room for {self._graph.name}") from error
        for name, value in tensors.items():
            place.binding.bind_ortvalue_input(name, value)
        place.binding.bind_ortvalue_output(self._graph.output, place.output)
        if self._captures:
            place.options.add_run_config_entry("gpu_graph_id", str(number))
        return place

    def _tensor(self, shape: tuple[int, ...]) -> ort.OrtValue:
        return ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, self._setup.memory, self._setup.memory_id)

    def _launch_one_by_one(self) -> None:
        log.info("no CUDA graph of %s: its kernels are launched one by one", self._model.name)
        self._captures = False
        self._places.clear()
        self._graph = Graph(self._model, self._setup)


def _session(model: Path | bytes, setup: Setup, further: Mapping[str, str]) -> ort.InferenceSession:
    what = model if isinstance(model, Path) else "the arithmetic"
    try:
        if setup.memory == "cuda":
            ort.preload_dlls()  # CUDA and cuDNN from the wheels of the `gpu` extra, where they are installed
        session = ort.InferenceSession(
            model, session_options(setup), providers=setup.providers(**further), enable_fallback=0
        )
    except Exception as error:
        raise translated(error, f"opening {what}", _advice(setup)) from error
    setup.require_provider(session)
    return session


def session_options(setup: Setup) -> ort.SessionOptions:
    """Deterministic, silent, and leaving the cores to others between two runs."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = setup.threads
    options.use_deterministic_compute = True
    options.log_severity_level = ORT_FATAL  # what matters comes back as an exception
    # The arena of the CPU stays on: without it every thread that ever called keeps a heap of its own, 60 MB each.
    # Threads spin between the operators of one run, which is a twentieth of the network's time, and sleep between runs:
    # reception has the same cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _advice(setup: Setup) -> str:
    if setup.options:
        return f"check model.provider_options.{setup.device}, then export the bundle again or reinstall it"
    return "export the bundle again or reinstall it"


def translated(
    error: Exception, doing: str, advice: str = "export the bundle again or reinstall it"
) -> ModelError | Retriable:
    """The decision that a failure of the runtime stands for; its text stays in the chain."""
    words = str(error).lower()
    if isinstance(error, MemoryError) or any(phrase in words for phrase in OUT_OF_MEMORY):
        return Retriable(f"out of memory while {doing}")
    return ModelError(f"ONNX Runtime failed while {doing} ({type(error).__name__}): {advice}")
