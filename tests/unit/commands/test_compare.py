"""`pacs-node compare --quick` from the command line to the files; stopped, gone on with, and refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import training
from pacs_node.cli import main
from tests.bundles import tiny_bundle
from tests.unit.training.compare.conftest import write_simulated
from tests.unit.training.evaluate.conftest import chest, save
from training.compare.systems import NAMES


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    people = [(n % 20, n % 20) for n in range(24)]
    return write_simulated(tmp_path_factory.mktemp("pairs") / "simulated", 7, people)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    for number in range(6):
        for kind, image in zip(("cxr", "soft"), chest(288, 256, number), strict=True):
            save(folder / f"scanner_{number}_{kind}.png", image)
    return folder


def _command(out: Path, pairs: Path, *more: object) -> list[str]:
    return ["compare", "--quick", "-o", str(out), "--data", str(pairs), *map(str, more)]


def test_all_are_trained_and_measured_and_the_report_says_who_leads(
    pairs: Path, real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, page = tmp_path / "out", tmp_path / "page.md"
    bundle = tiny_bundle(tmp_path / "bundle").folder
    command = _command(out, pairs, "--pairs-test", real, "--bundle", bundle, "--markdown", page, "--json")
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((out / "results.json").read_text(encoding="utf-8"))
    kinds = {row["key"]: row["kind"] for row in told["systems"]}
    assert {key for key, kind in kinds.items() if kind == "system"} == set(NAMES)
    assert kinds["ships"] == "ships"
    for row in told["systems"]:
        if row["kind"] != "trivial":
            assert row["parameters"] > 0
            assert row["flop"] > 0
    assert [each["name"] for each in told["sets"]] == ["simulated", real.name]
    for each in told["sets"]:
        rows = each["rows"]
        assert rows["identity"]["figures"]["bsr_strict"]["mean"] == 0
        assert rows["truth"]["figures"]["bsr_tone"]["mean"] == pytest.approx(1, abs=1e-6)
        assert rows["control"]["seconds"] > 0
        assert (set(rows["control"]["less_ours"]) >= {"bsr_tone", "psnr"}) is (each["name"] == real.name)  # six people
        assert told["findings"][each["name"]]
    markdown = page.read_text(encoding="utf-8")
    assert "(page-simulated.jpg)" in markdown
    assert (tmp_path / "page-simulated.jpg").stat().st_size > 1000
    assert not list(tmp_path.glob(f"*{real.name}*.jpg"))  # pictures of somebody stay in OUT
    assert f"--pairs-test {real}" in markdown
    html = (out / "report.html").read_text(encoding="utf-8")
    assert html.count("data:image/jpeg;base64,") >= 3
    assert "http" not in html.replace("https://", "").partition("<body>")[0]


def test_the_same_command_goes_on_and_does_nothing_twice(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(_command(out, pairs, "--only", "control", "--json")) == 0
    first = json.loads(capsys.readouterr().out)
    assert "Not in this comparison: ours." in first["missing"]
    weights = out / "systems" / "control" / "last" / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    assert main(_command(out, pairs, "--only", "gusarev", "--json")) == 0
    second = json.loads(capsys.readouterr().out)
    assert weights.stat().st_mtime_ns == before
    rows = second["sets"][0]["rows"]
    assert rows["control"] == first["sets"][0]["rows"]["control"]  # processor seconds too: it was not measured again
    assert "gusarev" in rows


def test_another_plan_in_the_same_folder_is_refused(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_command(tmp_path, pairs, "--only", "control")) == 0
    assert main(_command(tmp_path, pairs, "--only", "control", "--seed", "3")) == 2
    assert "holds a comparison with other seed" in capsys.readouterr().err
    other = tmp_path / "other.toml"
    tiny = Path(training.__file__).with_name("presets") / "tiny.toml"
    other.write_text(tiny.read_text(encoding="utf-8").replace("widths = [8, 16]", "widths = [8, 8]"), encoding="utf-8")
    assert main(_command(tmp_path, pairs, "--only", "control", "--preset", other)) == 2
    assert "with another preset" in capsys.readouterr().err


def test_a_setting_that_came_later_makes_no_other_preset(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_command(tmp_path, pairs, "--only", "control")) == 0
    path = tmp_path / "systems" / "control" / "settings.json"
    settings = json.loads(path.read_text())
    del settings["control_training"]["accumulate"]  # as if that training had been before there was such a setting
    path.write_text(json.dumps(settings))
    assert main(_command(tmp_path, pairs, "--only", "control")) == 0
    settings["control_training"]["batch"] = 77
    path.write_text(json.dumps(settings))
    assert main(_command(tmp_path, pairs, "--only", "control")) == 2
    assert "with another preset" in capsys.readouterr().err


def test_a_training_is_taken_over(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(_command(tmp_path / "one", pairs, "--only", "control,gusarev")) == 0
    trained = tmp_path / "one" / "systems"
    loads = ["--load", f"control={trained / 'control'}", "--load", f"gusarev={trained / 'gusarev'}"]
    capsys.readouterr()
    assert main(_command(tmp_path / "two", pairs, "--only", "control,gusarev", *loads, "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    kinds = {row["key"]: (row["kind"], row["steps"]) for row in told["systems"]}
    assert kinds["control"][0] == "loaded"
    assert list(kinds["control"][1].values()) == [2]
    assert kinds["gusarev"][0] == "loaded"
    assert not (tmp_path / "two" / "systems").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_130_and_the_same_command_ends_it(pairs: Path, tmp_path: Path, number: int) -> None:
    out = tmp_path / "out"
    words = [sys.executable, "-m", "pacs_node", "compare", "-o", out, "--data", pairs, "--preset", "tiny"]
    words += ["--size", "128", "--no-lpips", "--framings", "4", "--only", "control", "--cpu-minutes"]
    command = [*map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "0.15"], env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    state = out / "systems" / "control" / "last" / "state.safetensors"
    while not state.is_file() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(60) == 130
    assert not (out / "systems" / "control" / "trained.json").exists()
    assert subprocess.run([*command, "0.15"], env=environment, check=False, capture_output=True).returncode == 0
    facts = json.loads((out / "systems" / "control" / "trained.json").read_text(encoding="utf-8"))
    assert 0.15 <= facts["cpu_minutes"] < 0.3  # of both runs together


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--only", "gusarev,unknown"], "names with commas between them"),
        (["--scale", "gusarev=large"], "as paper or small"),
        (["--scale", "ours=small"], "as paper or small"),
        (["--load", "control"], "NAME=VALUE is asked for"),
        (["--load", "control=nowhere", "--only", "control"], "holds no training of control"),
        (["--markdown", "nowhere/page.md"], "there is no folder nowhere"),
        (["--markdown", "/"], "/ is a folder: name a file in it with --markdown"),
        (["--data", "nowhere"], "there is no folder nowhere"),
        (["--pairs-test", "nowhere"], "there is no folder nowhere"),
        (["--preset", "nothing"], "no preset nothing"),
        (["--size", "100"], "does not fit the preset"),
    ],
)
def test_what_cannot_be_used_is_named(
    options: list[str], told: str, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(_command(tmp_path / "out", pairs, *options)) == 2
    assert told in capsys.readouterr().err
