"""Figures of lesions whose fate is known."""

import numpy as np
import pytest

from pacs_node.records import FloatImage
from training.lesions.measure import Four, false_structures, remains
from training.lesions.shapes import Shadow, Sheet, nodule

MM = 0.5
SHEET = Sheet((300, 300), MM)


@pytest.fixture
def shadow() -> Shadow:
    return nodule(np.random.default_rng(0), "solid", 12.0, (150, 150), SHEET)


@pytest.fixture
def ribs() -> FloatImage:
    rows = np.arange(300)[:, None] * np.ones(300)
    return (0.4 + 0.1 * (rows % 50 < 20)).astype(np.float32)


def with_lesion(image: FloatImage, shadow: Shadow, strength: float) -> FloatImage:
    marked = image.copy()
    marked[shadow.window] += np.float32(strength) * shadow.grams
    return marked


def test_what_is_untouched_is_kept_whole(shadow: Shadow, ribs: FloatImage) -> None:
    marked = with_lesion(ribs, shadow, 0.1)
    found = remains(Four(ribs, ribs, marked, marked, MM), shadow)
    assert (found.kept, found.projected, found.correlation, found.dice) == pytest.approx((1, 1, 1, 1), abs=1e-4)
    assert found.to_noise_gain == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_share_of_the_contrast_is_found_again(shadow: Shadow, ribs: FloatImage, share: float) -> None:
    four = Four(ribs, ribs, with_lesion(ribs, shadow, 0.1), with_lesion(ribs, shadow, 0.1 * share), MM)
    found = remains(four, shadow)
    assert (found.kept, found.projected) == pytest.approx((share, share), abs=1e-4)
    assert found.correlation == pytest.approx(1, abs=1e-4)


def test_without_ribs_the_lesion_stands_out_more(shadow: Shadow, ribs: FloatImage) -> None:
    rng = np.random.default_rng(1)
    soft = (0.4 + 0.01 * rng.standard_normal(ribs.shape)).astype(np.float32)
    four = Four(ribs, soft, with_lesion(ribs, shadow, 0.1), with_lesion(soft, shadow, 0.08), MM)
    found = remains(four, shadow)
    assert found.kept == pytest.approx(0.8, abs=1e-3)
    assert found.to_noise_gain > 2


def test_half_of_a_lesion_has_another_shape(shadow: Shadow, ribs: FloatImage) -> None:
    cut = with_lesion(ribs, shadow, 0.1)
    cut[150:] = ribs[150:]
    found = remains(Four(ribs, ribs, with_lesion(ribs, shadow, 0.1), cut, MM), shadow)
    assert found.dice < 0.8
    assert found.correlation < 0.9


def test_a_lesion_that_is_gone_has_no_contrast_and_no_shape(shadow: Shadow, ribs: FloatImage) -> None:
    found = remains(Four(ribs, ribs, with_lesion(ribs, shadow, 0.1), ribs, MM), shadow)
    assert (found.kept, found.dice) == pytest.approx((0, 0), abs=1e-6)


def test_a_reader_sees_rib_and_lesion_together(ribs: FloatImage) -> None:
    on_a_rib = nodule(np.random.default_rng(0), "solid", 8.0, (160, 150), SHEET)
    marked = with_lesion(ribs, on_a_rib, 0.1)
    found = remains(Four(ribs, ribs, marked, marked, MM), on_a_rib)
    assert found.read_in > found.contrast_in + 0.01


def test_a_blob_elsewhere_is_a_false_structure_and_one_below_the_step_is_none(shadow: Shadow, ribs: FloatImage) -> None:
    marked = with_lesion(ribs, shadow, 0.1)
    for step, blobs in ((0.05, 1), (0.01, 0)):
        after = marked.copy()
        after[30:50, 30:50] += np.float32(step)
        found = false_structures(Four(ribs, ribs, marked, after, MM), [shadow], spread=1.0)
        assert found.blobs == blobs
        assert found.strongest == pytest.approx(step, rel=0.05)


def test_what_changes_in_the_lesion_itself_is_no_false_structure(shadow: Shadow, ribs: FloatImage) -> None:
    four = Four(ribs, ribs, with_lesion(ribs, shadow, 0.2), ribs, MM)
    assert false_structures(four, [shadow], spread=1.0).blobs == 0
