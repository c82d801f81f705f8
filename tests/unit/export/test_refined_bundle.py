"""A bundle with a refiner: exported, opened and used like any other; without one the layer stays as it came."""

from pathlib import Path

import numpy as np
import pytest
import torch

from export.to_bundle import Network, export_network, reexport_bundle
from model.bundle import Bundle, BundleError, validate_spec
from model.refiner import Refiner, RefinerConfig
from pacs_node.config import Device
from pacs_node.engine.ort_engine import OrtEngine
from pacs_node.engine.torch_engine import TorchEngine
from pacs_node.pipeline import predicted_bone
from pacs_node.records import FloatImage
from tests.bundles import TINY_GRID, tiny_bundle
from tests.networks import tiny_network

RNG = np.random.default_rng(3)
IMAGE, LAYER = (RNG.uniform(-1, 1, (1, 1, TINY_GRID, TINY_GRID)).astype(np.float32) for _ in range(2))


@pytest.fixture(scope="module")
def refined(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    torch.manual_seed(1)
    refiner = Refiner(RefinerConfig(patch=4, channels=(8, 16), blocks=(1, 1)))
    for parameter in refiner.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)  # else what starts as 0 would hide everything before it
    plain = tiny_network()
    facts = {"name": "tiny", "version": "0", "grid": TINY_GRID, "steps": 2, "precision": "fp16"}
    out = tmp_path_factory.mktemp("refined") / "bundle"
    return export_network(Network(plain.autoencoder, plain.denoiser, refiner), out, facts)


def _refined(bundle: Bundle) -> FloatImage:
    with OrtEngine(bundle, Device.CPU) as engine:
        return engine.refine(IMAGE, LAYER)


def test_an_untrained_refiner_returns_the_layer() -> None:
    layer = torch.from_numpy(LAYER)
    out = Refiner(RefinerConfig())(torch.from_numpy(IMAGE), layer)
    torch.testing.assert_close(out, layer)


def test_both_engines_refine_alike_and_use_the_image(refined: Bundle) -> None:
    torch_engine = TorchEngine.open(refined, Device.CPU)
    with OrtEngine(refined, Device.CPU) as engine:
        ours = engine.refine(IMAGE, LAYER)
        # float32 sums in another order
        np.testing.assert_allclose(ours, torch_engine.refine(IMAGE, LAYER), atol=1e-4)
        assert np.abs(ours - LAYER).max() > 1e-3
        assert np.abs(ours - engine.refine(-IMAGE, LAYER)).max() > 1e-3


def test_the_pipeline_refines_the_mean_layer_once(refined: Bundle, tmp_path: Path) -> None:
    with OrtEngine(refined, Device.CPU) as engine, OrtEngine(tiny_bundle(tmp_path / "plain"), Device.CPU) as plain:
        coarse = predicted_bone(IMAGE, plain, 2, 0)
        # half precision of the weights is all that tells the two bundles' first parts apart
        expected = engine.refine(IMAGE, coarse[None, None])[0, 0]
        np.testing.assert_allclose(predicted_bone(IMAGE, engine, 2, 0), expected, atol=0.05)


def test_a_bundle_without_refiner_leaves_the_layer(tmp_path: Path) -> None:
    np.testing.assert_array_equal(_refined(tiny_bundle(tmp_path / "plain")), LAYER)


def test_making_the_graphs_again_keeps_the_refiner(refined: Bundle, tmp_path: Path) -> None:
    again = reexport_bundle(refined.folder, tmp_path / "again", version="1")
    np.testing.assert_array_equal(_refined(again), _refined(refined))


def test_sizes_of_a_refiner_without_its_graph_are_refused(refined: Bundle) -> None:
    facts = refined.spec.model_dump()
    facts["graphs"] = {role: name for role, name in facts["graphs"].items() if role != "refiner"}
    with pytest.raises(BundleError, match="both its graph and its sizes"):
        validate_spec(facts)
