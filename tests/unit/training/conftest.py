"""A tiny data set and the tiny preset: real training in a second."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.pairs import PairShards, write_shard
from training.preset import Preset, load_preset

SIZE = 64


@pytest.fixture(scope="session")
def preset() -> Preset:
    return load_preset("tiny")


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> PairShards:
    """Six pairs of a smooth body with stripes of bone; the real simulator has its own tests."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    twins = []
    for _ in range(6):
        soft = 0.3 + 0.4 * columns * rng.uniform(0.5, 1) + 0.1 * np.sin(6 * rows + rng.uniform(0, 6))
        bone = 0.15 * ((rows * rng.uniform(6, 9)) % 1 < 0.4)
        twins.append(((soft + bone).astype(np.float32), soft.astype(np.float32)))
    write_shard(folder / "a.npy", twins[:4])
    write_shard(folder / "b.npy", twins[4:])
    return PairShards(folder)


@pytest.fixture(scope="session")
def picture_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four grey pictures of unequal shape."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(1)
    for index in range(4):
        values = rng.integers(20, 220, (70 + 10 * index, 90)).astype(np.uint8)
        Image.fromarray(values).save(folder / f"{index}.png")
    return folder


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # bit-equal sums need one order of summation
