"""Projections of a made-up CT whose masses are known."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from training.simulate.ct import CORTICAL_DENSITY, Volume, find_bone, load_volume, project

SPACING_MM = 2.0


@pytest.fixture(scope="module")
def torso() -> Volume:
    """An elliptic cylinder of soft tissue with one dense rod from side to side."""
    x, y, z = np.meshgrid(*(np.arange(n) - n / 2 for n in (180, 110, 170)), indexing="ij")
    body = (x / 80) ** 2 + (y / 45) ** 2 < 1
    rod = (np.hypot(y + 20, z) < 4) & (np.abs(x) < 60)
    mineral = np.where(rod, CORTICAL_DENSITY, 0).astype(np.float32)
    soft = np.where(body & ~rod, 1.06, 0).astype(np.float32)
    return Volume(soft, mineral, np.zeros_like(soft), np.full(3, SPACING_MM))


def test_a_straight_projection_keeps_the_mass_of_bone(torso: Volume) -> None:
    anatomy = project(torso, seed=0, size=256)
    centre = anatomy.bones[0][:, 128]
    rod_diameter_cm = 7 * SPACING_MM / 10  # voxels nearer than 4 to its axis
    # a row of the map averages over 1.5 mm of the rod's curvature
    assert centre.max() == pytest.approx(rod_diameter_cm * CORTICAL_DENSITY, rel=0.1)
    assert anatomy.bones[1:].max() == 0


def test_soft_tissue_fills_the_place_of_bone(torso: Volume) -> None:
    anatomy = project(torso, seed=0, size=256)
    column = anatomy.soft[:, 128]
    inside = column[column > 0.9 * column.max()]
    assert inside.std() < 0.02 * inside.mean(), "the rod still shows in the map without bone"


def test_another_seed_is_another_pose_and_the_same_seed_the_same(torso: Volume) -> None:
    first, again, other = (project(torso, seed, size=128) for seed in (3, 3, 4))
    assert np.array_equal(first.soft, again.soft)
    assert not np.array_equal(first.bones, other.bones)


def test_bone_is_found_with_its_marrow_but_not_a_small_calcification() -> None:
    hu = np.full((60, 60, 60), 40, np.float32)
    x, y = np.meshgrid(np.arange(60) - 30, np.arange(60) - 30, indexing="ij")
    ring = np.hypot(x, y)
    hu[(ring < 12)[:, :, None].repeat(60, 2)] = 100  # marrow
    hu[((ring >= 9) & (ring < 12))[:, :, None].repeat(60, 2)] = 900  # cortex
    hu[5:7, 5:7, 5:7] = 800
    bone = find_bone(hu, voxel_cm3=0.001)
    assert bone[30, 30, 30], "marrow"
    assert not bone[5, 5, 5], "calcification"


def test_a_nifti_file_in_any_orientation_is_turned_and_its_table_dropped(tmp_path: Path) -> None:
    hu = np.full((80, 70, 60), -1000, np.int16)
    hu[10:70, 15:50] = 40
    hu[20:60, 20:30, 25:35] = 1500
    hu[5:75, 62:66] = 300  # a table behind the patient, apart from the body
    path = tmp_path / "ct.nii.gz"
    nibabel.save(nibabel.Nifti1Image(hu, np.diag([-2.0, -2.0, 2.0, 1.0])), path)
    volume = load_volume(path)
    assert volume.mineral[40, 70 - 25, 30] > 1.5, "front and back were not turned"
    assert volume.soft[:, :10].max() < 0.1, "the table is still there"
