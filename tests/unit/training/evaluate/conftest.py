"""Synthetic dual-energy pairs: a chest with two lungs, vessels in them, ribs across them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.bundle import Bundle, ModelSpec
from pacs_node.config import Device
from pacs_node.engine import Engine
from pacs_node.engine.load import open_engine
from pacs_node.records import FloatImage
from tests.bundles import tiny_bundle
from tests.unit.imaging.engines import one_by_one


@dataclass(frozen=True)
class Known:
    """An engine in pixels: its decoder shows a share of the image and adds ``error``; its denoiser leaves a share."""

    spec: ModelSpec
    error: float = 0.0
    shown: float = 1.0
    left: float = 1.0
    device: str = "cpu"

    def encode(self, image: FloatImage) -> FloatImage:
        return image

    def predict(self, x_t: FloatImage, t: FloatImage, condition: FloatImage) -> FloatImage:
        return np.float32(self.left) * condition

    def decode(self, latents: FloatImage) -> FloatImage:
        return np.float32(self.shown) * latents + np.float32(self.error)

    def coarse_layers(self, images: FloatImage, steps: int, seeds: Sequence[int]) -> FloatImage:
        return one_by_one(self, images, steps, seeds)

    def refine(self, image: FloatImage, layer: FloatImage) -> FloatImage:
        return layer


def chest(rows: int, columns: int, seed: int = 0) -> tuple[FloatImage, FloatImage]:
    """A radiograph and its soft-tissue twin in [0, 1]; bone brightens by up to .12."""
    down, right = np.mgrid[0:rows, 0:columns].astype(np.float32)
    down, right = down / rows, right / columns
    lungs = sum(np.exp(-((((right - x) / 0.15) ** 2 + ((down - 0.5) / 0.3) ** 2) ** 2)) for x in (0.3, 0.7))
    vessels = 0.02 * np.sin(60 * right + seed) * np.sin(50 * down) * lungs
    soft = 0.75 - 0.5 * lungs + vessels
    bone = 0.12 * ((down * 9 + 0.6 * right) % 1 < 0.35)
    return np.clip(soft + bone, 0, 1).astype(np.float32), soft.astype(np.float32)


def save(path: Path, image: FloatImage, bits: int = 8) -> None:
    """A grey PNG."""
    top, kind = (255, np.uint8) if bits == 8 else (65535, np.uint16)
    Image.fromarray(np.rint(image * top).astype(kind)).save(path)


@pytest.fixture(scope="session")
def pair_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs of one source, unequal in shape and depth, and a negative one with a computed truth."""
    folder = tmp_path_factory.mktemp("real")
    for number, (rows, columns, bits) in enumerate([(256, 288, 8), (256, 256, 16)]):
        for kind, image in zip(("cxr", "soft"), chest(rows, columns, number), strict=True):
            save(folder / f"scanner_{number}_{kind}.png", image, bits)
    for kind, image in zip(("cxr", "soft"), chest(256, 256, 7), strict=True):
        save(folder / f"jsrt_7_{kind}.png", 1 - image)
    return folder


@pytest.fixture(scope="session")
def radiograph_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two radiographs without twins."""
    folder = tmp_path_factory.mktemp("radiographs")
    for number in range(2):
        save(folder / f"{number}.png", chest(288, 256, number)[0])
    return folder


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def engine(bundle: Bundle) -> Engine:
    return open_engine(bundle, Device.CPU, threads=1)


@pytest.fixture
def spec(bundle: Bundle) -> ModelSpec:
    clipping = bundle.spec.clipping.model_copy(update={"kind": "none"})
    return bundle.spec.model_copy(update={"clipping": clipping, "grid": 128})
