"""From nothing to a bundle on the command line, with the preset that trains in seconds."""

import json
import signal
from pathlib import Path

import pytest
import torch

from model.bundle import open_bundle
from pacs_node.cli import main
from training.advance import Training
from training.perceptual import WEIGHTS_VARIABLE
from training.preset import SHIPPED

FEW = ["--preset", "tiny", "--people", "2", "--pairs", "3", "--json"]


def test_a_run_becomes_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, bundle = str(tmp_path / "run"), tmp_path / "bundle"
    assert main(["train", "autoencoder", run, *FEW]) == 0
    assert [stage["ending"] for stage in json.loads(capsys.readouterr().out)] == ["finished"]
    assert main(["train", "diffusion", run, *FEW, "--framings", "4", "--steps", "2"]) == 0
    assert [stage["step"] for stage in json.loads(capsys.readouterr().out)] == [2]
    assert main(["export-onnx", "--checkpoint", run, "-o", str(bundle), "--model-version", "7", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["digest"] == open_bundle(bundle).digest
    assert open_bundle(bundle).spec.version == "7"
    assert told["parity"]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["train", "autoencoder", "run", "--preset", "tni"], "no preset tni; shipped are"),
        (["train", "diffusion", "run", *FEW], "holds no checkpoint"),
        (["train", "autoencoder", "run", *FEW, "--radiographs", "cxr"], "there is no folder cxr"),
        (["train", "diffusion", "run", *FEW, "--validate", "pairs"], "there is no folder pairs"),
        (["train", "control", "run", *FEW, "--data", "mine"], "there is no folder mine"),
        (["train", "control", *FEW], "name the folder of the training: -o RUN"),
        (["train", "control", "run", "-o", "run", *FEW], "the run is named twice"),
        (["train", "control", "run", *FEW, "--device", "cuda:99"], "there is no cuda:99 here"),
        (["export-onnx", "-o", "bundle"], "give one of --checkpoint"),
        (["export-onnx", "-o", "bundle", "--checkpoint", "run"], "holds no diffusion"),
    ],
)
def test_what_is_missing_is_named(
    command: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(command) == 2
    assert told in capsys.readouterr().err
    assert not Path("run").exists()  # said before anything is simulated


def test_a_run_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    assert main(["train", "autoencoder", str(tmp_path / "file"), *FEW]) == 2
    assert f"{tmp_path / 'file'}" in capsys.readouterr().err


def test_a_key_of_a_preset_that_is_not_known_is_named_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = tmp_path / "my.toml"
    preset.write_text((SHIPPED / "tiny.toml").read_text(encoding="utf-8") + "omegga = 3\n", encoding="utf-8")
    assert main(["train", "autoencoder", str(tmp_path / "run"), "--preset", str(preset)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "my.toml is not a usable preset: clipping.omegga: " in line


def test_a_run_of_another_preset_is_not_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, other = str(tmp_path / "run"), tmp_path / "wider.toml"
    other.write_text((SHIPPED / "tiny.toml").read_text(encoding="utf-8").replace("[16, 16]", "[16, 32]"), "utf-8")
    assert main(["train", "autoencoder", run, *FEW, "--steps", "1"]) == 0
    for stage in ("autoencoder", "diffusion"):
        assert main(["train", stage, run, *FEW, "--preset", str(other)]) == 2
        assert "is of another network, preset tiny" in capsys.readouterr().err


def test_a_training_that_is_stopped_ends_with_130_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = Training.advance

    def interrupted(training: Training, max_steps: int, *limits: float) -> dict[str, float]:
        signal.raise_signal(signal.SIGINT)  # Ctrl-C in the middle of a step
        return step(training, max_steps, *limits)

    monkeypatch.setattr(Training, "advance", interrupted)
    assert main(["train", "autoencoder", str(tmp_path), *FEW]) == 130
    told = capsys.readouterr()
    assert [(stage["ending"], stage["step"]) for stage in json.loads(told.out)] == [("stopped", 1)]
    assert "the same command goes on" in told.err


def test_a_batch_that_does_not_fit_ends_with_two_and_a_command_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step, taken = Training.advance, []

    def full(training: Training, max_steps: int, *limits: float) -> dict[str, float]:
        taken.append(training.step)
        if training.step == 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(training, max_steps, *limits)

    monkeypatch.setattr(Training, "advance", full)
    assert main(["train", "autoencoder", "-o", str(tmp_path), *FEW]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("pacs-node:")]
    assert "no memory left" in line
    assert "--batch 1 --accumulate 2 takes as many images a step" in line
    monkeypatch.setattr(Training, "advance", step)
    assert main(["train", "autoencoder", "-o", str(tmp_path), *FEW, "--batch", "1", "--accumulate", "2"]) == 0
    assert [stage["step"] for stage in json.loads(capsys.readouterr().out)] == [8]  # from the checkpoint of step 4


def test_perceptual_weights_that_are_missing_are_told_before_anything_is_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = tmp_path / "seeing.toml"
    tiny = (SHIPPED / "tiny.toml").read_text(encoding="utf-8")
    preset.write_text(tiny.replace("\ntwin = 1.0\n", "\ntwin = 1.0\nperceptual = 0.001\n"), encoding="utf-8")
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "nowhere.safetensors"))
    assert main(["train", "autoencoder", "-o", str(tmp_path / "run"), *FEW, "--preset", str(preset)]) == 2
    assert "nowhere.safetensors with the weights of the perceptual distance" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
