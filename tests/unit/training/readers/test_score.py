"""Known answers give the known table; what is missing is said, and the rest is scored."""

import math
from collections.abc import Mapping
from datetime import timedelta
from fractions import Fraction

import pytest

from pacs_node.errors import ConfigError
from tests.unit.training.readers.small_study import CASES, READERS, answer, answers, small_study
from training.readers.page import as_page
from training.readers.records import Answer, Arm, Study
from training.readers.score import Figure, Options, Result, score_study

# By hand, of `small_study`. Lesions A (c1), B and C (c2), D (c3): 4; cases with: 3, without: 3.
#
#                      r1 without           r1 with              r2 without            r2 with
# hits at 0            A60                  A90 B70 C30          B80 D40               A70 B90 C60 D50
# false marks at 0     c3:40 c5:30          c5:30                c5:50                 c5:20
# recall at 0          1/4                  3/4                  2/4                   4/4
# precision at 0       1/(1+2)              3/(3+1)              2/(2+1), B once       4/(4+1)
# F1 at 0              2*1/(1+2+4)          2*3/(3+1+4)          2*2/(2+1+4)           2*4/(4+1+4)
# false marks a case   2/6                  1/6                  1/6                   1/6
# recall at 50         A: 1/4               A B: 2/4             B: 1/4                4/4
# precision at 50      1/1                  2/2                  B, and c5: 1/2        4/4
# F1 at 50             2/(1+0+4)            4/(2+0+4)            2/(1+1+4)             8/(4+0+4)
# confidence, with     60 20 40             90 70 20             30 80 40              70 90 50
# confidence, without  10 30 0              0 30 10              0 50 10               0 20 10
# pairs right (AUC)    3+2+3 of 9           3+3+2                2+3+2                 3+3+3
# highest false mark   -, 30, -             -, 30, -             -, 50, -              -, 20, -
# wAFROC: c1           1+1+1                1+1+1                1/2+0+1/2             3
#         c2           1/2+0+1/2            1+3/4+1 (C ties)     3/4+1/2+3/4 (C none)  3
#         c3           1/2+0+1/2            1/2+0+1/2            1+0+1                 3
#         sum of 9     5                    6 3/4                5                     9
# sensitivity at 50    c1: 1/3              c1 c2: 2/3           c2: 1/3               3/3
# specificity at 50    3/3                  3/3                  c5 wrong: 2/3         3/3
TABLE: Mapping[tuple[str, int | None], tuple[Fraction, Fraction, Fraction, Fraction]] = {
    ("auc", None): (Fraction(8, 9), Fraction(8, 9), Fraction(7, 9), Fraction(1)),
    ("wafroc", None): (Fraction(5, 9), Fraction(27, 36), Fraction(5, 9), Fraction(1)),
    ("recall", 0): (Fraction(1, 4), Fraction(3, 4), Fraction(1, 2), Fraction(1)),
    ("precision", 0): (Fraction(1, 3), Fraction(3, 4), Fraction(2, 3), Fraction(4, 5)),
    ("f1", 0): (Fraction(2, 7), Fraction(6, 8), Fraction(4, 7), Fraction(8, 9)),
    ("false_marks", 0): (Fraction(2, 6), Fraction(1, 6), Fraction(1, 6), Fraction(1, 6)),
    ("recall", 50): (Fraction(1, 4), Fraction(1, 2), Fraction(1, 4), Fraction(1)),
    ("precision", 50): (Fraction(1), Fraction(1), Fraction(1, 2), Fraction(1)),
    ("f1", 50): (Fraction(2, 5), Fraction(2, 3), Fraction(1, 3), Fraction(1)),
    ("false_marks", 50): (Fraction(0), Fraction(0), Fraction(1, 6), Fraction(0)),
    ("sensitivity", 50): (Fraction(1, 3), Fraction(2, 3), Fraction(1, 3), Fraction(1)),
    ("specificity", 50): (Fraction(1), Fraction(1), Fraction(2, 3), Fraction(1)),
}


def score(study: Study | None = None, given: list[Answer] | None = None, **options: object) -> Result:
    found = answers() if given is None else given
    return score_study(study or small_study(), found, Options(draws=200, **options))  # type: ignore[arg-type]


def figure(result: Result, key: str, at: int | None = None) -> Figure:
    return next(each for each in result.figures if (each.key, each.at) == (key, at))


def test_known_answers_give_the_table_that_was_counted_by_hand() -> None:
    result = score()
    assert {(each.key, each.at) for each in result.figures} == set(TABLE)
    cells = [("r1", "without"), ("r1", "with"), ("r2", "without"), ("r2", "with")]
    for (key, at), expected in TABLE.items():
        found = figure(result, key, at)
        values = [found.each[reader][arm].value for reader, arm in cells]  # type: ignore[index]
        assert values == pytest.approx([float(value) for value in expected]), (key, at)


def test_known_answers_give_the_known_difference_and_mean_squares() -> None:
    """AUC: means 15/18 and 17/18; readers 16/18 and 16/18; every residual of the four cells is 1/18."""
    comparison = figure(score(), "auc").comparison
    assert comparison is not None
    assert [arm.mean for arm in comparison.arms] == pytest.approx([15 / 18, 17 / 18])
    assert comparison.components.ms_arm == pytest.approx(2 * 2 / 18**2)
    assert comparison.components.ms_interaction == pytest.approx(4 / 18**2)
    recall = figure(score(), "recall", 0).comparison
    assert recall is not None
    assert [each.difference for each in recall.inferences] == pytest.approx([1 / 2] * 3)


def test_known_scores_give_the_known_means_medians_and_agreement() -> None:
    """Vessels. r1: 3 3 2 3 2 1, r2: 3 3 3 3 2 2.

    AC2: agreement (4 x 1 + 2 x 3/4) / 6 = 11/12; shares of 1, 2, 3 are 1/12, 4/12, 7/12 and the weights add to 6, so by
    chance (6 / 6)(11 + 32 + 35)/144 = 13/24; (11/12 - 13/24) / (1 - 13/24) = 9/11.
    Kappa: squared differences 2/6; variances 5/9 and 2/9, means apart by 1/3: 1 - (1/3) / (5/9 + 2/9 + 1/9) = 5/8.
    """
    vessels = next(each for each in score().criteria if each.criterion == "vessels")
    assert vessels.arm == "with"
    assert [each.reader for each in vessels.each] == ["r1", "r2", "all"]
    assert [each.mean for each in vessels.each] == pytest.approx([14 / 6, 16 / 6, 30 / 12])
    assert [each.median for each in vessels.each] == [2.5, 3, 3]
    assert [each.counts for each in vessels.each] == [(1, 2, 3), (0, 2, 4), (1, 4, 7)]
    assert vessels.ac2 is not None
    assert vessels.kappa is not None
    assert (vessels.ac2.value, vessels.kappa.value) == pytest.approx((9 / 11, 5 / 8))


def test_lesions_found_only_with_the_companion_give_mcnemars_p() -> None:
    """r1: B and C are new; r2: A and C; none is lost: 2 x (1/2)^2 = 1/2 for both."""
    assert figure(score(), "recall", 0).changes == pytest.approx({"r1": 0.5, "r2": 0.5})


def test_reading_time_is_a_ratio_of_geometric_means() -> None:
    (time,) = score().times
    assert time.comparison is not None
    assert math.exp(time.comparison.inferences[0].difference) == pytest.approx(30 / 20)


def test_what_never_varies_has_no_limits_and_no_p_value() -> None:
    """Every reading took 20 or 30 s: nothing is known of how reading times vary."""
    (time,) = score().times
    assert time.comparison is not None
    assert all(math.isnan(each.p) and math.isnan(each.low) for each in time.comparison.inferences)


def test_one_reader_is_scored_without_a_claim_about_readers() -> None:
    result = score(readers=("r2",))
    comparison = figure(result, "auc").comparison
    assert comparison is not None
    assert [each.generalises_to for each in comparison.inferences] == ["cases"]
    assert any("One reader" in told for told in result.warnings)
    assert next(each for each in result.criteria if each.criterion == "vessels").ac2 is None


def test_an_unfinished_study_is_scored_on_the_cases_that_both_readers_finished_in_both_arms() -> None:
    """r1 has not read c6 with its companion, and r2 has only begun it: c1 to c5 are compared, with 2 normal cases."""
    given = [each for each in answers() if (each.reader, each.case, each.arm) != ("r1", "c6", "with")]
    given.append(answer("r2", "with", "c6", kind="marks"))
    result = score(given=given)
    assert result.blocks[0].cases == CASES[:5]
    # r1 without: confidences 60 20 40 against 10 30 -> 2 + 1 + 2 of 6
    assert figure(result, "auc").each["r1"]["without"].value == pytest.approx(5 / 6)
    assert any("missing: 1 of r1, 1 of r2" in told for told in result.warnings)


def test_a_reader_who_finished_next_to_nothing_does_not_take_the_others_cases_away() -> None:
    study = small_study((*READERS, "r3"))
    late = answer("r1", "without", "c1").model_copy(update={"reader": "r3"})
    result = score(study, [*answers(), late, answer("r1", "with", "c1").model_copy(update={"reader": "r3"})])
    assert result.blocks[0].readers == READERS
    assert result.blocks[0].cases == CASES
    assert any("r3" in told and "left out" in told for told in result.warnings)


def test_cases_without_truth_count_in_scores_and_times_and_not_in_detection() -> None:
    result = score(small_study(unknown=("c6",)))
    assert result.blocks[0].cases == CASES[:5]
    assert next(each for each in result.criteria if each.criterion == "vessels").each[-1].counts == (1, 4, 7)
    assert any("1 of 6 cases have no truth" in told for told in result.warnings)


def test_a_study_without_any_truth_has_scores_and_times_alone() -> None:
    result = score(small_study(unknown=CASES))
    assert result.figures == ()
    assert len(result.criteria) == 3
    assert len(result.times) == 1


def test_without_normal_cases_areas_are_refused_with_the_reason_and_recall_is_given() -> None:
    result = score(small_study(cases=CASES[:3]), answers(cases=CASES[:3]))
    auc = figure(result, "auc")
    assert auc.comparison is None
    assert "there are 3 with and 0 without" in auc.reason
    assert figure(result, "recall", 0).each["r2"]["with"].value == 1
    assert figure(result, "specificity", 50).reason


def test_one_arm_alone_has_its_figures_and_no_comparison() -> None:
    arms: tuple[Arm, ...] = ("with",)
    result = score(given=answers(arms=arms))
    recall = figure(result, "recall", 0)
    assert recall.comparison is None
    assert recall.means["with"].mean == pytest.approx(7 / 8)
    assert any("nothing to compare" in told for told in result.warnings)


def test_the_last_answer_counts_and_a_reopened_case_is_not_finished() -> None:
    again = answer("r1", "with", "c3").model_copy(update={"case_confidence": 99})
    assert figure(score(given=[*answers(), again]), "auc").each["r1"]["with"].value == pytest.approx(1)
    reopened = score(given=[*answers(), answer("r1", "with", "c3", kind="marks")])
    assert "c3" not in reopened.blocks[0].cases


def test_without_case_confidences_the_highest_mark_rates_a_case() -> None:
    """r1 without: with lesions 60, -, 40 against -, 30, -: (3) + (1/2 + 0 + 1/2) + (3) of 9."""
    given = [each.model_copy(update={"case_confidence": None}) for each in answers()]
    result = score(given=given)
    assert not result.readings.by_case_confidence
    assert figure(result, "auc").each["r1"]["without"].value == pytest.approx(7 / 9)


def test_nobody_finished_anything_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="nobody has answered yet: pacs-node reader-study read"):
        score(given=[])
    with pytest.raises(ConfigError, match="none was finished"):
        score(given=[answer("r1", "with", "c1", kind="marks")])


def test_a_reader_of_another_study_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="nobody: this study has the readers r1, r2"):
        score(readers=("nobody",))


def test_answers_outside_of_the_plan_are_passed_over_and_counted() -> None:
    strange = answer("r1", "with", "c1").model_copy(update={"session": 9})
    assert any("1 answers belong to no reading" in told for told in score(given=[*answers(), strange]).warnings)


def test_practice_is_never_scored() -> None:
    plan = small_study().plan
    practised = [each.model_copy(update={"session": 0}) if each.case == "c6" else each for each in plan]
    study = small_study().model_copy(update={"plan": tuple(practised)})
    given = [each.model_copy(update={"session": 0}) if each.case == "c6" else each for each in answers()]
    result = score(study, given)
    assert result.blocks[0].cases == CASES[:5]
    assert result.readings.progress[0].planned == 10


def test_cases_read_again_too_soon_are_counted() -> None:
    """31 days lie between the sessions of the small study, and 28 are asked for."""
    assert not any("washout" in told for told in score().warnings)
    first = answer("r1", "without", "c1").at
    hasty = answer("r1", "with", "c1").model_copy(update={"at": first + timedelta(days=3)})
    assert any(
        "1 cases were read again before the 28 days" in told for told in score(given=[*answers(), hasty]).warnings
    )


def test_a_reader_who_is_named_twice_is_one_reader() -> None:
    once, twice = score(readers=("r1",)), score(readers=("r1", "r1"))
    assert [each.reader for each in twice.readings.progress] == ["r1"]
    assert twice.warnings == once.warnings
    comparison = figure(twice, "auc").comparison
    assert comparison is not None
    assert comparison.holding_for("readers and cases") is None
    assert twice.criteria[0].ac2 is None  # nobody agrees with himself


def test_cases_to_practise_on_are_in_no_count_of_truths() -> None:
    study = small_study(unknown=("c6",))
    plan = [each.model_copy(update={"session": 0} if each.case == "c6" else {}) for each in study.plan]
    study = study.model_copy(update={"plan": tuple(plan)})
    result = score(study, answers(cases=CASES[:5]))
    assert not any("no truth" in warning for warning in result.warnings)
    assert "| cases | 5, of which 3 with 4 lesions and 2 without |" in as_page(result, {})


def test_what_both_arms_have_in_common_is_told_once() -> None:
    result = score(given=[*answers(("r1",), arms=("with",)), *answers(("r2",), arms=("without",))])
    assert len(result.warnings) == len(set(result.warnings))
