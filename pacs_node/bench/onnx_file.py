"""What an ONNX file says of its weights, read without the package `onnx`.

Numbers of fields are those of onnx.proto3; the encoding is that of Protocol Buffers.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

__all__ = ["moving_convolutions"]

GRAPH, NODE, INITIALIZER = 7, 1, 5  # ModelProto.graph, GraphProto.node, GraphProto.initializer
INPUT, OUTPUT, NAME, OPERATOR = 1, 2, 3, 4  # NodeProto
TENSOR_NAME, DATA_LOCATION = 8, 14  # TensorProto
EXTERNAL = 1

Fields = dict[int, list[int | memoryview]]


def moving_convolutions(path: Path) -> frozenset[str]:
    """Names of the convolutions whose kernels are constants of the graph, not weights of the bundle.

    Such kernels are zeros and ones: they are how `export` writes a change of places, so what they do is no arithmetic
    of the network. Where no tensor lies outside of the file, its kernels cannot be told apart, and none is named.
    """
    graph = _message(memoryview(path.read_bytes()))[GRAPH][0]
    assert isinstance(graph, memoryview)  # noqa: S101 (the encoding says so)
    parts = _message(graph)
    outside = {}
    for tensor in map(_message, _views(parts[INITIALIZER])):
        outside[_text(tensor[TENSOR_NAME][0])] = tensor[DATA_LOCATION] == [EXTERNAL]
    if not any(outside.values()):
        return frozenset()
    nodes = [_message(node) for node in _views(parts[NODE])]
    for node in nodes:
        if _text(node[OPERATOR][0]) == "Cast" and (stored := _text(node[INPUT][0])) in outside:
            outside[_text(node[OUTPUT][0])] = outside[stored]
    return frozenset(
        _text(node[NAME][0])
        for node in nodes
        if _text(node[OPERATOR][0]) in {"Conv", "ConvTranspose"} and not outside.get(_text(node[INPUT][1]), True)
    )


def _message(data: memoryview) -> Fields:
    found: Fields = defaultdict(list)
    for field, value in _fields(data):
        found[field].append(value)
    return found


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        match key & 7:
            case 0:
                value, place = _varint(data, place)
                yield key >> 3, value
            case 2:
                size, place = _varint(data, place)
                yield key >> 3, data[place : place + size]
                place += size
            case kind:  # 1 and 5: numbers of fixed width
                place += {1: 8, 5: 4}[kind]


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _views(values: list[int | memoryview]) -> list[memoryview]:
    return [value for value in values if isinstance(value, memoryview)]


def _text(value: int | memoryview) -> str:
    return bytes(value).decode() if isinstance(value, memoryview) else ""
