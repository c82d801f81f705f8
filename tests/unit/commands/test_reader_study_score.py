"""`pacs-node reader-study score`: tables, files, warnings and exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pacs_node.cli import main
from tests.unit.training.readers.small_study import answer, answers, small_study
from training.readers.records import ANSWERS, append_answer, write_study


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the study of six cases, read by both readers."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study").mkdir()
    write_study(tmp_path / "study", small_study())
    for each in answers():
        append_answer(tmp_path / "study", each)
    return tmp_path / "study"


def test_known_answers_give_the_known_table(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reader-study", "score", "study"]) == 0
    lines = capsys.readouterr().out.splitlines()
    auc = next(line for line in lines if line.startswith("AUC of cases"))
    assert auc.split()[3] == "0.833"
    assert "0.944 (" in auc
    assert "+0.111 (" in auc


def test_json_is_the_only_output_on_stdout(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reader-study", "score", "study", "--at", "50", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["options"]["thresholds"] == [50]
    assert told["facts"]["command"] == "`pacs-node reader-study score study --at 50`"
    assert {each["at"] for each in told["detection"]} == {None, 50}


def test_reports_are_written_and_say_the_command(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reader-study", "score", "study", "-o", "scored", "--markdown", "page.md", "--reader", "r2"]) == 0
    names = ["readings.csv", "report-curves.svg", "report.md", "scores.json"]
    assert sorted(path.name for path in Path("scored").iterdir()) == names
    assert Path("page-curves.svg").read_bytes() == Path("scored/report-curves.svg").read_bytes()
    page = Path("page.md").read_text(encoding="utf-8")
    assert page.replace("page-curves", "report-curves") == Path("scored/report.md").read_text(encoding="utf-8")
    assert "(page-curves.svg)" in page
    told = "pacs-node reader-study score study --reader r2 --output scored --markdown page.md"
    assert told in Path("page.md").read_text(encoding="utf-8")
    assert "One reader" in capsys.readouterr().err
    assert json.loads(Path("scored/scores.json").read_text(encoding="utf-8"))["simulated"] is False


def test_an_unfinished_study_is_scored_with_a_warning_and_exit_code_0(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    append_answer(study, answer("r1", "with", "c6", kind="marks"))
    assert main(["reader-study", "score", "study"]) == 0
    shown = capsys.readouterr()
    assert "AUC of cases" in shown.out
    assert "missing: 1 of r1" in shown.err


def test_a_line_that_was_being_written_when_the_power_failed_is_no_obstacle(study: Path) -> None:
    with (study / ANSWERS).open("ab") as stream:
        stream.write(b'{"at":"2026-01-')
    assert main(["reader-study", "score", "study"]) == 0


def test_without_answers_the_next_step_is_said(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study / ANSWERS).unlink()
    assert main(["reader-study", "score", "study"]) == 2
    shown = capsys.readouterr()
    assert "nobody has answered yet: pacs-node reader-study read" in shown.err
    assert shown.out == ""


def test_a_folder_without_a_study_is_told_how_to_make_one(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reader-study", "score", "elsewhere"]) == 2
    assert "pacs-node reader-study make" in capsys.readouterr().err


def test_a_report_into_a_folder_that_is_not_there_is_refused_before_anything_is_written(study: Path) -> None:
    assert main(["reader-study", "score", "study", "-o", "scored", "--markdown", "no/such/page.md"]) == 2
    assert not Path("scored").exists()


@pytest.mark.parametrize("places", [["-o", "file"], ["-o", "scored", "--markdown", "study"]])
def test_a_report_in_the_place_of_another_thing_is_refused(
    study: Path, places: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").touch()
    assert main(["reader-study", "score", "study", *places]) == 2
    assert f"{places[-1]} is a f" in capsys.readouterr().err
    assert not Path("scored").exists()


def test_without_matplotlib_the_report_has_no_curves_and_says_how_to_get_them(study: Path) -> None:
    script = (
        "import sys\nsys.modules['matplotlib'] = None\nfrom pacs_node.cli import main\n"
        "sys.exit(main(['reader-study', 'score', 'study', '-o', 'scored']))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "no curves without matplotlib: pip install" in done.stderr
    assert "svg" not in Path("scored/report.md").read_text(encoding="utf-8")


def test_scoring_loads_neither_torch_nor_skimage(study: Path) -> None:
    script = (
        "import sys\nfrom pacs_node.cli import main\ncode = main(['reader-study', 'score', 'study'])\n"
        "print(code, sorted({'torch', 'skimage', 'onnxruntime'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "0 []"
    assert "AUC of cases" in done.stdout
