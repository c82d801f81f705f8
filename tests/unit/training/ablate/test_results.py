"""`results.json`: kept whole, in figures that JSON knows, and never mixed with another run's."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from pacs_node.errors import ConfigError
from training.ablate.measure import Measured
from training.ablate.plan import Cell, Values
from training.ablate.results import RESULTS, Results
from training.preset import Preset
from training.stage import Outcome

SETTINGS = {"budget": 3, "bound": math.inf, "pairs": (1, 2)}


@pytest.fixture
def cell(ablation: Preset) -> Cell:
    values = Values.of(ablation)
    return Cell(values.base, values.way())


def test_what_was_added_is_there_when_opened_again(cell: Cell, tmp_path: Path) -> None:
    first = Results(tmp_path, SETTINGS)
    first.add_training(cell.variant, 1, Outcome("finished", 6, 2.0, tmp_path, 1.5))
    first.add_cell(cell, 1, Measured([{"psnr": 30.0}, {"psnr": 32.0}], 2.0))
    again = Results(tmp_path, SETTINGS)
    assert again.trained(cell.variant, 1)
    assert not again.trained(cell.variant, 0)
    assert again.measured(cell, 1)
    assert not again.measured(cell, 0)
    figures = again.figures(cell, "psnr")
    assert figures is not None
    np.testing.assert_array_equal(figures, [[30.0, 32.0]])


def test_a_sample_that_is_no_number_is_null_and_in_no_mean(cell: Cell, tmp_path: Path) -> None:
    results = Results(tmp_path, SETTINGS)
    results.add_cell(cell, 0, Measured([{"psnr": 30.0}, {"psnr": math.nan}], 2.0))
    kept = json.loads((tmp_path / RESULTS).read_text(encoding="utf-8"))  # strict JSON: no NaN
    (facts,) = kept["cells"].values()
    assert [row["psnr"] for row in facts["scores"]] == [30.0, None]
    assert facts["mean"]["psnr"] == 30.0
    figures = Results(tmp_path, SETTINGS).figures(cell, "psnr")
    assert figures is not None
    assert np.isnan(figures[0, 1])


def test_a_cell_of_no_numbers_has_no_mean(cell: Cell, tmp_path: Path) -> None:
    results = Results(tmp_path, SETTINGS)
    results.add_cell(cell, 0, Measured([{"psnr": math.nan}], 2.0))
    (facts,) = json.loads((tmp_path / RESULTS).read_text(encoding="utf-8"))["cells"].values()
    assert facts["mean"]["psnr"] is None


def test_results_of_other_settings_are_refused(tmp_path: Path) -> None:
    Results(tmp_path, SETTINGS).write()
    with pytest.raises(ConfigError, match="made with another budget: repeat that command"):
        Results(tmp_path, SETTINGS | {"budget": 4})


def test_results_of_other_pairs_are_refused(tmp_path: Path) -> None:
    results = Results(tmp_path, SETTINGS)
    results.bind("a")
    results.bind("a")
    with pytest.raises(ConfigError, match="other pairs"):
        results.bind("b")


def test_a_file_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / RESULTS).write_text("[]", encoding="utf-8")
    with pytest.raises(ConfigError, match="no result of pacs-node ablate"):
        Results(tmp_path, SETTINGS)
