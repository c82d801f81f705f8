"""One tiny exported network for all tests of the engines, and CUDA's code on the CPU."""

import numpy as np
import pytest

from model.bundle import Bundle
from pacs_node.config import Device
from pacs_node.engine import ort_engine, providers
from pacs_node.records import FloatImage
from tests.bundles import TINY_GRID, tiny_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """With a fused graph, and no refiner."""
    return tiny_bundle(tmp_path_factory.mktemp("engine") / "tiny")


@pytest.fixture
def as_if_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is done for CUDA, done by the provider of the CPU in the memory of the CPU."""
    monkeypatch.setitem(providers.PROVIDERS, Device.CUDA, (providers.CPU,))
    monkeypatch.setitem(providers.OPTIONS, providers.CPU, providers.OPTIONS[providers.CUDA])
    monkeypatch.setattr(ort_engine, "choose_device", lambda _: Device.CUDA)


def images(count: int = 1, rows: int = TINY_GRID, columns: int = TINY_GRID, seed: int = 0) -> FloatImage:
    """Noise in [-1, 1], (count, 1, rows, columns)."""
    return np.random.default_rng(seed).uniform(-1, 1, (count, 1, rows, columns)).astype(np.float32)
