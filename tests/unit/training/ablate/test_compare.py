"""Paired differences, and when a cell counts as collapsed."""

import math
from collections.abc import Callable

import pytest

from training.ablate.compare import Seen
from training.ablate.findings import told
from training.ablate.measure import Measured
from training.ablate.plan import Cell, Variant
from training.ablate.tables import study_table

Told = Callable[[Callable[[Cell, int], float]], Seen]


def two(seen: Seen) -> tuple[Cell, Cell]:
    """With and without offset noise, both with dynamic clipping."""
    return Cell(seen.values.base, seen.values.way()), Cell(Variant(0.0), seen.values.way())


def test_a_difference_that_every_seed_shows_is_clear(told_by: Told) -> None:
    seen = told_by(lambda cell, _seed: 29.0 if cell.variant.offset_noise else 28.0)
    first, second = two(seen)
    found = seen.difference(first, second, "psnr")
    assert found.mean == pytest.approx(1.0)
    assert found.verdict == "better"
    assert seen.difference(second, first, "psnr").verdict == "worse"
    assert seen.difference(first, second, "lpips").verdict == "better"  # lower, which is better there


def test_a_difference_on_which_the_seeds_disagree_is_not_clear(told_by: Told) -> None:
    seen = told_by(lambda cell, seed: 28.0 + (2.0 if seed else -0.1) * bool(cell.variant.offset_noise))
    found = seen.difference(*two(seen), "psnr")
    assert found.mean == pytest.approx(0.95)
    assert not found.agreeing
    assert found.verdict == "no clear difference"


def test_equal_cells_do_not_differ(told_by: Told) -> None:
    seen = told_by(lambda _cell, _seed: 28.0)
    assert seen.difference(*two(seen), "bsr_tone").verdict == "no clear difference"


def test_the_deviation_is_over_pairs_and_not_over_seeds(told_by: Told) -> None:
    seen = told_by(lambda _cell, seed: 28.0 + seed)
    summary = seen.summary(two(seen)[0], "psnr")
    assert summary.mean == pytest.approx(28.5)
    assert summary.deviation == pytest.approx(0.0158, abs=1e-4)
    assert summary.by_seed == pytest.approx((28.0, 29.0))


def test_a_cell_has_collapsed_when_it_is_further_off_than_the_input(told_by: Told) -> None:
    seen = told_by(lambda cell, _seed: 25.9 if cell.way.kind == "none" else 26.1)
    assert seen.collapsed(Cell(seen.values.base, seen.values.way("none")))
    assert not seen.collapsed(Cell(seen.values.base, seen.values.way()))


def test_one_sample_that_is_no_number_is_a_collapse(told_by: Told) -> None:
    seen = told_by(lambda _cell, _seed: 30.0)
    cell = Cell(seen.values.base, seen.values.way("static"))
    rows = [{"psnr": math.nan, "bsr_tone": math.nan}, *[{"psnr": 30.0, "bsr_tone": 0.4}] * 3]
    seen.results.add_cell(cell, 1, Measured(rows, 1.0))
    assert seen.not_finite(cell) == pytest.approx(1 / 8)
    assert seen.collapsed(cell)
    assert seen.summary(cell, "psnr").mean == pytest.approx(30.0, abs=0.01)


def test_one_pair_has_no_deviation(told_by: Told) -> None:
    seen = told_by(lambda _cell, _seed: 28.0)
    for facts in seen.results.document["cells"].values():
        facts["scores"] = facts["scores"][:1]
    found = seen.summary(two(seen)[0], "psnr")
    assert found.mean == pytest.approx(27.98)
    assert math.isnan(found.deviation)
    cells = [row[1] for row in study_table(seen, "b", "b").rows]
    assert not any("±" in str(cell) for cell in cells)
    assert "on the one pair there is" in told(seen, *two(seen))
