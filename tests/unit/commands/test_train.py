"""From pairs to a bundle on the command line, with the preset that trains in seconds."""

import json
from pathlib import Path

import numpy as np
import pytest

from model.bundle import open_bundle
from pacs_node.cli import main
from training.pairs import write_shard

SIDE = 128  # px; the preset's grid is 64, and crops are cut from larger images
PAIRS = 4


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A shard of smooth images with a bright bar that the twin lacks."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE
    twins = []
    for _ in range(PAIRS):
        soft = 0.3 + 0.3 * np.sin(3 * rows + rng.random()) * np.cos(3 * columns).astype(np.float32)
        bar = 0.2 * (np.abs(rows - rng.uniform(0.3, 0.7)) < 0.05)
        twins.append(((soft + bar).astype(np.float32), soft.astype(np.float32)))
    write_shard(tmp_path / "pairs" / "0000-000.npy", twins)
    return tmp_path / "pairs"


def test_a_run_becomes_a_bundle(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = [str(tmp_path / "run"), "--pairs", str(pairs), "--preset", "tiny", "--json"]
    assert main(["train", "autoencoder", *common]) == 0
    assert json.loads(capsys.readouterr().out)["ending"] == "finished"
    assert main(["train", "diffusion", *common, "--framings", "4"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 8
    bundle = tmp_path / "bundle"
    words = ["export-onnx", "--checkpoint", str(tmp_path / "run"), "-o", str(bundle), "--model-version", "7", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["digest"] == open_bundle(bundle).digest
    assert open_bundle(bundle).spec.version == "7"
    assert told["parity"]


def test_a_finished_stage_is_not_trained_again(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "autoencoder", str(tmp_path / "run"), "--pairs", str(pairs), "--preset", "tiny", "--json"]
    assert main([*words, "--steps", "4"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 4
    assert main([*words, "--steps", "6"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 6


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train", "autoencoder", "run", "--pairs", "none"], "pacs-node train pairs makes some"),
        (["train", "autoencoder", "run", "--pairs", "none", "--preset", "tni"], "no preset tni; shipped are"),
        (["train", "diffusion", "run", "--pairs", "none"], "run pacs-node train autoencoder first"),
        (["export-onnx", "-o", "bundle"], "give either --checkpoint"),
        (["export-onnx", "-o", "bundle", "--checkpoint", "run"], "holds no diffusion"),
    ],
)
def test_what_is_missing_is_named(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert told in capsys.readouterr().err
