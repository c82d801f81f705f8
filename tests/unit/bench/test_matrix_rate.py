"""Rates of plain products."""

from pacs_node.bench.matrix_rate import cpu_rates
from pacs_node.bench.rows import Rate, best_rate


def test_every_means_gives_a_rate_and_says_what_it_did() -> None:
    rates = cpu_rates(threads=1, side=64, convolutions=((8, 16),))
    assert [rate.by.split()[:2] for rate in rates] == [["NumPy", "product"], ["ONNX", "Runtime"], ["ONNX", "Runtime"]]
    assert all(rate.flops > 0 and rate.precision == "fp32" and rate.device == "cpu" for rate in rates)


def test_the_best_rate_is_that_of_the_same_precision_and_device() -> None:
    rates = [Rate(1.0, "slow"), Rate(3.0, "fast"), Rate(9.0, "half", "bf16"), Rate(99.0, "gpu", device="cuda")]
    best = best_rate(rates, "fp32", "cpu")
    assert best is not None
    assert best.by == "fast"
    assert best_rate(rates, "fp16", "cpu") is None
