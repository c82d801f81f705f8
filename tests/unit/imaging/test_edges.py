"""Edges of bone that the layer draws too faintly are taken from the radiograph; nothing else is."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from model.bundle import FusionSpec
from pacs_node.imaging.edges import with_edges
from pacs_node.imaging.fit import letterbox, to_grid
from pacs_node.imaging.fuse import native_layer
from pacs_node.records import FloatImage
from tests.unit.imaging.synthetic import radiograph
from tests.unit.imaging.test_guide import GRID, PLACEMENT, noise, rib

SIDE = 128
GAIN = 5.0
Image = FloatImage


def _fine(image: Image) -> Image:
    detail: Image = image - gaussian_filter(image, 1.0)
    return detail


def _bone() -> Image:
    """A rib with a bright rim four cells wide, running down to the right."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    across = (y - 40 - 0.3 * x) / np.hypot(1, 0.3)
    rim = np.exp(-0.5 * ((np.abs(across) - 9) / 1.6) ** 2)
    bone: Image = (0.15 - 0.15 * np.tanh((np.abs(across) - 9) / 1.5) + 0.3 * rim).astype(np.float32)
    return bone


def _line(column: int) -> Image:
    """A vessel or catheter straight down, three cells wide."""
    x = np.arange(SIDE, dtype=np.float32)
    return np.tile(0.25 * np.exp(-0.5 * ((x - column) / 1.0) ** 2), (SIDE, 1)).astype(np.float32)


def _noise(sigma: float) -> Image:
    return np.random.default_rng(5).normal(0, sigma, (SIDE, SIDE)).astype(np.float32)


def test_most_of_a_rim_that_the_network_drew_too_faintly_comes_back() -> None:
    bone = _bone()
    faint = np.float32(1 / 3) * bone
    missing = _fine(bone - faint)
    gained = with_edges(faint, bone + _noise(0.01), GAIN) - faint  # within one cell: what is wider is the network's own
    assert 0.5 < float(np.sum(gained * missing) / np.sum(missing**2)) < 1.1


def test_an_edge_that_is_right_stays_as_it_is() -> None:
    bone = _bone()
    changed = with_edges(bone, bone + _noise(0.01), GAIN) - bone
    assert float(np.sqrt(np.mean(changed**2))) < 0.01  # the noise of the radiograph at most
    assert abs(float(np.sum(changed * _fine(bone)) / np.sum(_fine(bone) ** 2))) < 0.1


@pytest.mark.parametrize("crossing", [True, False])
def test_a_line_that_is_not_in_the_layer_stays_in_the_companion(crossing: bool) -> None:
    bone = _bone()
    line = _line(64)
    if not crossing:
        line[20:120] = 0
    image = bone + line + _noise(0.01)
    taken = with_edges(bone, image, GAIN) - with_edges(bone, image - line, GAIN)
    seen = np.abs(line) > 0.02
    assert float(np.sum(taken[seen] * line[seen]) / np.sum(line[seen] ** 2)) < 0.1


def test_the_faint_imprint_of_a_line_grows_to_the_gain_at_most() -> None:
    line = _line(64)
    imprint = np.float32(0.04) * line
    taken = with_edges(imprint, 0.5 + line, GAIN)
    share = float(np.sum(_fine(taken) * _fine(line)) / np.sum(_fine(line) ** 2))
    assert 0.04 < share <= 0.04 * GAIN


def test_far_from_the_layer_nothing_is_added_whatever_the_radiograph_shows() -> None:
    layer = np.zeros((SIDE, SIDE), np.float32)
    layer[60:64, 20:100] = 0.2
    added = with_edges(layer, 0.5 + layer + _noise(0.1), GAIN)
    far = np.ones((SIDE, SIDE), bool)
    far[54:70, 14:106] = False
    assert not added[far].any()
    empty = np.zeros_like(layer)
    np.testing.assert_array_equal(with_edges(empty, _noise(0.1), GAIN), empty)


def test_the_bundle_says_whether_edges_are_strengthened() -> None:
    source = radiograph(np.clip(0.4 + rib() + noise(0.01), 0, 1))
    grid_image = to_grid(source, GRID)
    faint = letterbox(gaussian_filter(rib(), 8), PLACEMENT)
    plain, edged = (native_layer(faint, source, grid_image, FusionSpec(edge_gain=gain)) for gain in (1, GAIN))
    assert np.abs(edged - plain).max() > 0.005
    np.testing.assert_array_equal(plain, native_layer(faint, source, grid_image, FusionSpec()))


def test_the_frame_of_a_film_gets_no_stronger_edge() -> None:
    image = np.full((SIDE, SIDE), 0.5, np.float32)
    image[:1] = 1.0  # a white line along the border, of which the network took a part for bone
    layer = np.zeros_like(image)
    layer[:1] = 0.1
    assert np.abs(with_edges(layer, image, GAIN) - layer).max() < 0.001  # of .1
