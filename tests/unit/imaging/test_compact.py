"""A nodule between ribs is taken out of the bone layer; ribs, their crossings and nodules on them stay in it."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from model.bundle import FusionSpec
from pacs_node.imaging.compact import halved, opened, without_compact
from pacs_node.imaging.fit import place
from pacs_node.imaging.fuse import shaped_layer

SIZE, LENGTH = 256, 64.0
RIBS = (40, 88, 136, 184)  # rows of their middles: 14 px of rib, 34 of gap


def ribs(slope: float = 0.2) -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    layer = sum(np.abs(y - row - slope * (x - SIZE / 2)) < 7 for row in RIBS)
    return gaussian_filter(0.2 * np.asarray(layer, np.float32), 1.5)


def blob(row: float, column: float, radius: float = 9, height: float = 0.1) -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    return gaussian_filter(np.float32(height) * (np.hypot(y - row, x - column) < radius), 1.5)


def kept(layer: np.ndarray, bump: np.ndarray) -> float:
    """Share of a bump that is still in the layer."""
    with_bump, without = (without_compact(part, LENGTH)[0] for part in (layer + bump, layer))
    return float(np.sum((with_bump - without) * bump) / np.sum(bump * bump))


@pytest.mark.parametrize("slope", [-0.5, 0.0, 0.2, 0.7])
def test_ribs_stay_as_they_are(slope: float) -> None:
    layer = ribs(slope)
    spared, where = without_compact(layer, LENGTH)
    middle = (slice(20, -20), slice(20, -20))
    on_ribs = layer[middle] > 0.1
    assert float(np.abs(spared - layer)[middle][on_ribs].mean()) < 0.01  # of .2
    assert float(where[middle][on_ribs].mean()) > 0.8
    assert float(where[middle][layer[middle] < 0.01].mean()) < 0.2


@pytest.mark.parametrize(("radius", "most"), [(4, 0.2), (9, 0.2), (14, 0.4)])
def test_a_bump_between_ribs_is_left_out(radius: float, most: float) -> None:
    """The largest reaches from rib to rib: at its height there is a line from the one through it to the other."""
    assert kept(ribs(), blob(112, 128, radius)) < most


def test_a_bump_on_a_rib_is_not_touched() -> None:
    """It may be where two ribs cross."""
    assert kept(ribs(), blob(88, 128, 6)) > 0.6


def test_crossing_ribs_stay() -> None:
    crossing = ribs(0.35) + ribs(-0.35)
    spared, _ = without_compact(crossing, LENGTH)
    middle = (slice(40, -40), slice(40, -40))
    assert float((crossing - spared)[middle].max()) < 0.08  # of .4 where they cross


def test_nothing_is_added_and_nothing_stays_nothing() -> None:
    layer = ribs() + blob(112, 60) + blob(64, 200, 5)
    spared, where = without_compact(layer, LENGTH)
    assert float((spared - layer).max()) <= 1e-6
    assert 0 <= float(where.min()) <= float(where.max()) <= 1
    empty = np.zeros((101, 77), np.float32)
    spared, where = without_compact(empty, LENGTH)
    assert np.array_equal(spared, empty)
    assert spared.shape == where.shape == (101, 77)


def test_an_opening_keeps_lines_of_its_length_and_no_shorter_ones() -> None:
    for angle in (0.0, 0.5, 1.1, np.pi / 2):
        for length, survives in ((60, True), (20, False)):
            image = np.zeros((128, 128), np.float32)
            t = np.linspace(-length / 2, length / 2, 8 * length)
            image[np.rint(64 + t * np.sin(angle)).astype(int), np.rint(64 + t * np.cos(angle)).astype(int)] = 1
            image = (gaussian_filter(image, 2) > 0.03).astype(np.float32)  # a rod: steps of a drawn line are no gaps
            assert bool(opened(image, 33)[64, 64] == 1) is survives


def test_an_opening_is_that_by_its_definition() -> None:
    """Along rows, where no rounding of directions comes in: the smallest of a run, then the largest of those."""
    rng = np.random.default_rng(0)
    image = np.repeat(rng.random((1, 64), dtype=np.float32), 200, axis=0)  # only runs across columns matter
    found = opened(image, 5)
    assert np.all(found <= image)
    vertical = image  # a line along a column is constant: that direction alone keeps everything
    np.testing.assert_allclose(found, vertical)


def test_half_the_size_has_the_same_mean() -> None:
    image = np.random.default_rng(0).random((32, 48), dtype=np.float32)
    assert halved(image).shape == (16, 24)
    assert float(halved(image).mean()) == pytest.approx(float(image.mean()), rel=1e-5)


def test_between_ribs_the_layer_is_weaker() -> None:
    layer = (ribs() + 0.05).astype(np.float32)
    placement = place(SIZE, SIZE, SIZE)
    alike, weaker = (
        shaped_layer(layer, placement, FusionSpec(strength=1.25, spare_px=LENGTH, gap_strength=strength))
        for strength in (None, 1.0)
    )
    middle = (slice(60, -60), slice(60, -60))
    on_rib = layer[middle] > 0.2
    assert float((weaker / alike)[middle][on_rib].mean()) == pytest.approx(1.0, abs=0.03)
    assert float((weaker / alike)[middle][layer[middle] < 0.06].mean()) == pytest.approx(0.8, abs=0.05)


def test_a_bundle_without_the_key_subtracts_as_before() -> None:
    layer = (ribs() + blob(112, 128)).astype(np.float32)
    shaped = shaped_layer(layer, place(SIZE, SIZE, SIZE), FusionSpec(strength=1.0))
    assert np.array_equal(shaped, np.maximum(layer, 0))
