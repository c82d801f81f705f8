"""Lesions have the mass and the size they are said to have, and lie where they are put."""

import numpy as np
import pytest

from training.lesions.shapes import NODULES, SIZES_MM, Kind, Sheet, catheter, consolidation, nodule, pneumothorax

SHEET = Sheet((400, 400), 0.5)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


@pytest.mark.parametrize(("kind", "density"), [("solid", 0.80), ("sub-solid", 0.32), ("calcified", 2.34)])
def test_a_nodule_weakens_the_beam_by_what_it_holds_more_than_lung(
    rng: np.random.Generator, kind: Kind, density: float
) -> None:
    peaks = [nodule(rng, kind, 20.0, (200, 200), SHEET).grams.max() for _ in range(5)]
    assert np.mean(peaks) == pytest.approx(density * 2.0, rel=0.2)  # 2 cm through the middle


@pytest.mark.parametrize("size", [5.0, 12.0, 30.0])
def test_a_nodule_is_as_wide_as_it_is_said_to_be(rng: np.random.Generator, size: float) -> None:
    areas = [(nodule(rng, "solid", size, (200, 200), SHEET).grams > 0.1 * 0.8 * size / 10).sum() for _ in range(8)]
    assert 2 * np.sqrt(np.mean(areas) * SHEET.mm**2 / np.pi) == pytest.approx(size, rel=0.15)


def test_every_kind_covers_three_to_thirty_millimetres() -> None:
    assert set(SIZES_MM) == set(NODULES)
    assert (min(SIZES_MM["solid"]), max(SIZES_MM["solid"])) == (3, 30)


@pytest.mark.parametrize("at", [(2, 2), (398, 200), (200, 397)])
def test_what_lies_at_the_edge_is_cut_off_there(rng: np.random.Generator, at: tuple[int, int]) -> None:
    for shadow in (nodule(rng, "solid", 20.0, at, SHEET), consolidation(rng, 40.0, at, SHEET)):
        image = np.zeros(SHEET.shape, np.float32)
        image[shadow.window] += shadow.grams
        assert image[at] > 0


def test_a_pneumothorax_is_a_line_with_air_beyond_it(rng: np.random.Generator) -> None:
    lung = np.zeros((400, 400), dtype=bool)
    lung[50:350, 40:180] = True
    shadow = pneumothorax(rng, lung, 0.5)
    assert shadow is not None
    assert shadow.beside is not None
    assert shadow.mark.max() > 0.1
    assert shadow.grams[shadow.beside].mean() < 0  # lung was taken away there
    assert abs(shadow.grams[~shadow.beside & (shadow.mark < 1e-4)].mean()) < 1e-3
    columns = np.flatnonzero((shadow.mark > 0.05).any(axis=0)) + shadow.left
    # the outer half of a lung on the left of the picture; it fades out until a twelfth of the width beyond the middle
    assert columns.max() < 40 + 140 * (1 / 2 + 1 / 12) + 1


def test_a_narrow_lung_has_no_room_for_a_pneumothorax(rng: np.random.Generator) -> None:
    lung = np.zeros((400, 400), dtype=bool)
    lung[50:350, 100:118] = True
    assert pneumothorax(rng, lung, 0.5) is None


def test_a_catheter_is_thin_and_lies_in_the_lung(rng: np.random.Generator) -> None:
    lung = np.zeros((400, 300), dtype=bool)
    lung[50:350, 150:280] = True
    shadow = catheter(rng, lung, 0.5)
    image = np.zeros(lung.shape, np.float32)
    image[shadow.window] += shadow.grams
    strong = image > 0.5 * image.max()
    assert not image[~lung].max(initial=0) > 0.7 * image.max()
    assert strong.any(axis=1).sum() > 150  # long
    assert strong.sum(axis=1).max() * 0.5 < 12  # and thin, mm, where it does not run across
