"""The published architectures, and samplers other than the default one, through the whole export."""

from pathlib import Path

import pytest

from export.parity import Parity
from export.to_bundle import export_network
from model.bundle import ModelSpec, open_bundle
from pacs_node.errors import ConfigError
from tests.networks import tiny_network, tiny_paper_network

FACTS = {"name": "variant", "version": "0", "grid": 64, "steps": 3}


def test_a_quantised_bundle_with_a_bridge_computes_in_onnx_what_it_computes_in_torch(tmp_path: Path) -> None:
    told: dict[str, Parity] = {}
    facts = FACTS | {"process": "bridge", "path_noise": 0.3, "eta": 1.0, "steps": 1000, "precision": "fp16"}
    export_network(tiny_paper_network(), tmp_path / "bundle", facts, report=told.__setitem__)
    spec = open_bundle(tmp_path / "bundle").spec
    assert (spec.process, spec.prediction, spec.eta, spec.path_noise, spec.steps) == ("bridge", "v", 1.0, 0.3, 1000)
    assert spec.network.denoiser["architecture"] == "adm"
    parity = told["ONNX Runtime against torch"]
    assert max(parity.max_abs_error.values()) < 1e-4  # float32 sums in another order


def test_a_sampler_that_cannot_run_the_network_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dpmpp_2m solves a diffusion"):
        export_network(tiny_network(), tmp_path / "bundle", FACTS | {"process": "flow", "sampler": "dpmpp_2m"})
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_says_nothing_of_its_sampler_is_sampled_as_before() -> None:
    spec = ModelSpec.model_validate(
        {
            "name": "old",
            "version": "1",
            "grid": 64,
            "graphs": {"encoder": "e", "denoiser": "n", "decoder": "d"},
            "files": {name: {"sha256": "0" * 64, "bytes": 0} for name in ("e", "n", "d", "weights.safetensors")},
        }
    )
    assert (spec.process, spec.schedule, spec.sampler, spec.eta) == ("diffusion", "cosine", "ddim", 0.0)
