"""What is written beside the checkpoints: the log, TensorBoard's events, sheets of pictures."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from model.denoiser import DenoiserConfig
from training.loop import Run, Stage, run_stage
from training.preset import Preset
from training.record import joined_sheet


def watched(preset: Preset) -> Stage:
    """A regression that is looked at every second step, with a sheet whose grey says at which."""
    torch.manual_seed(0)
    looks: list[int] = []

    def loss(model: nn.Module, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        error = (model(torch.from_numpy(rng.standard_normal((4, 1), dtype=np.float32))) - 1).pow(2).mean()
        return error, {"error": float(error.detach())}

    def validate(_model: nn.Module, step: int) -> dict[str, float]:
        looks.append(step)
        return {"score": float(step)}

    stage = Stage("regression", nn.Linear(1, 1), DenoiserConfig(), preset.diffusion, loss, validate)
    often = preset.diffusion.model_copy(update={"validate_every": 2, "max_steps": 20})
    grey = np.full((4, 6), 0.1, dtype=np.float32)
    return replace(stage, optimisation=often, sheet=lambda _model: [[grey * looks[-1], grey]])


def test_a_sheet_is_kept_of_every_look(preset: Preset, tmp_path: Path) -> None:
    run_stage(watched(preset), Run(tmp_path, 4, quiet=True, tensorboard=False))
    sheets = sorted((tmp_path / "sheets").iterdir())
    assert [path.name for path in sheets] == ["step-0000002.png", "step-0000004.png"]
    with Image.open(sheets[1]) as sheet:
        assert (sheet.mode, sheet.size) == ("L", (12, 4))  # columns, rows
        assert (sheet.getpixel((0, 0)), sheet.getpixel((6, 0))) == (102, 26)  # .4 and .1 of 255


def test_a_sheet_of_large_pictures_is_averaged_down_and_cut_to_its_range() -> None:
    large = np.zeros((1024, 1024), dtype=np.float32)
    large[::2] = 1.0
    sheet = joined_sheet([[large, large * 4 - 1], [large, large]])
    assert sheet.shape == (1024, 1024)
    assert set(np.unique(sheet[:512, :512])) == {128}  # the mean of 0 and 1
    assert set(np.unique(sheet[:512, 512:])) == {255}  # the mean of -1 and 3, cut


def test_the_log_of_a_run_that_starts_over_holds_nothing_of_the_one_before(preset: Preset, tmp_path: Path) -> None:
    run_stage(watched(preset), Run(tmp_path, 12, quiet=True, tensorboard=False))
    run_stage(watched(preset), Run(tmp_path, 4, resume=False, quiet=True, tensorboard=False))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [(line["step"], line["kind"]) for line in lines] == [(2, "validation"), (4, "validation")]


def test_what_was_best_before_is_not_exported_for_the_best_of_a_run_that_starts_over(
    preset: Preset, tmp_path: Path
) -> None:
    run_stage(watched(preset), Run(tmp_path, 2, quiet=True, tensorboard=False))
    assert (tmp_path / "best").is_dir()
    run_stage(watched(preset), Run(tmp_path, 1, resume=False, quiet=True, tensorboard=False))  # not looked at yet
    assert not (tmp_path / "best").exists()


def test_tensorboard_gets_the_losses_the_scores_and_the_sheets(preset: Preset, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for steps in (10, 20):  # the second goes on
        run_stage(watched(preset), Run(tmp_path, steps, quiet=True))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("training/loss")] == [10, 20]
    assert [event.value for event in events.Scalars("validation/score")] == [float(step) for step in range(2, 21, 2)]
    assert events.Images("sheet")[-1].step == 20


def test_a_training_needs_no_tensorboard(preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    outcome = run_stage(watched(preset), Run(tmp_path, 4, quiet=True))
    assert outcome.ending == "finished"
    assert not (tmp_path / "tensorboard").exists()


def test_scores_of_the_last_look_survive_a_stop(preset: Preset, tmp_path: Path) -> None:
    """Else the description of the last checkpoint would hang on where a run was cut."""
    run_stage(watched(preset), Run(tmp_path, 4, quiet=True, tensorboard=False))
    run_stage(watched(preset), Run(tmp_path, 5, quiet=True, tensorboard=False))
    assert json.loads((tmp_path / "last" / "meta.json").read_text("utf-8"))["scores"] == {"score": 4.0}
