"""Latents on a device compute what NumPy computes, to the byte where the device is the CPU."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from model.sampler import Noise
from pacs_node.config import Device
from pacs_node.engine.device_array import Arithmetic, _model
from pacs_node.engine.providers import Setup
from pacs_node.records import FloatImage


@pytest.fixture(scope="module")
def arithmetic() -> Arithmetic:
    return Arithmetic(Setup(Device.CPU, threads=1))


def latents(seed: int) -> FloatImage:
    return np.random.default_rng(seed).standard_normal((2, 4, 8, 8)).astype(np.float32)


def test_the_handwritten_model_is_valid_onnx() -> None:
    onnx.checker.check_model(onnx.load_from_string(_model()), full_check=True)


@pytest.mark.parametrize(
    "formula",
    [
        lambda x, _: 0.3 * x,
        lambda x, _: np.float32(0.3) * x,
        lambda x, _: x * 1e-3,
        lambda x, _: x / 0.7,
        lambda x, y: x + y,
        lambda x, y: x - y,
        lambda x, _: x.clip(-0.5, 1.5),
        lambda x, y: (x - 0.9 * y) / 0.43 + 1.2 * (y - x).clip(-1.0, 1.0),
    ],
)
def test_operators_give_the_bytes_of_numpy(formula: Callable[[Any, Any], Any], arithmetic: Arithmetic) -> None:
    x, y = latents(0), latents(1)
    expected = formula(x, y)
    found = formula(arithmetic.array(x), arithmetic.array(y))
    assert found.shape == x.shape
    assert found.numpy().tobytes() == expected.tobytes()


def test_no_operator_changes_its_operands(arithmetic: Arithmetic) -> None:
    x = arithmetic.array(latents(0))
    _ = (2.0 * x - x / 3.0).clip(-0.1, 0.1)
    np.testing.assert_array_equal(x.numpy(), latents(0))


def test_noise_is_drawn_onto_the_device(arithmetic: Arithmetic) -> None:
    drawn = Noise(7, 0.1).like(arithmetic.array(latents(0)))
    np.testing.assert_array_equal(drawn.numpy(), Noise(7, 0.1).draw((2, 4, 8, 8)))
