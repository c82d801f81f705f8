"""How fast this processor multiplies matrices at best: what the networks' own rate is a fraction of."""

from collections.abc import Iterator
from itertools import starmap

import numpy as np
import onnxruntime as ort

from pacs_node.bench.one_operator import conv_model, product_model
from pacs_node.bench.rows import Rate
from pacs_node.bench.spread import timed

__all__ = ["cpu_rates"]

SIDE = 2048  # of the products: far beyond the caches, and a tenth of a second
CONVOLUTIONS = ((64, 256), (128, 128), (256, 64), (512, 32))  # channels, rows = columns
REPEAT = 5


def cpu_rates(
    threads: int = 0, side: int = SIDE, convolutions: tuple[tuple[int, int], ...] = CONVOLUTIONS
) -> list[Rate]:
    """float32 rates of every means that the service's installation has; the best of some runs of each.

    Parameters
    ----------
    threads : of ONNX Runtime; NumPy takes what its own environment says.
    side : rows and columns of the products.
    convolutions : channels and rows of 3 x 3 convolutions.
    """
    rng = np.random.default_rng(0)
    return [*_products(rng, threads, side), *starmap(lambda c, s: _convolution(rng, threads, c, s), convolutions)]


def _products(rng: np.random.Generator, threads: int, side: int) -> Iterator[Rate]:
    left, right = (rng.standard_normal((side, side), dtype=np.float32) for _ in range(2))
    flop, size = 2.0 * side**3, f"{side} x {side} x {side}"
    yield Rate(flop / _fastest_s(lambda: left @ right), f"NumPy product {size}")
    session = _session(product_model(right, side), threads)
    yield Rate(flop / _fastest_s(lambda: session.run(None, {"x": left})), f"ONNX Runtime MatMul {size}")


def _convolution(rng: np.random.Generator, threads: int, channels: int, side: int) -> Rate:
    image = rng.standard_normal((1, channels, side, side), dtype=np.float32)
    kernel = rng.standard_normal((channels, channels, 3, 3), dtype=np.float32)
    session = _session(conv_model(kernel, side, side), threads)
    seconds = _fastest_s(lambda: session.run(None, {"x": image}))
    by = f"ONNX Runtime Conv 3 x 3, {channels} channels, {side} x {side} px"
    # border products with zeros are counted too, as everywhere here
    return Rate(2.0 * 9 * channels**2 * side**2 / seconds, by)


def _fastest_s(run: object) -> float:
    return min(timed(run, 1).median for _ in range(REPEAT))  # type: ignore[arg-type]


def _session(model: bytes, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
