"""Latents that stay where the network runs, with the operators that `model.sampler` asks for.

ONNX Runtime has tensors on a GPU but no arithmetic on them outside of a graph. So there is one graph,
``clip((a * x + b * y) / c, low, high)``, and every operator is a run of it. On the CPU it gives the bytes that NumPy
gives: each of its nodes rounds to float32, as an operator of NumPy does.
"""

from collections.abc import Sequence
from math import inf
from typing import Any, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pacs_node.engine.graph import Graph
from pacs_node.engine.providers import Setup
from pacs_node.records import FloatImage

__all__ = ["Arithmetic", "DeviceArray"]

# numbers of fields, onnx.proto3
MODEL_IR_VERSION, MODEL_GRAPH, MODEL_OPSET, OPSET_VERSION = 1, 7, 8, 2
GRAPH_NODE, GRAPH_NAME, GRAPH_INPUT, GRAPH_OUTPUT = 1, 2, 11, 12
NODE_INPUT, NODE_OUTPUT, NODE_OP_TYPE = 1, 2, 4
VALUE_NAME, VALUE_TYPE, TYPE_TENSOR, TENSOR_ELEMENT, ELEMENT_FLOAT, TENSOR_SHAPE, SHAPE_SIDE = 1, 2, 1, 1, 1, 2, 1
IR_VERSION, OPSET = 10, 20

NODES = (
    ("Mul", ("a", "x"), "ax"),
    ("Mul", ("b", "y"), "by"),
    ("Add", ("ax", "by"), "sum"),
    ("Div", ("sum", "c"), "ratio"),
    ("Clip", ("ratio", "low", "high"), "out"),
)
TENSORS, SCALARS = ("x", "y"), ("a", "b", "c", "low", "high")


class DeviceArray:
    """A float32 tensor in the memory of a device; not changed by any operator."""

    __array_ufunc__ = None  # a NumPy number on the left leaves the operator to us
    __slots__ = ("_arithmetic", "value")

    def __init__(self, value: ort.OrtValue, arithmetic: "Arithmetic") -> None:
        self.value = value
        self._arithmetic = arithmetic

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor."""
        return tuple(self.value.shape())

    def numpy(self) -> FloatImage:
        """A copy in the memory of the CPU."""
        return np.array(self.value.numpy(), dtype=np.float32)

    def new_tensor(self, array: NDArray[np.float32]) -> Self:
        """``array`` on the device of this one; see `model.sampler.Noise.like`."""
        return type(self)(self._arithmetic.upload(array), self._arithmetic)

    def clip(self, low: float, high: float) -> Self:
        return self._with(self, low=low, high=high)

    def __mul__(self, factor: float) -> Self:
        return self._with(self, a=factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Self:
        return self._with(self, c=divisor)

    def __add__(self, other: Self) -> Self:
        return self._with(other, b=1.0)

    def __sub__(self, other: Self) -> Self:
        return self._with(other, b=-1.0)

    def _with(self, other: Self, **scalars: float) -> Self:
        return type(self)(self._arithmetic.combine(self.value, other.value, **scalars), self._arithmetic)


class Arithmetic:
    """Runs ``clip((a * x + b * y) / c, low, high)`` on a device.

    Raises
    ------
    ModelError, Retriable
        As from `Graph`.
    """

    def __init__(self, setup: Setup) -> None:
        self._graph = Graph(_model(), setup)

    def array(self, array: NDArray[np.float32]) -> DeviceArray:
        """A copy of ``array`` on the device."""
        return DeviceArray(self.upload(array), self)

    def upload(self, array: NDArray[np.float32]) -> ort.OrtValue:
        setup = self._graph.setup
        return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), setup.memory, setup.memory_id)

    def combine(self, x: ort.OrtValue, y: ort.OrtValue, **scalars: float) -> ort.OrtValue:
        numbers = {"a": 1.0, "b": 0.0, "c": 1.0, "low": -inf, "high": inf} | scalars
        return self._graph.run(x=x, y=y, **{name: np.array(value, np.float32) for name, value in numbers.items()})


def _model() -> bytes:
    """The ONNX model of the formula above. Written out by hand: the service does not need the package onnx."""
    graph = b"".join(_node(*node) for node in NODES) + _field(GRAPH_NAME, b"arithmetic")
    graph += b"".join(_field(GRAPH_INPUT, _float_tensor(name, 4)) for name in TENSORS)
    graph += b"".join(_field(GRAPH_INPUT, _float_tensor(name, 0)) for name in SCALARS)
    graph += _field(GRAPH_OUTPUT, _float_tensor("out", 4))
    return (
        _field(MODEL_IR_VERSION, IR_VERSION)
        + _field(MODEL_GRAPH, graph)
        + _field(MODEL_OPSET, _field(OPSET_VERSION, OPSET))
    )


def _node(operator: str, inputs: Sequence[str], output: str) -> bytes:
    content = b"".join(_field(NODE_INPUT, name.encode()) for name in inputs)
    content += _field(NODE_OUTPUT, output.encode()) + _field(NODE_OP_TYPE, operator.encode())
    return _field(GRAPH_NODE, content)


def _float_tensor(name: str, rank: int) -> bytes:
    """A value of as many sides, each of any length."""
    tensor = _field(TENSOR_ELEMENT, ELEMENT_FLOAT) + _field(TENSOR_SHAPE, _field(SHAPE_SIDE, b"") * rank)
    return _field(VALUE_NAME, name.encode()) + _field(VALUE_TYPE, _field(TYPE_TENSOR, tensor))


def _field(number: int, content: Any) -> bytes:
    """A field of a protocol buffer: wire type 0 for a number, 2 for bytes."""
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + bytes(content)


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
