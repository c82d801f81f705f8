"""Curves enclose the areas that the tables state."""

import numpy as np
import pytest

from tests.unit.training.readers.small_study import answers, small_study
from training.readers.plots import curves, operating_points
from training.readers.roc import NOT_MARKED, auc_kernel, wafroc_kernel
from training.readers.score import Options, Result, score_study


def scored(cases: tuple[str, ...] = ("c1", "c2", "c3", "c4", "c5", "c6")) -> Result:
    told = [each for each in answers() if each.case in cases]
    return score_study(small_study(cases=cases), told, Options())


def test_a_curve_goes_through_every_threshold_and_ties_are_one_step() -> None:
    normal, diseased = np.array([10.0, 30.0, 30.0, NOT_MARKED]), np.array([30.0, 60.0])
    points = operating_points(normal, diseased, np.array([0.5, 0.5]))
    assert points.tolist() == [[0, 0], [0, 0.5], [0.5, 1], [0.75, 1], [1, 1]]


def test_the_area_below_is_the_figure_of_the_table() -> None:
    generator = np.random.default_rng(1)
    for _ in range(20):
        normal = generator.integers(0, 6, 9).astype(np.float64)
        normal[normal == 0] = NOT_MARKED
        cases = [generator.integers(0, 8, generator.integers(1, 4)).astype(np.float64) for _ in range(7)]
        for case in cases:
            case[case == 0] = NOT_MARKED
        votes = np.concatenate([np.full(len(case), 1 / len(case) / len(cases)) for case in cases])
        marks = operating_points(normal, np.concatenate(cases), votes)
        assert np.trapezoid(marks[:, 1], marks[:, 0]) == pytest.approx(wafroc_kernel(normal, cases).mean())
        highest = np.array([case.max() for case in cases])
        called = operating_points(normal, highest, np.full(len(cases), 1 / len(cases)))
        assert np.trapezoid(called[:, 1], called[:, 0]) == pytest.approx(auc_kernel(normal, highest).mean())


def test_the_same_study_gives_the_same_picture() -> None:
    picture = curves(scored().blocks)
    assert picture is not None
    assert b"<svg" in picture
    assert picture == curves(scored().blocks)


def test_cases_of_one_class_have_no_curve() -> None:
    assert curves(scored(("c1", "c2", "c3")).blocks) is None
