"""Views, bones laid in another's body, and what is drawn onto a CT body."""

from dataclasses import replace

import numpy as np
import pytest

from training.simulate.align import outline, walk_over
from training.simulate.anatomy import Anatomy
from training.simulate.dress import dress
from training.simulate.frame import Box, Warp, box_of, draw_warp

SIZE = 128


def lungs(top: float, bottom: float, left: float, right: float) -> np.ndarray:
    """A mask of one ellipse whose box is given in shares of the side."""
    at = (np.arange(SIZE) + 0.5) / SIZE
    v = (at[:, None] - (top + bottom) / 2) / ((bottom - top) / 2)
    u = (at[None, :] - (left + right) / 2) / ((right - left) / 2)
    return np.asarray(u**2 + v**2 < 1)


def straight() -> Warp:
    at = ((np.arange(SIZE) + 0.5) / SIZE).astype(np.float32)
    return Warp(np.broadcast_to(at[:, None], (SIZE, SIZE)), np.broadcast_to(at[None, :], (SIZE, SIZE)))


def test_bones_follow_the_outline_of_the_lungs_they_are_laid_over() -> None:
    body, donor = lungs(0.2, 0.7, 0.15, 0.85), lungs(0.3, 0.9, 0.3, 0.7)
    laid = walk_over(straight(), outline(body), outline(donor))
    row = int(0.45 * SIZE)  # the middle of the body's lungs
    for column, expected in ((0.15, 0.3), (0.5, 0.5), (0.85, 0.7)):
        # 2 px: the outline of a mask, smoothed
        assert laid.columns[row, int(column * SIZE)] == pytest.approx(expected, abs=2 / SIZE)
    assert laid.rows[row, 0] == pytest.approx(0.6, abs=2 / SIZE)


def test_a_lung_full_of_fluid_does_not_bend_the_spine() -> None:
    whole = lungs(0.2, 0.8, 0.2, 0.8)
    effusion = whole.copy()
    effusion[int(0.55 * SIZE) :, : SIZE // 2] = False
    laid = walk_over(straight(), outline(whole), outline(effusion))
    spine = laid.columns[int(0.25 * SIZE) : int(0.78 * SIZE), SIZE // 2]
    # 3 px: an eighth of the lungs' width would be scoliosis
    assert np.abs(spine - 0.5).max() < 3 / SIZE


def test_bones_end_where_their_picture_ends() -> None:
    edge = straight()
    beyond = Warp(edge.rows + 0.25, edge.columns)
    assert beyond.inside()[: int(0.7 * SIZE)].all()
    assert not beyond.inside()[int(0.8 * SIZE) :].any()


def test_the_same_outline_moves_nothing() -> None:
    here = outline(lungs(0.2, 0.8, 0.2, 0.8))
    laid = walk_over(straight(), here, here)
    assert np.abs(laid.rows - straight().rows).max() < 1e-5
    assert np.abs(laid.columns - straight().columns).max() < 1e-5


def test_most_pictures_show_both_lungs_and_few_are_mirrored() -> None:
    box: Box = (0.5, 0.5, 0.3, 0.32)
    whole, mirrored = 0, 0
    for seed in range(60):
        warp = draw_warp(np.random.default_rng(seed), 32, lungs=box)
        seen = (warp.rows.min() < 0.2, warp.rows.max() > 0.8, warp.columns.min() < 0.18, warp.columns.max() > 0.82)
        whole += all(seen)
        mirrored += warp.columns[16, 0] > warp.columns[16, -1]
    assert whole > 40
    assert mirrored < 6


@pytest.fixture
def scanned() -> Anatomy:
    """A slab of soft tissue with lungs in it, as a CT gives it: without disease."""
    mask = lungs(0.2, 0.75, 0.15, 0.85)
    mask[:, 60:68] = False
    soft = np.full((SIZE, SIZE), 18.0, np.float32)
    soft[mask] = 8.0
    return Anatomy(soft, np.zeros((3, SIZE, SIZE), np.float32), mask, 0, air=np.where(mask, 14.0, 0).astype(np.float32))


def test_a_scanned_body_is_dressed_in_the_soft_tissue_of_both_twins(scanned: Anatomy) -> None:
    dressed = [dress(scanned, np.random.default_rng(seed)) for seed in range(4)]
    for other in dressed:
        assert np.array_equal(other.bones, scanned.bones)
        assert other.soft.min() >= 0
        assert np.abs(other.soft - scanned.soft).mean() > 0.05
    assert np.abs(dressed[0].soft - dressed[1].soft).mean() > 0.05


def test_a_phantom_is_not_dressed_twice(scanned: Anatomy) -> None:
    phantom = replace(scanned, air=None)
    assert dress(phantom, np.random.default_rng(0)) is phantom


def test_the_box_of_an_empty_mask_is_the_middle() -> None:
    assert box_of(np.zeros((8, 8), dtype=bool)) == (0.5, 0.5, 0.25, 0.25)
