"""From nothing to a run that samples a bone layer: the real simulator, the tiny preset."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from model.bundle import ClippingSpec
from training.checkpoint import CheckpointError, load_autoencoder, load_denoiser, read_meta
from training.preset import Preset
from training.run import Amounts, train
from training.validate import Sampling, bone_layers

AMOUNTS = Amounts(anatomies=2, pairs=3, latents=4)


def test_a_tiny_run_trains_both_stages_and_goes_on(preset: Preset, tmp_path: Path) -> None:
    first = train(preset, tmp_path, amounts=AMOUNTS, max_steps=3, quiet=True)
    assert [(outcome.ending, outcome.step) for outcome in first] == [("finished", 3), ("finished", 3)]
    pairs = (tmp_path / "pairs" / "0000-000.npy").stat().st_mtime_ns
    again = train(preset, tmp_path, ("diffusion",), amounts=AMOUNTS, max_steps=5, quiet=True)
    assert [(outcome.ending, outcome.step) for outcome in again] == [("finished", 5)]
    assert (tmp_path / "pairs" / "0000-000.npy").stat().st_mtime_ns == pairs  # used, not formed again
    assert read_meta(tmp_path / "diffusion" / "last")["provenance"]["pairs"] == 3
    networks = load_autoencoder(tmp_path / "autoencoder/last"), load_denoiser(tmp_path / "diffusion/last")
    layers = bone_layers(*networks, torch.zeros(1, 1, preset.grid, preset.grid), Sampling(2, ClippingSpec(kind="none")))
    assert layers.shape == (1, preset.grid, preset.grid)
    assert np.isfinite(layers.numpy()).all()


def test_a_stage_that_runs_out_of_time_is_not_followed_by_the_next(preset: Preset, tmp_path: Path) -> None:
    outcomes = train(preset, tmp_path, amounts=AMOUNTS, max_minutes=0.0, quiet=True)
    assert [outcome.ending for outcome in outcomes] == ["out of time"]
    assert not (tmp_path / "diffusion").exists()


def test_latents_of_an_earlier_autoencoder_are_refused(preset: Preset, tmp_path: Path) -> None:
    train(preset, tmp_path, amounts=AMOUNTS, max_steps=1, quiet=True)
    train(preset, tmp_path, ("autoencoder",), amounts=AMOUNTS, max_steps=3, quiet=True)
    with pytest.raises(CheckpointError, match=r"latents is from before .* remove it"):
        train(preset, tmp_path, ("diffusion",), amounts=AMOUNTS, max_steps=2, quiet=True)
    shutil.rmtree(tmp_path / "latents")
    (outcome,) = train(preset, tmp_path, ("diffusion",), amounts=AMOUNTS, max_steps=2, quiet=True)
    assert outcome.ending == "finished"
