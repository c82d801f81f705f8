"""Obuchowski-Rockette with Hillis' degrees of freedom: a published study, simulated studies, and where it ends."""

import numpy as np
import pytest

from tests.unit.training.readers.van_dyke import AREAS, CINE, SPIN_ECHO, kernels_of
from training.readers.mrmc import Comparison, Generalises, compare_arms
from training.readers.roc import delong_covariance, jackknife_covariance, leave_one_out
from training.readers.roe_metz import GAIN, HIGH, LOW, Design, rates, simulate

WHOM: tuple[Generalises, ...] = ("readers and cases", "cases")
PRINTED = 5e-6  # the published print has five or more decimals


def van_dyke(readers: slice = slice(None)) -> Comparison:
    kernels = np.concatenate([kernels_of(SPIN_ECHO)[readers], kernels_of(CINE)[readers]])
    count = len(kernels) // 2
    covariance = jackknife_covariance(leave_one_out(kernels)).reshape(2, count, 2, count)
    return compare_arms(kernels.mean(axis=(1, 2)).reshape(2, count), covariance)


def test_areas_of_the_published_study_are_the_published_ones() -> None:
    assert van_dyke().figures == pytest.approx(np.array(AREAS), abs=5e-9)


def test_components_of_the_published_study_are_the_published_ones() -> None:
    found = van_dyke().components
    printed = (0.00479617, 0.00055103, 0.00080229, 0.00034661, 0.00034407, 0.00023903)
    ours = (found.ms_arm, found.ms_interaction, found.variance, found.cov1, found.cov2, found.cov3)
    assert ours == pytest.approx(printed, abs=5e-9)


def test_random_readers_and_cases_give_f_4_46_and_p_0517() -> None:
    found = van_dyke().holding_for("readers and cases")
    assert found is not None
    assert (found.difference / found.standard_error) ** 2 == pytest.approx(4.46, abs=0.005)
    assert found.df == pytest.approx(15.26, abs=0.005)
    assert found.p == pytest.approx(0.0517, abs=5e-5)
    assert (found.difference, found.standard_error) == pytest.approx((0.04380032, 0.02075), abs=PRINTED)
    assert (found.low, found.high) == pytest.approx((-0.00036, 0.08796), abs=PRINTED)


def test_fixed_readers_give_p_0193_and_fixed_cases_p_0420() -> None:
    cases, readers = van_dyke().holding_for("cases"), van_dyke().holding_for("readers")
    assert cases is not None
    assert readers is not None
    assert cases.p == pytest.approx(0.0193, abs=5e-5)
    assert cases.df == np.inf
    assert (cases.low, cases.high, cases.standard_error) == pytest.approx((0.00711, 0.08049, 0.01872), abs=PRINTED)
    assert readers.p == pytest.approx(0.0420, abs=5e-5)
    assert readers.df == 4
    assert (readers.low, readers.high, readers.standard_error) == pytest.approx(
        (0.00258, 0.08502, 0.01485), abs=PRINTED
    )


def test_limits_of_one_arm_are_the_published_ones() -> None:
    first, second = van_dyke().arms
    printed = (0.89703704, 0.03317360, 0.82522360, 0.96885048)
    assert (first.mean, first.standard_error, first.low, first.high) == pytest.approx(printed, abs=5e-8)
    printed = (0.94083736, 0.02156637, 0.89413783, 0.98753689)
    assert (second.mean, second.standard_error, second.low, second.high) == pytest.approx(printed, abs=5e-8)
    assert (first.df, second.df) == pytest.approx((12.74, 12.71), abs=0.005)


def test_one_reader_allows_only_the_claim_about_cases_and_it_is_the_published_one() -> None:
    found = van_dyke(slice(4, 5))
    assert [each.generalises_to for each in found.inferences] == ["cases"]
    only = found.inferences[0]
    assert (only.difference, only.standard_error) == pytest.approx((0.10016, 0.04406), abs=PRINTED)
    assert only.p == pytest.approx(0.0230, abs=5e-5)


def test_equal_arms_have_no_p_value_rather_than_a_significant_one() -> None:
    kernels = np.concatenate([kernels_of(CINE), kernels_of(CINE)])
    covariance = delong_covariance(kernels).reshape(2, 5, 2, 5)
    found = compare_arms(kernels.mean(axis=(1, 2)).reshape(2, 5), covariance)
    for each in found.inferences:
        assert each.difference == 0
        assert not each.p < 1


def test_simulated_studies_without_a_difference_are_significant_about_one_time_in_twenty() -> None:
    """400 studies: with a true rate of .05, three deviations are .017 to .083. 2,000 are in docs/evidence."""
    found = rates(Design(LOW, readers=4, cases=25, gain=GAIN), studies=400, seed=17)
    assert 0.017 < found.significant < 0.083
    assert 0.917 < found.covered < 0.983


def test_treating_readers_as_fixed_would_be_significant_too_often_where_readers_differ() -> None:
    """Why two claims are given: readers gain differently, and a claim about these readers is not one about others."""
    studies = simulate(Design(HIGH, readers=4, cases=50), seed=23)
    found = [study for study, _ in zip(studies, range(300), strict=False)]
    rate = {whom: np.mean([each.p < 0.05 for study in found if (each := study.holding_for(whom))]) for whom in WHOM}
    assert rate["readers and cases"] < 0.09
    assert rate["cases"] > rate["readers and cases"] + 0.03


def test_the_true_difference_of_simulated_studies_is_that_of_many_cases() -> None:
    """60 studies of 3 readers and 400 cases: their mean is known to about .004."""
    studies = simulate(Design(LOW, readers=3, cases=400, gain=GAIN), seed=31)
    mean = np.mean([next(studies).inferences[0].difference for _ in range(60)])
    assert mean == pytest.approx(Design(LOW, 3, 400, GAIN).difference, abs=0.012)
