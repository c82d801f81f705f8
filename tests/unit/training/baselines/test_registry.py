"""The rivals have the sizes of their papers, and are built again from what a checkpoint says."""

import json
from dataclasses import asdict
from typing import get_args

import pytest
import torch

from training.baselines.gusarev import Gusarev, GusarevConfig
from training.baselines.registry import BASELINES, BaselineName, Scale
from training.checkpoint import CheckpointError

NAMES: tuple[BaselineName, ...] = get_args(BaselineName)


def weights(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def test_gusarev_has_64400_weights_tied_and_128961_untied() -> None:
    assert BASELINES["gusarev"].parameters("paper") == 64_400
    assert weights(Gusarev(GusarevConfig(tied=True))) == 64_400
    assert weights(Gusarev(GusarevConfig(tied=False))) == 128_961


def test_the_generator_of_mca_net_has_23_13_million_weights() -> None:
    assert round(BASELINES["mca_net"].parameters("paper") / 1e6, 2) == 23.13


def test_resnet_bs_has_1_22_million_weights() -> None:
    assert round(BASELINES["resnet_bs"].parameters("paper") / 1e6, 2) == 1.22


def test_bs_diff_has_254_7_million_weights_in_both_its_networks() -> None:
    assert BASELINES["bs_diff"].parameters("paper") == pytest.approx(254.7e6, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_no_scaled_down_rival_is_larger_than_the_published_one(name: BaselineName) -> None:
    small, paper = (BASELINES[name].parameters(scale) for scale in ("small", "paper"))
    assert small <= paper or (name, small) == ("gusarev", 128_961)  # its weights are few; untied they learn faster


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", ["paper", "small"])
def test_a_network_is_built_again_from_its_sizes_by_way_of_json(name: BaselineName, scale: Scale) -> None:
    baseline = BASELINES[name]
    with torch.device("meta"):
        again = baseline.read(json.loads(json.dumps(asdict(baseline.configs[scale]))))
    assert again.config == baseline.configs[scale]
    assert weights(again) == baseline.parameters(scale)


def test_sizes_of_another_network_are_refused() -> None:
    with pytest.raises(CheckpointError, match="not the sizes of MCA-Net"):
        BASELINES["mca_net"].read(asdict(GusarevConfig()))
