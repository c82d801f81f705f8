"""Lesions through the service's pipeline, with networks whose answer is known."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from model.bundle import FusionSpec, ModelSpec
from pacs_node.records import FloatImage, Radiograph
from tests.unit.training.evaluate.conftest import Known, bundle, chest, radiograph_folder, save, spec
from training.lesions.run import Found, Subject, measure_all, paired_subjects, plain_subjects
from training.lesions.shapes import NODULES
from training.lesions.summary import of_sizes, target
from training.lesions.tables import grids, headline

__all__ = ["bundle", "radiograph_folder", "spec"]  # fixtures


def _chest(known: bool) -> tuple[Radiograph, FloatImage | None]:
    cxr, soft = chest(320, 320)
    return Radiograph(cxr, None, 8, Dataset()), cxr - soft if known else None


@pytest.fixture
def subjects() -> list[Subject]:
    return [Subject("film", False, partial(_chest, False)), Subject("pair", True, partial(_chest, True))]


@pytest.fixture
def untouched(subjects: list[Subject], spec: ModelSpec) -> Found:
    return measure_all(subjects[1:], Known(spec), 0, lambda: None)


def test_a_network_that_finds_no_bone_keeps_every_lesion_and_makes_nothing_up(untouched: Found) -> None:
    assert {each.kind for each in untouched.lesions} >= {*NODULES, "catheter"}
    assert [each.remains.kept for each in untouched.lesions] == pytest.approx([1.0] * len(untouched.lesions), abs=1e-3)
    assert sum(each.false.blobs for each in untouched.passes) == 0
    assert {each.place for each in untouched.lesions} >= {"behind ribs", "between ribs"}


def test_a_network_that_takes_a_tenth_of_everything_takes_it_of_nodules(
    subjects: list[Subject], spec: ModelSpec
) -> None:
    signed = spec.model_copy(update={"fusion": FusionSpec(highpass_px=100)})  # else only what is bright has a layer
    found = measure_all(subjects[1:], Known(signed, left=0.9), 0, lambda: None)
    large = [each.remains.kept for each in found.lesions if each.kind in NODULES and each.size_mm >= 8]
    assert 0.85 < float(np.median(large)) < 0.95
    result = target(found.lesions)
    assert result.kept is not None
    assert result.kept.low < 0.95


def test_the_same_seed_puts_the_same_lesions_and_another_does_not(
    subjects: list[Subject], spec: ModelSpec, untouched: Found
) -> None:
    again = measure_all(subjects[1:], Known(spec), 0, lambda: None)
    other = measure_all(subjects[1:], Known(spec), 1, lambda: None)
    once, twice, else_ = (
        [(each.kind, each.size_mm, each.place, each.remains.contrast_in) for each in found.lesions]
        for found in (untouched, again, other)
    )
    assert once == twice
    assert once != else_


def test_a_picture_without_lungs_is_skipped_and_named(spec: ModelSpec) -> None:
    flat = Radiograph(np.full((256, 256), 0.5, np.float32), None, 8, Dataset())
    found = measure_all([Subject("flat", False, lambda: (flat, None))], Known(spec), 0, lambda: None)
    assert found.skipped == ["flat"]
    assert not found.lesions


def test_subjects_are_taken_evenly_over_the_names(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.png").touch()
    assert [each.name for each in plain_subjects(tmp_path, 4)] == ["0", "3", "6", "9"]
    assert len(plain_subjects(tmp_path, 99)) == 10


def test_a_pair_brings_its_true_layer(tmp_path: Path) -> None:
    cxr, soft = chest(256, 256)
    save(tmp_path / "a_cxr.png", cxr, 16)
    save(tmp_path / "a_soft.png", soft, 16)
    radiograph, layer = paired_subjects(tmp_path, 5)[0].load()
    assert layer is not None
    assert np.corrcoef(layer.ravel(), (cxr - soft).ravel())[0, 1] > 0.9
    assert radiograph.pixels == pytest.approx(cxr, abs=1e-4)


def test_tables_and_headline_say_what_was_found(untouched: Found) -> None:
    made = grids(untouched)
    assert [len(grid.columns) for grid in made] == [len(grid.rows[0]) for grid in made]
    assert all(len(row) == len(grid.columns) for grid in made for row in grid.rows)
    assert "keep 1.00 of their contrast" in headline(untouched)[0]
    assert "not met" not in headline(untouched)[0]
    sizes = [size for size, _ in of_sizes(untouched.lesions, lambda each: each.remains.kept, lambda _: True)]
    assert sizes == sorted(sizes)


def test_lesions_are_also_laid_into_a_pair_without_bone(tmp_path: Path) -> None:
    """One simulated pair in twenty-five has none, to learn from."""
    for kind in ("cxr", "soft"):
        save(tmp_path / f"a_{kind}.png", chest(256, 256)[1])
    _, layer = paired_subjects(tmp_path, 1)[0].load()
    assert layer is not None
    assert float(np.abs(layer).mean()) < 0.01
