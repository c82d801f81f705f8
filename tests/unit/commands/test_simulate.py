"""`pacs-node simulate` on the command line: files, idempotence, CT folders, and what it says when it cannot go on."""

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from pacs_node.cli import main
from training.evaluate.cases import open_cases

SMALL = ["--size", "64", "--json"]


def simulate(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["simulate", *arguments, *SMALL])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else {}


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thorax of blocks in 4 mm voxels, and a scan that is too small."""
    folder = tmp_path_factory.mktemp("ct")
    hu = np.full((70, 50, 60), -1000, np.int16)
    hu[6:64, 6:44] = 40
    hu[10:32, 12:38, 8:52] = hu[38:60, 12:38, 8:52] = -850
    for k in range(8, 52, 6):
        hu[6:64, 8:11, k : k + 2] = 900
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(hu, affine), folder / "thorax.nii.gz")
    nibabel.save(nibabel.Nifti1Image(hu[:8], affine), folder / "finger.nii.gz")
    return folder


def test_pairs_are_written_once_and_are_read_by_the_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, sheet = tmp_path / "pairs", tmp_path / "sheet.png"
    code, told = simulate(capsys, "-n", "2", "-o", str(folder), "--preview", str(sheet))
    assert code == 0
    assert told["formed"] == 2
    assert sheet.read_bytes().startswith(b"\x89PNG")
    first = pictures(folder)
    assert len(first) == 6
    _, again = simulate(capsys, "-n", "3", "-o", str(folder))
    assert again["formed"] == 1
    assert {name: pictures(folder)[name] for name in first} == first
    assert [case.name for case in open_cases(folder)] == told["pairs"] + again["pairs"][2:]


def test_the_bone_layer_is_the_difference_and_the_parameters_lie_beside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, told = simulate(capsys, "-n", "1", "-o", str(tmp_path), "--seed", "2")
    (name,) = told["pairs"]
    cxr, soft, bone = (
        np.asarray(Image.open(tmp_path / f"{name}_{kind}.png"), np.float64) for kind in ("cxr", "soft", "bone")
    )
    assert cxr.max() > 255  # 16 bit
    # 16-bit rounding of three pictures, the layer's steps being twice as wide
    assert np.abs((cxr - soft) / 65535 - (bone - 32768) / 32767).max() < 5e-5
    facts = json.loads((tmp_path / f"{name}.json").read_text())
    assert facts["exposure"]["kvp"] >= 60
    assert facts["seed"] == 2


def test_the_same_seed_gives_the_same_pairs_and_another_gives_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However many processes work at it."""
    for name, seed, workers in (("a", "1", "1"), ("b", "1", "2"), ("c", "2", "1")):
        simulate(capsys, "-n", "2", "-o", str(tmp_path / name), "--seed", seed, "--workers", workers)
    a, b, c = (list(pictures(tmp_path / name).values()) for name in "abc")
    assert a == b
    assert a != c


def test_a_folder_of_ct_gives_pairs_and_names_what_it_left_out(
    tmp_path: Path, scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = simulate(capsys, "-n", "3", "-o", str(tmp_path), "--source", "ct", "--ct", str(scans))
    assert code == 1, "a scan was left out"
    assert list(told["refused"]) == ["finger.nii.gz"]
    assert told["formed"] == 3
    layers = [np.asarray(Image.open(path), np.float64) - 32768 for path in tmp_path.glob("*_bone.png")]
    assert max(np.abs(layer).max() for layer in layers) > 300, "bones show in the pairs"


def test_with_ct_bones_are_laid_in_other_bodies(
    tmp_path: Path, scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, told = simulate(capsys, "-n", "4", "-o", str(tmp_path), "--ct", str(scans))
    facts = [json.loads((tmp_path / f"{name}.json").read_text()) for name in told["pairs"]]
    assert all(fact["source"] == "mix" for fact in facts)
    kinds = {(fact["body"][0] == "person", fact["bones"][0] == "person") for fact in facts}
    assert len(kinds) > 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--source", "ct"], "needs --ct FOLDER"),
        (["--ct", "empty"], "holds no CT that can be used"),
        (["--ct", "nowhere"], "there is no folder nowhere"),
    ],
)
def test_what_is_missing_is_said(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["simulate", "-o", "out", *arguments, *SMALL]) == 2
    assert told in capsys.readouterr().err


def test_a_folder_holds_one_kind_of_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulate(capsys, "-n", "1", "-o", str(tmp_path))
    assert main(["simulate", "-n", "1", "-o", str(tmp_path), "--seed", "5", *SMALL]) == 2
    assert "choose another folder" in capsys.readouterr().err
