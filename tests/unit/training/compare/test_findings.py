"""The sentences say what the figures say."""

from pathlib import Path

import pytest

from training.compare.findings import findings
from training.compare.ground import HeldOut
from training.compare.measure import Measured
from training.compare.page import Pictures, as_html, as_markdown
from training.compare.result import Comparison, Row, SetResult
from training.evaluate.cases import Case, Twins

KEYS = (
    "bsr_tone",
    "bsr_tone_lungs",
    "ribs_left",
    "lpips",
    "ms_ssim",
    "psnr",
    "psnr_fitted",
    "mse",
    "bsr_strict",
    "bsr_paper",
)
PEOPLE = 12


def _never() -> Twins:
    raise AssertionError("nothing is read for a sentence")


def _measured(**means: float) -> Measured:
    """Images that differ in difficulty, the same for every system."""
    scores = {f"case{n}": {key: means.get(key, 0.5) + 0.1 * n / PEOPLE for key in KEYS} for n in range(PEOPLE)}
    return Measured(scores, [0.25] * PEOPLE)


def _comparison(*, simulated: bool = True, **of: Measured) -> Comparison:
    cases = tuple(Case(f"case{n}", "s", True, _never) for n in range(PEOPLE))
    held_out = HeldOut("test", "12 pairs", cases, {case.name: case.name for case in cases}, simulated)
    kinds = {"identity": "trivial", "ships": "ships"}
    rows = tuple(
        Row(key, key.upper(), kinds.get(key, "system"), "small", 1_000_000, 2e9, {"stage": 10}, 12.0)  # type: ignore[arg-type]
        for key in of
    )
    return Comparison({"command": "pacs-node compare"}, rows, (SetResult(held_out, of),))


UNTOUCHED = _measured(bsr_tone=0.0, lpips=0.9, mse=0.9, psnr=0.1)


def test_it_says_where_ours_leads_and_where_it_does_not() -> None:
    comparison = _comparison(
        identity=UNTOUCHED,
        gusarev=_measured(bsr_tone=0.3, lpips=0.2, psnr=0.4),
        control=_measured(bsr_tone=0.4, lpips=0.3, psnr=0.5),
        ours=_measured(bsr_tone=0.6, lpips=0.25, psnr=0.5),
    )
    told = {sentence.partition("**:")[0].strip("* "): sentence for sentence in findings(comparison, comparison.sets[0])}
    assert "ours leads (0.646 against 0.446 of CONTROL" in told["bsr_tone"]
    assert "ours does not lead, GUSAREV does" in told["LPIPS"]
    assert "cannot be told apart" in told["PSNR"]


def test_who_is_no_better_than_the_input_is_named() -> None:
    good = _measured(bsr_tone=0.5, lpips=0.2, mse=0.1, psnr=0.9, bsr_tone_lungs=0.6, ms_ssim=0.6, psnr_fitted=0.6)
    worse = _measured(bsr_tone=-0.5)
    for scores in good.scores.values():
        scores |= {"bsr_strict": 2.0, "bsr_paper": 2.0}
    comparison = _comparison(identity=UNTOUCHED, gusarev=worse, ours=good)
    first = findings(comparison, comparison.sets[0])[0]
    assert "1 of 2 systems are better" in first
    assert "GUSAREV in bsr_tone (better on 0 of 12 pairs)" in first
    comparison = _comparison(identity=UNTOUCHED, ours=good)
    assert "Every one of the 1" in findings(comparison, comparison.sets[0])[0]


def test_a_mean_that_few_pairs_pull_down_is_told_with_the_pairs() -> None:
    mixed = _measured(bsr_tone=0.2, lpips=0.2, mse=0.1, psnr=0.9)
    mixed.scores["case3"]["bsr_tone"] = -9.0
    comparison = _comparison(identity=UNTOUCHED, gusarev=mixed)
    assert "GUSAREV in bsr_tone (better on 11 of 12 pairs)" in findings(comparison, comparison.sets[0])[0]


def test_what_ships_competes_with_nobody() -> None:
    comparison = _comparison(
        identity=UNTOUCHED, control=_measured(bsr_tone=0.4), ours=_measured(bsr_tone=0.5), ships=_measured(bsr_tone=0.9)
    )
    told = findings(comparison, comparison.sets[0])
    assert "does not compete" in told[-1]
    assert any(sentence.startswith("**bsr_tone**: ours leads") for sentence in told)


@pytest.mark.parametrize("write", [as_markdown, as_html])
def test_a_page_holds_every_row_and_every_sentence(write: object) -> None:
    comparison = _comparison(identity=UNTOUCHED, control=_measured(bsr_tone=0.4), ours=_measured(bsr_tone=0.5))
    page = (as_markdown if write is as_markdown else as_html)(comparison, 64, {})
    for row in comparison.rows:
        assert row.title in page
    for sentence in findings(comparison, comparison.sets[0]):
        assert sentence.partition("**:")[2].strip()[:40] in page
    assert "pacs-node compare" in page
    assert str(Path.home()) not in page


def _told(comparison: Comparison) -> dict[str, str]:
    sentences = findings(comparison, comparison.sets[0])
    return {sentence.partition("**:")[0].strip("* "): sentence for sentence in sentences}


def test_ours_and_the_best_are_not_called_the_best_two_where_others_lie_between() -> None:
    noisy = _measured(psnr=0.5)
    for number, scores in enumerate(noisy.scores.values()):
        scores["psnr"] += 0.1 * (-1) ** number + 0.02
    between = _measured(psnr=0.51)
    told = _told(_comparison(identity=UNTOUCHED, gusarev=noisy, control=between, ours=_measured(psnr=0.5)))["PSNR"]
    assert "ours is not first (0.55 against 0.57 of GUSAREV" in told
    assert told.endswith("the two cannot be told apart.")


def test_of_equal_means_nobody_is_ahead() -> None:
    told = _told(_comparison(identity=UNTOUCHED, control=_measured(psnr=0.5), ours=_measured(psnr=0.5)))["PSNR"]
    assert "nobody is ahead of ours (0.55 against 0.55" in told


def test_nothing_is_said_about_lungs_that_were_found_in_no_pair() -> None:
    rows = {"identity": UNTOUCHED, "control": _measured(bsr_tone=0.5), "ours": _measured(bsr_tone=0.6)}
    for key, measured in rows.items():
        scores = {name: each | {"bsr_tone_lungs": float("nan")} for name, each in measured.scores.items()}
        rows[key] = Measured(scores, measured.seconds)
    comparison = _comparison(simulated=True, **rows)
    told = " ".join(findings(comparison, comparison.sets[0]))
    assert "lungs" not in told
    assert "nan" not in told


def test_a_system_without_a_number_is_not_the_best() -> None:
    broken, good = _measured(bsr_tone=0.3), _measured(bsr_tone=0.3)
    for scores in broken.scores.values():
        scores["bsr_tone"] = float("nan")
    rows = {"identity": UNTOUCHED, "gusarev": broken, "control": good, "ours": _measured(bsr_tone=0.1)}
    told = findings(
        comparison := _comparison(simulated=True, **rows, ships=_measured(bsr_tone=0.9)), comparison.sets[0]
    )
    assert "lies above the best of this budget, CONTROL with 0.346" in told[-1]


def test_one_pair_has_no_deviation() -> None:
    one = Measured({"case0": UNTOUCHED.scores["case0"]}, [0.1])
    assert "± 0.0" not in as_markdown(_comparison(identity=one, ours=one), 128, {})


def test_a_picture_of_a_folder_with_a_space_in_its_name_is_linked() -> None:
    page = as_markdown(_comparison(identity=UNTOUCHED), 128, {"test": Pictures({}, "page-my set.jpg")})
    assert "(page-my%20set.jpg)" in page
