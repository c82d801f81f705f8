"""A training that starts from the weights of another one."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from training.checkpoint import CheckpointError, read_meta
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


def test_networks_of_two_other_runs_are_not_mixed(earlier: Path, preset: Preset, tmp_path: Path) -> None:
    third = tmp_path / "third"
    train(preset, third, ("autoencoder",), amounts=AMOUNTS, max_steps=1, quiet=True)
    with pytest.raises(CheckpointError, match=r"is not from .* leave --from out"):
        train(preset, third, ("diffusion",), amounts=AMOUNTS, max_steps=1, quiet=True, earlier=earlier)
