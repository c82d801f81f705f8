"""From nothing to a bundle on the command line, with the preset that trains in seconds."""

import json
from pathlib import Path

import pytest

from model.bundle import open_bundle
from pacs_node.cli import main

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
        (["export-onnx", "-o", "bundle"], "give either --checkpoint"),
        (["export-onnx", "-o", "bundle", "--checkpoint", "run"], "holds no diffusion"),
    ],
)
def test_what_is_missing_is_named(
    command: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(command) == 2
    assert told in capsys.readouterr().err
