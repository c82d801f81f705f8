"""The one-pass control: starts as nothing, learns, is read back, and takes its pairs by share."""

from pathlib import Path

import numpy as np
import pytest
import torch

from training.checkpoint import CheckpointError
from training.control import ControlData, control_layers, load_control, train_control
from training.control_network import ControlConfig, ControlNetwork
from training.loop import Run
from training.pairs import PairShards, write_shard
from training.preset import Preset, load_preset


def test_an_untrained_control_finds_no_bone() -> None:
    network = ControlNetwork(ControlConfig(widths=(8, 16), blocks=(1, 2)))
    images = torch.rand(2, 1, 32, 48) * 2 - 1
    assert torch.equal(network(images), torch.zeros_like(images))


def test_the_default_control_has_between_two_and_three_million_weights() -> None:
    network = ControlNetwork(load_preset("default").control)
    assert 2e6 < sum(weight.numel() for weight in network.parameters()) < 3e6


def test_a_few_steps_on_the_pairs_lower_the_error_below_that_of_an_empty_layer(
    preset: Preset, pairs: PairShards, tmp_path: Path
) -> None:
    training = preset.control_training.model_copy(update={"learning_rate": 4e-3, "warmup_steps": 0})
    preset = preset.model_copy(update={"control_training": training})
    outcome = train_control(preset, ControlData([(pairs, 1.0)]), Run(tmp_path, 40, quiet=True), {"from": "a test"})
    assert (outcome.ending, outcome.step) == ("finished", 40)
    control = load_control(tmp_path / "last")
    cxr, soft = pairs[0]
    found = control_layers(control, cxr[None, None])[0]
    wanted = (cxr - soft).numpy() / 2
    assert np.abs(found - wanted).mean() < 0.9 * np.abs(wanted).mean()  # .9: learnt something, in 40 steps


def test_a_control_resumes_where_it_was_stopped(preset: Preset, pairs: PairShards, tmp_path: Path) -> None:
    data = ControlData([(pairs, 1.0)])
    for folder, steps in (("cut", (2, 4)), ("whole", (4,))):
        for step in steps:
            schedule = preset.control_training.model_copy(update={"final_learning_rate": 1e-3})
            train_control(
                preset.model_copy(update={"control_training": schedule}), data, Run(tmp_path / folder, step), {}
            )
    one, other = (load_control(tmp_path / folder / "last").state_dict() for folder in ("cut", "whole"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_each_folder_of_pairs_gives_its_share(tmp_path: Path, pairs: PairShards) -> None:
    black = np.zeros((64, 64), dtype=np.float32)
    write_shard(tmp_path / "black" / "a.npy", [(black, black)])
    data = ControlData([(pairs, 0.0), (PairShards(tmp_path / "black"), 3.0)])
    cxr, soft = data.batch(4, 64, np.random.default_rng(0))
    assert torch.equal(cxr, soft)  # only the pair without bone was drawn


def test_the_checkpoint_of_another_stage_is_no_control(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text('{"stage": "diffusion", "config": {}}')
    with pytest.raises(CheckpointError, match="diffusion"):
        load_control(tmp_path)
