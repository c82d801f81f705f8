"""From figures to pages, with an evaluation whose figures are made up."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.evaluate.cases import Case, Twins
from training.evaluate.pictures import panel, sheet
from training.evaluate.reconstruction import Reconstruction
from training.evaluate.report import as_json, write_markdown, write_report
from training.evaluate.run import Evaluation, Row
from training.evaluate.scores import METRICS, Scores
from training.evaluate.stability import NoduleContrast, SeedSpread
from training.evaluate.tables import tables

FACTS = {"bundle": "tiny 0", "digest": "ab12", "command": "pacs-node evaluate --pairs <pairs>", "date": "2026-01-01"}


def unread() -> Twins:
    raise AssertionError("a report reads no pair")


def scores(tone: float, ribs: float) -> Scores:
    return {metric.key: 0.5 for metric in METRICS} | {"bsr_tone": tone, "ribs_left": ribs}


@pytest.fixture
def result() -> Evaluation:
    """Two dual-energy pairs and a computed one; the output lies a quarter of the way from truth to input."""
    cases = [Case("a_0", "a", True, unread), Case("a_1", "a", True, unread), Case("jsrt_0", "jsrt", False, unread)]
    values = {"identity": (0.0, 0.8), "steps_2": (0.4, 0.35), "truth": (1.0, 0.2)}
    rows = [
        Row(key, f"row {key}", "bundle", {case.name: scores(tone + 0.1 * n, ribs) for n, case in enumerate(cases)}, 1.5)
        for key, (tone, ribs) in values.items()
    ]
    image = np.linspace(0, 1, 64 * 48, dtype=np.float32).reshape(64, 48)
    return Evaluation(
        cases=cases,
        shipped="steps_2",
        rows=rows,
        seeds=[SeedSpread("a_0", 0.01, 0.04)],
        reconstructions=[Reconstruction(512, (30.0, 34.0))],
        nodules=[NoduleContrast(0.01, (0.9, 0.7))],
        pair_panels=[panel("a_0", image, image, 0 * image, image)],
        radiograph_panels=[panel("r", image, image, 0 * image)],
    )


def test_the_mean_is_over_dual_energy_only(result: Evaluation) -> None:
    first = tables(result)[0]
    cells = {row[0]: dict(zip(first.columns, row, strict=True)) for row in first.rows}
    assert first.title.startswith("Mean of 2 dual-energy pairs")
    assert cells["row steps_2"]["bsr_tone ↑"] == "0.450 ± 0.050"  # .4 and .5; the computed one has .6
    assert first.rows[first.strong or 0][0] == "row steps_2"


def test_ribs_left_is_told_as_the_way_from_truth_to_input(result: Evaluation) -> None:
    first = tables(result)[0]
    column = first.columns.index("way from truth to input")
    assert [row[column] for row in first.rows] == ["1.00", "0.25", "0.00"]


def test_a_computed_truth_has_a_table_of_its_own(result: Evaluation) -> None:
    assert [table.title for table in tables(result) if "computed truth" in table.title] == [
        "jsrt: 1 (computed truth, not dual energy: in no mean above)"
    ]


def test_nothing_known_is_an_empty_cell_and_null(result: Evaluation) -> None:
    for row in result.rows:
        for case in result.cases:
            row.scores[case.name]["bsr_tone_lungs"] = float("nan")
    first = tables(result)[0]
    assert {row[first.columns.index("in the lungs ↑")] for row in first.rows} == {""}
    document = as_json(result, FACTS)
    assert json.loads(json.dumps(document, allow_nan=False))["rows"][0]["by_pair"]["a_0"]["bsr_tone_lungs"] is None


def test_a_report_is_one_page_that_needs_nothing(result: Evaluation, tmp_path: Path) -> None:
    written = write_report(tmp_path / "new", result, FACTS, ["LPIPS was left out."])
    assert [path.name for path in written] == [
        "report.html",
        "report.md",
        "evaluation.json",
        "pairs.jpg",
        "radiographs.jpg",
    ]
    page = written[0].read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 2
    assert "http" not in page
    assert "&lt;pairs&gt;" in page  # what a person typed is no markup
    for text in ("Research use only", "ab12", "tiny 0", "LPIPS was left out.", "How to read"):
        assert text in page
        assert text in written[1].read_text(encoding="utf-8")


def test_the_page_to_pass_on_has_no_picture(result: Evaluation, tmp_path: Path) -> None:
    write_markdown(tmp_path / "evaluation.md", result, FACTS, [])
    page = (tmp_path / "evaluation.md").read_text(encoding="utf-8")
    assert "![" not in page
    assert "| **row steps_2** | **0.450 ± 0.050** |" in page
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation.md"]


def test_without_dual_energy_the_computed_pairs_are_told_alone(result: Evaluation) -> None:
    only = [replace(case, dual_energy=False) for case in result.cases[2:]]
    result.cases = only
    assert tables(result)[0].title.startswith("jsrt: 1")


def test_panels_stand_below_each_other(result: Evaluation) -> None:
    both = sheet(result.pair_panels + result.radiograph_panels)
    assert both.width == sheet(result.pair_panels).width
    assert both.height == 2 * sheet(result.pair_panels).height
