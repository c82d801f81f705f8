"""The whole command in seconds: all studies, going on, stopping, refusing."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pacs_node.cli import main
from pacs_node.commands.ablate import parse_studies
from pacs_node.errors import ConfigError
from training.ablate.plan import STUDIES

RESULTS = "results.json"


def order(run: Path, data: Path, *words: str) -> list[str]:
    return ["ablate", "-o", str(run), "--data", str(data), "--quick", "--no-lpips", "--seeds", "1", *words]


def document(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / RESULTS).read_text(encoding="utf-8"))
    return found


def figures(run: Path) -> dict[str, Any]:
    """Scores of every cell."""
    return {name: facts["scores"] for name, facts in document(run)["cells"].items()}


@pytest.fixture(scope="module")
def whole(simulated_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("whole") / "run"
    assert main(order(run, simulated_folder, "--json", "--markdown", str(run / "page.md"))) == 0
    return run


def test_every_study_is_trained_measured_and_shown(whole: Path) -> None:
    found = document(whole)
    assert sorted(found["trainings"]) == [
        "offset-0-seed-0",
        "offset-0.1-raw-latents-seed-0",
        "offset-0.1-scaled-condition-seed-0",
        "offset-0.1-seed-0",
    ]
    assert {facts["step"] for facts in found["trainings"].values()} == {6}
    page = (whole / "page.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^## ", page, re.MULTILINE)) == len(STUDIES) + 1
    assert sorted(path.name for path in whole.glob("*.svg")) == sorted(f"page-{study}.svg" for study in STUDIES)


def test_variants_are_other_networks_and_ways_other_samples(whole: Path) -> None:
    cells = figures(whole)
    clipped = {name: rows for name, rows in cells.items() if "dynamic_clipping omega 3 b 1.4, 4 steps" in name}
    assert len(clipped) == 4
    assert len({json.dumps(rows) for rows in clipped.values()}) == 4
    base = {name: rows for name, rows in cells.items() if name.startswith("offset-0.1: ")}
    assert len({json.dumps(rows) for rows in base.values()}) == len(base)


def test_the_same_command_makes_nothing_again_and_the_same_page(
    whole: Path, simulated_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = sorted(whole.rglob("*.safetensors"))
    before = [path.stat().st_mtime_ns for path in weights], figures(whole), (whole / "page.md").read_bytes()
    assert main(order(whole, simulated_folder, "--markdown", str(whole / "page.md"))) == 0
    assert before == (
        [path.stat().st_mtime_ns for path in weights],
        figures(whole),
        (whole / "page.md").read_bytes(),
    )
    assert "offset noise" in capsys.readouterr().out


def test_a_run_that_was_terminated_goes_on_to_the_same_figures(
    whole: Path, simulated_folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = order(run, simulated_folder, "--only", "grid,steps", "--json")
    process = subprocess.Popen(
        [sys.executable, "-m", "pacs_node", *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not ((run / RESULTS).is_file() and len(document(run)["cells"]) >= 2):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    told = process.communicate()[1]
    assert process.returncode == 130
    assert "the same command goes on from there" in told
    kept = figures(run)
    assert 2 <= len(kept) < 12
    assert main(words) == 0
    expected = figures(whole)
    assert figures(run) == {name: expected[name] for name in figures(run)}
    assert len(figures(run)) == 8 + 2 * 3 - 2


def test_a_seed_can_be_added_later(whole: Path, simulated_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = order(whole, simulated_folder, "--only", "omega", "--json")
    words[words.index("--seeds") + 1] = "2"
    before = figures(whole)
    assert main(words) == 0
    added = {name for name in figures(whole) if name not in before}
    ways = ("dynamic_clipping omega 0 b 1.4", "dynamic_clipping omega 3 b 1.4")
    assert added == {f"offset-0.1: {way}, 4 steps, seed 1" for way in ways}
    assert json.loads(capsys.readouterr().out)["cells"].keys() == figures(whole).keys()


def test_other_settings_need_another_folder(
    whole: Path, simulated_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(order(whole, simulated_folder, "--cpu-minutes", "3")) == 2
    assert "was made with another budget" in capsys.readouterr().err


def test_the_figures_of_other_pairs_do_not_pass_for_those_of_these(
    whole: Path, simulated_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fewer = shutil.copytree(simulated_folder, tmp_path / "fewer")
    for path in fewer.glob("*-00000*"):
        path.unlink()
    assert main(order(whole, fewer)) == 2
    assert "was made with other pairs: choose another folder" in capsys.readouterr().err


def test_a_preset_that_predicts_no_noise_is_refused(
    simulated_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(order(tmp_path / "run", simulated_folder, "--preset", "tiny")) == 2
    assert "predicts noise (eps)" in capsys.readouterr().err


def test_studies_are_named_and_unknown_ones_refused() -> None:
    assert parse_studies(None) == STUDIES
    assert parse_studies("b, grid") == ("grid", "b")
    with pytest.raises(ConfigError, match="--only sigma: take of grid, lambda"):
        parse_studies("grid,sigma")


def test_a_page_that_could_not_be_written_is_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(order(tmp_path / "run", tmp_path, "--markdown", str(tmp_path / "nowhere" / "page.md"))) == 2
    assert f"there is no folder {tmp_path / 'nowhere'}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
