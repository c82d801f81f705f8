"""How many operations a graph does on inputs of one size, counted from the shapes that ran.

The runtime notes the shapes of every operator of one run, so dynamic sizes need no inference of ours; optimisation is
off for that run, for fused operators hide what they do. Multiplications and additions both count; biases,
normalisations and activations do not (as in torch's FlopCounterMode): they are under a hundredth. Neither do the
convolutions by which an exported graph moves numbers from place to place.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pacs_node.bench.onnx_file import moving_convolutions

__all__ = ["graph_flop"]

RAN = "_kernel_time"  # what the runtime adds to the name of a node when it notes one

Shape = list[int]


def graph_flop(graph: Path, inputs: Mapping[str, NDArray[Any]]) -> float:
    """Floating-point operations of one run of an ONNX file, on the CPU.

    Parameters
    ----------
    inputs : by name, of the size that is asked for.

    Returns
    -------
    float, of Conv, ConvTranspose, MatMul, Gemm and Attention.
    """
    with TemporaryDirectory(prefix="pacs-node-flop-") as folder:
        events = json.loads(_profile(graph, inputs, Path(folder)).read_text(encoding="utf-8"))
    ran = {event["name"].removesuffix(RAN): event["args"] for event in events if event.get("name", "").endswith(RAN)}
    moving = moving_convolutions(graph)
    return float(sum(_flop(args) for name, args in ran.items() if name not in moving))


def _profile(graph: Path, inputs: Mapping[str, NDArray[Any]], folder: Path) -> Path:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "run")
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    session.run(None, {name: np.ascontiguousarray(array) for name, array in inputs.items()})
    return Path(session.end_profiling())


def _flop(args: Mapping[str, Any]) -> float:
    count = COUNTED.get(args.get("op_name", ""))
    if count is None:
        return 0.0
    given, made = (_shapes(args.get(f"{side}_type_shape", [])) for side in ("input", "output"))
    return count(given, made[0])


def _shapes(described: Sequence[Mapping[str, Shape]]) -> list[Shape]:
    """`[{"float": [1, 4, 64, 64]}, ...]` -> shapes."""
    return [next(iter(each.values()), []) for each in described]


def _conv(given: list[Shape], made: Shape) -> float:
    """Weights are (outputs, inputs / groups, kernel rows, kernel columns)."""
    return 2.0 * math.prod(made) * math.prod(given[1][1:])


def _transposed_conv(given: list[Shape], _made: Shape) -> float:
    """Weights are (inputs, outputs / groups, kernel rows, kernel columns); every input spreads over all of them."""
    return 2.0 * math.prod(given[0]) * math.prod(given[1][1:])


def _matmul(given: list[Shape], made: Shape) -> float:
    return 2.0 * math.prod(made) * given[0][-1]


def _gemm(given: list[Shape], made: Shape) -> float:
    """Either factor may be transposed, so the inner side is what is left of the first."""
    return 2.0 * math.prod(made) * math.prod(given[0]) / made[-2]


def _attention(given: list[Shape], _made: Shape) -> float:
    """Query (B, heads, S, D), key (B, heads, L, D), value (B, heads, L, V): two products (ONNX opset 23)."""
    (*around, rows, depth), (*_, length, _depth), (*_, width) = given[:3]
    return 2.0 * math.prod(around) * rows * length * (depth + width)


COUNTED: dict[str, Callable[[list[Shape], Shape], float]] = {
    "Conv": _conv,
    "ConvTranspose": _transposed_conv,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Attention": _attention,
}
