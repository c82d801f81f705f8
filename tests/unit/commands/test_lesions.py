"""`pacs-node evaluate --lesions` on a tiny bundle and drawn chests, from the command line to the files."""

import json
from pathlib import Path

import pytest

from pacs_node.cli import main
from tests.bundles import tiny_bundle
from tests.unit.training.evaluate.conftest import chest, save


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").folder


@pytest.fixture(scope="module")
def chests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    for kind, image in zip(("cxr", "soft"), chest(384, 384, 1), strict=True):
        save(folder / f"drawn_1_{kind}.png", image)
    return folder


def test_page_curves_and_figures_are_written_and_the_same_seed_makes_the_same_curves(
    bundle: Path, chests: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--lesions", "--bundle", str(bundle), "--pairs", str(chests), "--count", "1", "--seed", "3"]
    words += ["--device", "cpu", "--threads", "1", "--json"]
    pictures = []
    for name in ("first", "second"):
        page = tmp_path / f"{name}.md"
        assert main([*words, "-o", str(tmp_path / name), "--markdown", str(page)]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["lesions"]
        assert document["target"]["pairs"]
        assert json.loads((tmp_path / name / "lesions.json").read_text()) == document
        text = page.read_text()
        for part in ("--seed 3", "contrast of nodules kept", "false structures", f"{name}-pairs.svg", "machine"):
            assert part in text
        pictures.append((tmp_path / f"{name}-pairs.svg").read_bytes())
    assert pictures[0] == pictures[1]


def test_without_radiographs_it_says_what_to_name(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--lesions", "--bundle", str(bundle)]) == 2
    assert "--radiographs FOLDER" in capsys.readouterr().err


def test_without_lesions_pairs_are_asked_for(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--bundle", str(bundle)]) == 2
    assert "--pairs" in capsys.readouterr().err
