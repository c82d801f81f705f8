"""Nodules are taken out of a bone layer, between ribs and on them; ribs and their crossings stay in it."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from model.bundle import FusionSpec
from pacs_node.imaging.compact import halved, openings, without_compact
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


@pytest.mark.parametrize("radius", [4, 9])
def test_most_of_a_bump_between_ribs_is_left_out(radius: float) -> None:
    """Not all: a line of the length reaches from rib to rib, and the bump lies half-way."""
    assert kept(ribs(), blob(112, 128, radius)) < 0.45


def test_a_bump_on_a_rib_is_left_out_too() -> None:
    assert kept(ribs(), blob(88, 128, 6)) < 0.3


def test_crossing_ribs_stay_both() -> None:
    """Of .4 where they cross, .1 may go: within the rounded corners nothing is straight."""
    crossing = ribs(0.5) + ribs(-0.5)
    spared, _ = without_compact(crossing, LENGTH)
    middle = (slice(40, -40), slice(40, -40))
    both = crossing[middle] > 0.35
    assert both.sum() > 100
    assert float((crossing - spared)[middle][both].mean()) < 0.1
    alone = without_compact(ribs(0.5) + blob(*_on_a_rib(), 7, 0.2), LENGTH)[0] - without_compact(ribs(0.5), LENGTH)[0]
    assert float(alone.max()) < 0.1  # of .2: a bump as high as another rib goes, where no other rib is


def _on_a_rib() -> tuple[float, float]:
    return RIBS[1] + 0.5 * (128 - SIZE / 2), 128.0


def test_nothing_is_added_and_nothing_stays_nothing() -> None:
    layer = ribs() + blob(112, 60) + blob(64, 200, 5)
    spared, where = without_compact(layer, LENGTH)
    assert float((spared - layer).max()) <= 1e-6
    assert 0 <= float(where.min()) <= float(where.max()) <= 1
    empty = np.zeros((101, 77), np.float32)
    spared, where = without_compact(empty, LENGTH)
    assert np.array_equal(spared, empty)
    assert spared.shape == where.shape == (101, 77)


def test_an_opening_keeps_rods_of_its_length_and_no_shorter_ones() -> None:
    for angle in (0.0, 0.5, 1.1, np.pi / 2):
        for length, survives in ((60, True), (20, False)):
            image = np.zeros((128, 128), np.float32)
            t = np.linspace(-length / 2, length / 2, 8 * length)
            image[np.rint(64 + t * np.sin(angle)).astype(int), np.rint(64 + t * np.cos(angle)).astype(int)] = 1
            rod = (gaussian_filter(image, 2) > 0.03).astype(np.float32)
            left = float(openings(rod, 33).max(axis=0)[64, 64])
            assert left == pytest.approx(1.0, abs=1e-6) if survives else left < 0.5


def test_the_first_direction_runs_along_rows_and_the_middle_one_along_columns() -> None:
    image = np.repeat(np.random.default_rng(0).random((1, 96), dtype=np.float32), 96, axis=0)
    along = openings(image, 9)
    np.testing.assert_allclose(along[8], image, atol=1e-6)  # constant down each column
    rows = along[0][40]
    means = np.convolve(np.pad(image[40], 20, mode="edge"), np.full(5, 0.2), "same")[20:-20]
    lowest = [means[max(at - 4 + k, 0) : max(at - 4 + k, 0) + 9].min() for at in [50] for k in range(-4, 5)]
    assert rows[50] == pytest.approx(max(lowest), abs=1e-5)  # by the definition: the largest of the runs that hold it


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
