"""`pacs-node evaluate` on a tiny bundle and synthetic pairs, from the command line to the files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from model.bundle import open_bundle
from pacs_node.cli import main
from pacs_node.commands.evaluate import Order
from tests.bundles import tiny_bundle
from tests.unit.training.evaluate.conftest import chest, save
from training.control import ControlData, train_control
from training.loop import Run
from training.pairs import PairShards, write_shard
from training.preset import load_preset

QUICK = ["--lpips-side", "0", "--threads", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").folder


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    for number in range(2):
        for kind, image in zip(("cxr", "soft"), chest(256, 256, number), strict=True):
            save(folder / f"scanner_{number}_{kind}.png", image)
    return folder


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose control was trained for two steps with the tiny preset."""
    folder = tmp_path_factory.mktemp("run")
    write_shard(folder / "pairs" / "a.npy", [chest(64, 64)])
    data = ControlData([(PairShards(folder / "pairs"), 1.0)])
    train_control(load_preset("tiny"), data, Run(folder / "control", 2, quiet=True), {})
    return folder


def test_a_report_holds_every_row_and_says_what_was_measured(
    bundle: Path, pairs: Path, control: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--bundle", str(bundle), "--pairs", str(pairs), "--steps", "1,3", *QUICK, "--json"]
    (tmp_path / "folds").mkdir()
    (tmp_path / "folds" / "scanner_").symlink_to(bundle)
    files = [
        "--folds",
        str(tmp_path / "folds"),
        "-o",
        str(tmp_path / "report"),
        "--markdown",
        str(tmp_path / "page.md"),
    ]
    assert main([*command, *files, "--control", str(control), "--radiographs", str(pairs)]) == 0
    output = capsys.readouterr()
    told = json.loads(output.out)
    keys = [row["key"] for row in told["rows"]]
    assert keys[:3] == ["identity", "tone_curve", "control"]
    assert [key for key in keys if key.startswith("steps")] == ["steps_1", "steps_2", "steps_3"]
    assert keys[-1] == "truth"
    means = {row["key"]: row["mean_dual_energy"] for row in told["rows"]}
    assert means["identity"]["bsr_tone"] == pytest.approx(0, abs=1e-4)  # the truth is stored in 8 bit
    assert means["left_out"] == means["steps_2"]  # it is the same bundle
    assert means["truth"]["bsr_tone"] == pytest.approx(1, abs=1e-6)
    assert told["facts"]["digest"] == open_bundle(bundle).digest
    assert "about" in output.err  # how long it will take
    assert {size["size"] for size in told["reconstruction"]} == {512, 1024}
    assert (tmp_path / "report" / "report.html").is_file()
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "![" not in page
    assert f"--control {control}" in page


def test_checkpoints_are_ranked_by_real_pairs(
    bundle: Path, pairs: Path, control: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--bundle", str(bundle), "--pairs", str(pairs), "--choose", str(control), "--json"]
    assert main(command) == 0
    (choice,) = json.loads(capsys.readouterr().out)
    assert (choice["stage"], choice["step"]) == ("control", 2)
    assert choice["folder"] == str(control / "control" / "last")


@pytest.mark.parametrize("instead", ["--choose", "--lesions"])
def test_a_split_is_not_passed_over_whatever_is_measured(
    instead: str, bundle: Path, pairs: Path, control: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "--bundle", str(bundle), "--pairs", str(pairs), "--split", "test", instead]
    assert main([*command, *([str(control)] if instead == "--choose" else [])]) == 2
    assert f"{pairs} was not ingested, so it has no split test" in capsys.readouterr().err


def test_a_ranking_on_pairs_without_lungs_is_json(
    bundle: Path, control: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slope = np.tile(np.linspace(0.2, 0.7, 256, dtype=np.float32), (256, 1))
    for kind, image in (("cxr", slope + 0.1 * (slope > 0.4)), ("soft", slope)):
        save(tmp_path / f"a_{kind}.png", image.astype(np.float32))
    command = ["evaluate", "--bundle", str(bundle), "--pairs", str(tmp_path), "--choose", str(control), "--json"]
    assert main(command) == 0
    (choice,) = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert choice["lungs"] is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--pairs", "nowhere"], "there is no folder nowhere"),
        (["--pairs", "."], "holds neither a manifest.json nor a pair"),
        (["--pairs", ".", "--steps", "1,x"], "numbers from 1 to 1000"),
        (["--pairs", ".", "--split", "tests"], "'tests' is not one of"),
        (["--pairs", ".", "--markdown", "nowhere/page.md"], "there is no folder nowhere"),
        (["--pairs", ".", "--lpips-side", "8"], "--lpips-side 8: LPIPS needs 24 px or more"),
        (["--pairs", ".", "--markdown", "."], ". is a folder: name a file in it with --markdown"),
        (["--pairs", ".", "-o", "file"], "file is a file: name a folder with -o"),
        (["--lesions", "--pairs", ".", "-o", "file"], "file is a file: name a folder with -o"),
        (["--lesions", "--pairs", ".", "--markdown", "."], ". is a folder: name a file in it with --markdown"),
        (["--pairs", ".", "--folds", "nowhere"], "there is no folder nowhere"),
        (["--pairs", ".", "--choose", "run"], "to choose from"),
    ],
)
def test_what_cannot_be_used_is_named(
    options: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert main(["evaluate", *QUICK, *options]) == 2
    assert told in capsys.readouterr().err


def test_a_control_of_another_stage_is_refused(
    bundle: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "meta.json").write_text('{"stage": "autoencoder", "config": {}}')
    command = ["evaluate", "--bundle", str(bundle), "--pairs", str(pairs), "--control", str(tmp_path), *QUICK]
    assert main(command) == 2
    assert "not a control" in capsys.readouterr().err


def test_the_command_in_a_report_is_the_one_that_made_it() -> None:
    order = Order("default", Path("my pairs"), "test", (1, 4), output=Path("out"), lpips_side=0)
    assert order.command == (
        "pacs-node evaluate --bundle default --pairs 'my pairs' --steps 1,4 --split test --output out --lpips-side 0"
    )


def test_a_pair_without_bone_is_left_out_and_named(bundle: Path, pairs: Path, tmp_path: Path) -> None:
    folder, page = tmp_path / "pairs", tmp_path / "page.md"
    shutil.copytree(pairs, folder)
    for kind in ("cxr", "soft"):
        save(folder / f"scanner_none_{kind}.png", chest(256, 256)[1])
    command = ["evaluate", "--bundle", str(bundle), "--pairs", str(folder), *QUICK, "--markdown", str(page)]
    assert main(command) == 0
    assert "the same picture: scanner_none." in page.read_text(encoding="utf-8")
