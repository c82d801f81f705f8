"""A training that starts from the weights of another one."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from model.refiner import Refiner, RefinerConfig
from training.checkpoint import CheckpointError, read_meta, save_weights
from training.inherit import start_weights
from training.preset import Preset, load_preset
from training.run import Amounts, train

AMOUNTS = Amounts(anatomies=2, pairs=3, latents=4)


def _weights(run: Path, stage: str) -> dict[str, torch.Tensor]:
    return load_file(run / stage / "last" / "weights.safetensors")


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier")
    train(load_preset("tiny"), folder, amounts=AMOUNTS, max_steps=3, quiet=True)
    return folder


def test_a_fine_tuning_starts_where_the_other_run_ended_and_keeps_its_autoencoder(
    earlier: Path, preset: Preset, tmp_path: Path
) -> None:
    before = _weights(earlier, "diffusion")
    # a step of a rate this small moves no weight by more than that rate
    gentle = preset.diffusion.model_copy(update={"learning_rate": 1e-7, "final_learning_rate": 1e-7})
    tuned = preset.model_copy(update={"diffusion": gentle})
    train(tuned, tmp_path, ("diffusion",), amounts=AMOUNTS, max_steps=1, quiet=True, earlier=earlier)
    after = _weights(tmp_path, "diffusion")
    assert max(float((after[name] - before[name]).abs().max()) for name in before) < 1e-6
    own, other = (_weights(run, "autoencoder") for run in (tmp_path, earlier))
    assert all(torch.equal(own[name], other[name]) for name in other)
    assert read_meta(tmp_path / "diffusion" / "last")["provenance"]["started_from"] == "diffusion, 3 steps"


def test_a_run_without_that_stage_is_no_start(preset: Preset, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="train that stage first"):
        train(preset, tmp_path / "new", ("diffusion",), amounts=AMOUNTS, max_steps=1, earlier=tmp_path / "none")


def test_weights_that_are_damaged_are_no_start(tmp_path: Path) -> None:
    refiner = Refiner(RefinerConfig())
    save_weights(tmp_path / "refiner" / "last", refiner, {"config": asdict(refiner.config)})
    path = tmp_path / "refiner" / "last" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"weights.safetensors is damaged: bring back a copy"):
        start_weights(refiner, "refiner", tmp_path)


def test_networks_of_two_other_runs_are_not_mixed(earlier: Path, preset: Preset, tmp_path: Path) -> None:
    third = tmp_path / "third"
    train(preset, third, ("autoencoder",), amounts=AMOUNTS, max_steps=1, quiet=True)
    with pytest.raises(CheckpointError, match=r"is not from .* leave --from out"):
        train(preset, third, ("diffusion",), amounts=AMOUNTS, max_steps=1, quiet=True, earlier=earlier)


@pytest.mark.parametrize("normed", [None, 2])
def test_a_deeper_refiner_starts_by_computing_what_the_other_one_did(
    preset: Preset, tmp_path: Path, normed: int | None
) -> None:
    torch.manual_seed(0)
    shallow = RefinerConfig(patch=4, channels=(16, 32), blocks=(1, 1))
    known = Refiner(shallow)
    for parameter in known.parameters():  # not one of them is 0, as after a training
        torch.nn.init.normal_(parameter, std=0.05)
    save_weights(tmp_path / "refiner" / "last", known, {"stage": "refiner", "step": 7, "config": asdict(shallow)})
    deeper = Refiner(RefinerConfig(patch=4, channels=(16, 32, 32, 32), blocks=(1, 1, 1, 2), normed=normed))
    assert start_weights(deeper, "refiner", tmp_path) == "refiner, 7 steps"
    image, layer = torch.rand(2, 1, 1, 64, 96) * 2 - 1
    assert torch.allclose(deeper(image, layer), known(image, layer), atol=1e-5)
    loss = (deeper(image, layer) - image).pow(2).mean()
    loss.backward()
    silent = deeper.grow[1].conv
    assert isinstance(silent, torch.nn.Conv2d)
    assert silent.weight.grad is not None
    assert float(silent.weight.grad.abs().max()) > 0  # the silent way up learns at once


def test_a_refiner_of_other_widths_is_no_start(tmp_path: Path) -> None:
    config = RefinerConfig(patch=4, channels=(16, 32), blocks=(1, 1))
    save_weights(tmp_path / "refiner" / "last", Refiner(config), {"stage": "refiner", "config": asdict(config)})
    other = Refiner(RefinerConfig(patch=4, channels=(16, 16, 16), blocks=(1, 1, 1)))
    with pytest.raises(CheckpointError, match="is of another network"):
        start_weights(other, "refiner", tmp_path)
