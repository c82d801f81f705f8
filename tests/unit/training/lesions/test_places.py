"""Places on drawn ribs, whose truth is plain."""

import itertools

import numpy as np
import pytest

from pacs_node.records import FloatImage, MaskImage
from training.lesions.places import APART_MM, PLACES, Place, bone_mask, place_of, places_for, two_lungs

MM = 0.5


@pytest.fixture
def lungs() -> MaskImage:
    mask = np.zeros((600, 600), dtype=bool)
    mask[60:560, 50:270] = mask[60:560, 330:550] = True
    return mask


@pytest.fixture
def ribs() -> FloatImage:
    """12 mm of rib, 18 mm of none."""
    rows = np.zeros((600, 600), np.float32)
    rows[np.arange(600) % 60 < 24] = 0.1
    return rows


def test_two_lungs_are_left_and_right(lungs: MaskImage) -> None:
    lungs[5:8, 5:8] = True  # a speck is no lung
    parts = two_lungs(lungs)
    assert [bool(part[300, 100]) for part in parts] == [True, False]
    assert [bool(part[300, 400]) for part in parts] == [False, True]


def test_bone_is_where_the_layer_is_strong_with_and_without_its_low_frequencies(
    lungs: MaskImage, ribs: FloatImage
) -> None:
    slope = np.linspace(0, 0.3, 600, dtype=np.float32)[:, None]
    for layer in (ribs, ribs + slope, ribs - ribs.mean()):
        found = bone_mask(layer, lungs)
        assert (found == (ribs > 0))[lungs].mean() > 0.95


@pytest.mark.parametrize("place", ["between ribs", "behind ribs"])
def test_nodules_lie_where_they_were_wanted(lungs: MaskImage, ribs: FloatImage, place: Place) -> None:
    rng = np.random.default_rng(0)
    found = places_for(rng, lungs, ribs > 0, [(3.0, place)] * 4, MM)
    for at in found:
        assert at is not None
        assert at[2] == place
        assert lungs[at[:2]]
        assert (ribs[at[:2]] > 0) == (place == "behind ribs")


def test_what_is_larger_than_a_gap_crosses_a_rib(lungs: MaskImage, ribs: FloatImage) -> None:
    at = places_for(np.random.default_rng(0), lungs, ribs > 0, [(15.0, "between ribs")], MM)[0]
    assert at is not None
    assert at[2] == "across an edge"


def test_lesions_stay_apart_and_none_is_put_where_no_room_is_left(lungs: MaskImage, ribs: FloatImage) -> None:
    found = places_for(np.random.default_rng(1), lungs, ribs > 0, [(6.0, "between ribs")] * 60, MM)
    placed = [at for at in found if at is not None]
    assert 4 <= len(placed) < 60
    for a, b in itertools.combinations(placed, 2):
        assert np.hypot(a[0] - b[0], a[1] - b[1]) * MM > 6 + 6 + APART_MM


def test_a_place_is_named_by_the_share_of_bone() -> None:
    assert {place_of(share) for share in (0.0, 0.4, 1.0)} == set(PLACES)
