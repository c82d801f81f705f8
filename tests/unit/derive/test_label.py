"""The burned-in label: in the quietest corner, readable, and never denied."""

import numpy as np
import pytest

from pacs_node.config import OutputSettings
from pacs_node.derive.label import burn_label
from tests.sources import companion_of, inference, source


def test_the_label_is_burned_into_the_darkest_corner_and_nowhere_else() -> None:
    ds = source()
    plain = inference(ds).soft_tissue
    made = companion_of(ds, OutputSettings())
    labelled, box = burn_label(plain, 12)
    assert box is not None
    assert (box.bottom, box.left) == (301, 0)  # the black quarter
    assert made.BurnedInAnnotation == "YES"
    assert np.array_equal(made.pixel_array, labelled)
    outside = np.ones(plain.shape, bool)
    outside[box.slices] = False
    assert np.array_equal(labelled[outside], plain[outside])
    assert 0.5 * 4095 < labelled[box.slices].max() <= 4095
    assert outside.mean() > 0.9


def test_the_label_covers_plain_tissue_before_a_side_marker() -> None:
    pixels = np.full((1024, 1024), 2400, np.uint16)
    pixels[:200, -400:] = 200  # air above a shoulder: the darkest corner
    plain = burn_label(pixels, 12)[1]
    assert plain is not None
    assert (plain.top, plain.right) == (0, 1024)
    pixels[8:24, -30:-22] = 4095  # an L in lead, small beside the label
    pixels[20:24, -30:-15] = 4095
    marked = burn_label(pixels, 12)[1]
    assert marked is not None
    assert (marked.top, marked.right) != (0, 1024)


def test_the_label_grows_with_the_image() -> None:
    boxes = [burn_label(np.zeros((side, side), np.uint16), 12)[1] for side in (1024, 2048, 4096)]
    heights = [box.bottom - box.top for box in boxes if box is not None]
    assert heights[1] / heights[0] == pytest.approx(2, rel=0.1)  # letters have whole pixels
    assert heights[2] / heights[1] == pytest.approx(2, rel=0.1)


def test_an_image_too_small_for_letters_is_not_called_labelled() -> None:
    made = companion_of(source(Rows=40, Columns=50), OutputSettings())
    assert made.BurnedInAnnotation == "NO"
    assert np.array_equal(made.pixel_array, inference(source(Rows=40, Columns=50)).soft_tissue)


def test_text_burned_into_the_source_is_not_denied() -> None:
    assert companion_of(source()).BurnedInAnnotation == "NO"
    assert companion_of(source(BurnedInAnnotation="YES")).BurnedInAnnotation == "YES"
    assert companion_of(source(BurnedInAnnotation="yes")).BurnedInAnnotation == "YES"
