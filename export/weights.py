"""Weights once: a safetensors file for torch, into which the ONNX graphs point.

A safetensors file is 8 bytes (length of the header), a JSON header and the flat tensors; an ONNX initializer may lie
in any file at an offset and a length. So both formats can name the same bytes.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from safetensors.torch import save_file
from torch import Tensor, nn

from pacs_node.errors import ModelError

__all__ = ["Precision", "SharedTensor", "index_weights", "round_weights", "share_weights", "write_weights"]

Precision = Literal["fp32", "fp16"]

# Smaller tensors stay inside the graph: ONNX Runtime wants shapes and scalars at hand when it plans.
SHARED_FROM_BYTES = 1024
ONNX_TYPES = {"F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16}
NUMPY_TYPES: dict[str, type[np.floating]] = {"F32": np.float32, "F16": np.float16}


@dataclass(frozen=True, slots=True)
class SharedTensor:
    """Where the bytes of one tensor lie in the safetensors file."""

    name: str
    onnx_type: int
    offset: int
    length: int


def round_weights(module: nn.Module, precision: Precision) -> None:
    """Give the module, in place and still float32, the values it will have after being stored in ``precision``.

    Raises
    ------
    ModelError
        A weight is not finite, or is outside the range of half precision.
    """
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            continue
        stored = tensor.half().float() if precision == "fp16" else tensor
        if not torch.isfinite(stored).all():
            raise ModelError(f"{name} holds a value that {precision} cannot")
        tensor.copy_(stored)


def write_weights(path: Path, modules: dict[str, nn.Module], precision: Precision) -> None:
    """Write the state of the modules, each under its name, as `autoencoder.encoder.1.weight`."""
    tensors: dict[str, Tensor] = {}
    for prefix, module in modules.items():
        for name, tensor in module.state_dict().items():
            stored = tensor.half() if precision == "fp16" and tensor.is_floating_point() else tensor
            tensors[f"{prefix}.{name}"] = stored.detach().clone().contiguous()
    save_file(tensors, path)


def index_weights(path: Path) -> dict[str, SharedTensor]:
    """Fingerprint of each floating-point tensor's float32 value -> where its bytes lie."""
    raw = path.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:start])
    found: dict[str, SharedTensor] = {}
    for name, entry in sorted(header.items()):
        if name == "__metadata__" or entry["dtype"] not in ONNX_TYPES:
            continue
        first, last = (start + position for position in entry["data_offsets"])
        values = np.frombuffer(raw[first:last], NUMPY_TYPES[entry["dtype"]]).reshape(entry["shape"])
        found[_fingerprint(values)] = SharedTensor(name, ONNX_TYPES[entry["dtype"]], first, last - first)
    return found


def share_weights(proto: onnx.ModelProto, index: dict[str, SharedTensor], location: str) -> int:
    """Let the floating-point initializers of ``proto`` that equal a stored tensor point into the file ``location``.

    A tensor stored in another precision than the graph asks for is followed by a Cast, which the runtime folds when it
    loads. What the exporter made up or changed has no equal and stays inside the graph.

    Returns
    -------
    Bytes of floating-point initializers that stayed inside.
    """
    graph, inside, casts = proto.graph, 0, []
    for initializer in graph.initializer:
        if initializer.data_type not in ONNX_TYPES.values():
            continue
        values, asked = numpy_helper.to_array(initializer), initializer.data_type
        large = values.nbytes >= SHARED_FROM_BYTES
        shared = index.get(_fingerprint(values)) if large else None
        if shared is not None:
            _point(initializer, shared, location)
        else:
            inside += values.nbytes
            if large:
                _shrink(initializer, values)
        if initializer.data_type != asked:
            casts.append(_cast(initializer, asked))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return inside


def _shrink(initializer: TensorProto, values: NDArray[np.floating]) -> None:
    """Store a constant in half precision where that loses nothing, as of kernels that only move numbers."""
    half = values.astype(np.float16)
    if np.array_equal(half, values):
        initializer.CopyFrom(numpy_helper.from_array(half, initializer.name))


def _cast(initializer: TensorProto, asked: int) -> onnx.NodeProto:
    """Rename the initializer and return the node that gives its values under the old name in the type asked for."""
    name = initializer.name
    initializer.name = f"{name}.stored"
    return onnx.helper.make_node("Cast", [initializer.name], [name], name=f"{name}.cast", to=asked)


def _point(initializer: TensorProto, shared: SharedTensor, location: str) -> None:
    for field in ("raw_data", "float_data"):
        initializer.ClearField(field)
    initializer.data_type = shared.onnx_type
    initializer.data_location = TensorProto.EXTERNAL
    del initializer.external_data[:]
    for key, value in (("location", location), ("offset", shared.offset), ("length", shared.length)):
        initializer.external_data.add(key=key, value=str(value))


def _fingerprint(values: NDArray[np.floating]) -> str:
    """Equal for equal shape and equal float32 values, whatever they are stored in."""
    plain = np.ascontiguousarray(values, np.float32)
    return hashlib.sha256(repr(plain.shape).encode() + plain.tobytes()).hexdigest()
