"""What the gate that ships does with random fields, none of which a network was shown."""

import numpy as np
import pytest

from training.gate.fields import FIELDS, draw_field, outcome, outcomes, stored_field, table

# Of numbers that were used neither while the bounds were chosen nor for the table of docs/gate.md.
FRESH = range(7000, 7004)


# Noise through a curve that makes ridges or plateaus, or of two kinds side by side, has edges: the network judges it.
WITH_EDGES = ("mixed", "folded")


@pytest.mark.parametrize("kind", [kind for kind in FIELDS if kind not in WITH_EDGES])
def test_fresh_noise_of_any_spectrum_is_no_chest(kind: str) -> None:
    assert [outcome(stored_field(number, kind, 1200)) for number in FRESH] == ["not_chest"] * len(FRESH)


def test_fresh_noise_with_edges_is_refused_and_all_but_seldom_as_no_chest() -> None:
    found = [outcome(stored_field(number, kind, 1200)) for number in FRESH for kind in WITH_EDGES]
    assert "passed" not in found
    assert found.count("not_chest") >= len(found) - 1


def test_fields_come_in_every_size_and_depth_and_the_same_twice() -> None:
    stored = [stored_field(number, "white", 600) for number in range(12)]
    assert len({(ds.Rows, ds.Columns) for ds in stored}) > 6
    assert {ds.BitsStored for ds in stored} <= set(range(8, 17))
    assert len({ds.BitsStored for ds in stored}) > 4
    assert stored_field(3, "white", 600).PixelData == stored[3].PixelData


@pytest.mark.parametrize("kind", FIELDS)
def test_a_field_has_tones_from_black_to_white(kind: str) -> None:
    field = draw_field(kind, np.random.default_rng(5), (90, 70))
    assert field.shape == (90, 70)
    assert field.dtype == np.float32
    assert 0 <= field.min() < 0.3
    assert 0.6 < field.max() <= 1


def test_the_table_of_fields_counts_every_kind() -> None:
    lines = table(outcomes(range(2), largest=300)).splitlines()
    assert len(lines) == 2 + len(FIELDS)
    assert all("| 2 |" in line for line in lines[2:])
