"""The sentences follow the figures: other figures, other sentences."""

from collections.abc import Callable

import pytest

from training.ablate.compare import Seen
from training.ablate.findings import Finding, findings
from training.ablate.plan import STUDIES, Cell, Study

Psnr = Callable[[Cell, int], float]
Told = Callable[[Psnr], Seen]
WORTH = {"none": 20.0, "static": 27.0, "dynamic_thresholding": 28.0, "dynamic_clipping": 30.0}


def as_published(cell: Cell, _seed: int) -> float:
    """Unbounded collapses, clipping is best, the paper's numbers are the best of each sweep."""
    worth = WORTH[cell.way.kind] + bool(cell.variant.offset_noise)
    worth -= abs(cell.variant.offset_noise - 0.1)
    if cell.way.omega is not None and cell.way.b is not None:
        worth -= abs(cell.way.omega - 3.0) / 10 + abs(cell.way.b - 1.4)
    return worth - 2 * cell.variant.scaled_condition - cell.variant.raw_latents


def the_other_way_round(cell: Cell, seed: int) -> float:
    return 56.0 - as_published(cell, seed)


def of(seen: Seen, study: Study) -> list[Finding]:
    return findings(seen, [study])


def test_figures_like_the_papers_bear_its_claims_out(told_by: Told) -> None:
    seen = told_by(as_published)
    claims = [finding for study in STUDIES for finding in of(seen, study) if finding.agrees]
    assert len(claims) == 9
    assert {finding.agrees for finding in claims} == {"yes"}


def test_opposite_figures_contradict_them(told_by: Told) -> None:
    seen = told_by(the_other_way_round)
    claims = [finding for study in STUDIES for finding in of(seen, study) if finding.agrees]
    assert {finding.agrees for finding in claims} == {"no"}


def test_equal_figures_decide_nothing(told_by: Told) -> None:
    claims = [finding.agrees for finding in of(told_by(lambda _cell, _seed: 28.0), "grid")[1:5]]
    assert claims == ["not clear"] * 4


def test_a_collapse_of_one_row_alone_is_told_as_partly(told_by: Told) -> None:
    seen = told_by(lambda cell, seed: 27.0 if cell.variant.offset_noise else as_published(cell, seed))
    first = of(seen, "grid")[0]
    assert first.agrees == "partly"
    assert "without offset noise bsr_tone -0.610, PSNR 19.9 dB (collapsed)" in first.seen
    assert "with offset noise bsr_tone 0.100, PSNR 27.0 dB (not collapsed)" in first.seen


def test_the_best_of_a_sweep_is_named_with_its_distance_to_the_papers(told_by: Told) -> None:
    seen = told_by(lambda cell, _seed: 28.0 + (cell.way.b or 0) / 10)
    (finding,) = of(seen, "b")
    assert finding.agrees == "no"
    assert "best at 4, against the paper's: bsr_tone better by 0.026" in finding.seen


@pytest.mark.parametrize(
    ("clean", "scaled", "words"),
    [
        (28.0, 20.0, "only with the scaled condition do unbounded samples collapse"),
        (28.0, 28.0, "do not collapse with the clean condition and do not collapse with the scaled one"),
        (20.0, 20.0, "collapse with the clean condition and collapse with the scaled one"),
    ],
)
def test_whether_the_mismatch_explains_the_collapse_is_read_from_the_cells(
    told_by: Told, clean: float, scaled: float, words: str
) -> None:
    seen = told_by(lambda cell, _seed: scaled if cell.variant.scaled_condition else clean)
    assert words in of(seen, "condition")[1].seen


def test_the_steps_at_which_a_way_collapses_are_listed(told_by: Told) -> None:
    seen = told_by(lambda cell, _seed: 20.0 if cell.way.kind == "none" and cell.way.steps < 100 else 28.0)
    clipped, free = of(seen, "steps")
    assert "collapsed at no number of steps" in clipped.seen
    assert "collapsed at 1, 2, 4, 10, 20, 50 steps" in free.seen


def test_the_papers_number_is_not_the_best_where_another_is_level_with_it(told_by: Told) -> None:
    """The seeds disagree on which of two is better, so a higher mean bears nothing out."""

    def psnr(cell: Cell, seed: int) -> float:
        if cell.way.b == 1:
            return 31.0 + (0.5 if seed else -0.6)
        return as_published(cell, seed)

    seen = told_by(psnr)
    (finding,) = of(seen, "b")
    assert finding.agrees == "not clear"
    assert "the best of those tried, but not clearly better than 1; " in finding.seen
