"""`pacs-node bench`, from its options to its report."""

import json
from pathlib import Path
from typing import Any

import pytest

from pacs_node import cli
from pacs_node.bench import matrix_rate
from pacs_node.commands.errors import ExitCode
from tests.bundles import tiny_bundle
from tests.radiographs import radiograph, saved


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PACS_NODE_NODE__DATA_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_an_image_that_is_not_there_is_told_before_anything_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "--image", "absent.dcm"]) == ExitCode.CONFIGURATION
    assert "absent.dcm is not a file; leave it out" in capsys.readouterr().err


@pytest.mark.parametrize("batches", ["none", "1,,2", "0", "-1"])
def test_numbers_of_images_that_are_none_are_refused(batches: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", f"--batches={batches}"]) == ExitCode.CONFIGURATION
    assert "--batches" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 0}'])
def test_a_file_that_is_no_report_is_refused(content: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bench.json").write_text(content, encoding="utf-8")
    assert cli.main(["bench", "--from", "bench.json"]) == ExitCode.CONFIGURATION
    assert "--from bench.json" in capsys.readouterr().err


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a run on a small network leaves; products are smaller, for they would take longer than it."""
    monkeypatch.setattr(matrix_rate, "cpu_rates", lambda threads: [])
    monkeypatch.setattr("pacs_node.bench.session.cpu_rates", lambda threads: [])
    tiny_bundle(tmp_path / "bundle")
    saved(radiograph(), tmp_path / "in.dcm")
    words = ["--image", "in.dcm", "--bundle", "bundle", "--threads", "1", "--device", "cpu", "--repeat", "1", "--quick"]
    assert cli.main(["bench", *words, "--batches", "2", "--json", "bench.json"]) == ExitCode.DONE
    loaded: dict[str, Any] = json.loads(Path("bench.json").read_text(encoding="utf-8"))
    return loaded


def test_a_run_measures_the_service_and_what_is_beside_it(
    report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {(row["key"], row["batch"]): row for row in report["comparison"]}
    for measured in [("service", 1), ("service", 2), ("eager", 1), ("eager", 2), ("eager-bf16", 1), ("control", 1)]:
        assert rows[measured]["seconds"]["median"] > 0, rows[measured]
    assert rows["eager", 1]["flop"] == rows["service", 1]["flop"] == pytest.approx(parts_flop(report))
    assert rows["eager-bf16", 1]["psnr_db"] > 30  # 8 bits of mantissa: far from noise, and not the same
    assert "CUDA" in rows["onnx-cuda", 1]["missing"]
    assert not {key for key, _ in rows} & {"paper", "compiled"}  # left out by --quick
    assert report["process"]["failure"] == ""
    assert report["process"]["peak_bytes"] > 50 * 2**20
    assert {"network", "end to end"} <= {stage["name"] for stage in report["stages"]}
    assert not Path("var").exists()  # no trace of it in the audit of a node

    document = Path("performance.md")
    document.write_text("# Performance\n<!-- bench -->\n<!-- /bench -->\nProse.\n", encoding="utf-8")
    assert cli.main(["bench", "--from", "bench.json", "--markdown", "performance.md"]) == ExitCode.DONE
    assert "times slower than: ONNX Runtime, as the service runs it" in capsys.readouterr().out
    written = document.read_text(encoding="utf-8")
    assert "| end to end |" in written
    assert written.endswith("<!-- /bench -->\nProse.\n")

    document.write_text("# Performance\n", encoding="utf-8")
    assert cli.main(["bench", "--from", "bench.json", "--markdown", "performance.md"]) == ExitCode.CONFIGURATION
    assert "<!-- bench -->" in capsys.readouterr().err

    assert cli.main(["bench", "--from", "bench.json", "--json", "-"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out) == report


def parts_flop(report: dict[str, Any]) -> float:
    return float(sum(part["calls"] * part["flop"] for part in report["parts"]))
