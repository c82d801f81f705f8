"""Operations are counted: against torch's own counter, and against products counted by hand."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from model.bundle import Role
from pacs_node.bench.flops import graph_flop
from pacs_node.bench.one_operator import conv_model, product_model
from tests.bundles import TINY_GRID, tiny_bundle
from tests.networks import tiny_network

BATCH = 2


@pytest.mark.parametrize("role", ["encoder", "denoiser", "decoder"])
def test_a_graph_has_the_operations_that_torch_counts(role: Role, tmp_path: Path) -> None:
    network = tiny_network()
    image = torch.zeros(BATCH, 1, TINY_GRID, TINY_GRID)
    latents = torch.zeros(BATCH, 4, TINY_GRID // 8, TINY_GRID // 8)
    given = {
        "encoder": {"image": image},
        "denoiser": {"x_t": latents, "t": torch.ones(BATCH), "condition": latents},
        "decoder": {"latents": latents},
    }[role]
    run = {"encoder": network.autoencoder.encode, "denoiser": network.denoiser, "decoder": network.autoencoder.decode}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run[role](*given.values())  # type: ignore[operator]
    bundle = tiny_bundle(tmp_path / "bundle")
    counted = graph_flop(bundle.path(role), {name: tensor.numpy() for name, tensor in given.items()})
    assert counted > 0
    assert counted == counter.get_total_flops()


def test_operations_grow_with_the_number_of_images(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    one = np.zeros((1, 1, TINY_GRID, TINY_GRID), np.float32)
    assert graph_flop(bundle.path("encoder"), {"image": np.concatenate([one] * 3)}) == 3 * graph_flop(
        bundle.path("encoder"), {"image": one}
    )


def test_a_product_is_two_operations_for_each_pair(tmp_path: Path) -> None:
    (tmp_path / "product.onnx").write_bytes(product_model(np.ones((3, 5), np.float32), rows=7))
    assert graph_flop(tmp_path / "product.onnx", {"x": np.ones((7, 3), np.float32)}) == 2 * 7 * 3 * 5


def test_the_models_written_by_hand_compute_what_their_names_say(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, right = rng.standard_normal((7, 3), dtype=np.float32), rng.standard_normal((3, 5), dtype=np.float32)
    image, kernel = (rng.standard_normal(shape, dtype=np.float32) for shape in ((1, 4, 9, 8), (6, 4, 3, 3)))
    (product,) = run(product_model(right, rows=7), x)
    (conv,) = run(conv_model(kernel, 9, 8), image)
    expected = torch.nn.functional.conv2d(torch.from_numpy(image), torch.from_numpy(kernel), padding=1).numpy()
    np.testing.assert_allclose(product, x @ right, atol=1e-5)  # float32 sums of 3
    np.testing.assert_allclose(conv, expected, atol=1e-4)  # float32 sums of 36


def run(model: bytes, x: np.ndarray) -> list[np.ndarray]:
    made: list[np.ndarray] = ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    return made
