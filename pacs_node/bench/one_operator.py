"""An ONNX model of one operator, written by hand: the service is installed without the package `onnx`.

Numbers of fields are those of onnx.proto3; the encoding is that of Protocol Buffers.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["conv_model", "product_model"]

IR_VERSION, OPSET = 8, 17
FLOAT = 1  # TensorProto.DataType
INTS = 7  # AttributeProto.AttributeType

Floats = NDArray[np.float32]


def product_model(right: Floats, rows: int) -> bytes:
    """`x` (rows, K) -> `y` (rows, N), by ``right`` (K, N), which is a constant of the model."""
    return _model("MatMul", right, (rows, right.shape[0]), b"")


def conv_model(kernel: Floats, rows: int, columns: int) -> bytes:
    """`x` (1, C, rows, columns) -> `y` (1, M, rows, columns), by ``kernel`` (M, C, 3, 3), with a border of zeros."""
    pads = _text(1, "pads") + b"".join(_number(8, 1) for _ in range(4)) + _number(20, INTS)
    return _model("Conv", kernel, (1, kernel.shape[1], rows, columns), _bytes(5, pads))


def _model(operator: str, constant: Floats, shape: Sequence[int], attributes: bytes) -> bytes:
    node = _text(1, "x") + _text(1, "w") + _text(2, "y") + _text(4, operator) + attributes
    graph = _bytes(1, node) + _text(2, operator) + _bytes(5, _tensor(constant))
    graph += _bytes(11, _value("x", shape)) + _bytes(12, _value("y", None))
    return _number(1, IR_VERSION) + _bytes(7, graph) + _bytes(8, _number(2, OPSET))


def _tensor(array: Floats) -> bytes:
    dims = b"".join(_number(1, side) for side in array.shape)
    return dims + _number(2, FLOAT) + _text(8, "w") + _bytes(9, np.ascontiguousarray(array, dtype="<f4").tobytes())


def _value(name: str, shape: Sequence[int] | None) -> bytes:
    """Name and type of an input or output; a shape that is not given is left to the runtime."""
    tensor = _number(1, FLOAT)
    if shape is not None:
        tensor += _bytes(2, b"".join(_bytes(1, _number(1, side)) for side in shape))
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())
