"""Projections of a made-up CT whose masses are known."""

from dataclasses import replace

import numpy as np
import pytest

from training.raycast import TorchSampler
from training.simulate.ct import STRAIGHT, Volume, draw_pose, find_bone, project, separate
from training.simulate.ct.tissue import CORTICAL_DENSITY

SPACING_MM = 2.0


@pytest.fixture(scope="module")
def torso() -> Volume:
    """An elliptic cylinder of soft tissue with one dense rod from side to side."""
    x, y, z = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in (180, 110, 170)), indexing="ij")
    body = (x / 80) ** 2 + (y / 45) ** 2 < 1
    rod = (np.hypot(y + 20, z) < 4) & (np.abs(x) < 60)
    mineral = np.where(rod, CORTICAL_DENSITY, 0).astype(np.float32)
    soft = np.where(body & ~rod, 1.06, 0).astype(np.float32)
    return Volume(soft, mineral, np.zeros_like(soft), np.full(3, SPACING_MM))


def test_parallel_rays_keep_the_mass_of_bone(torso: Volume) -> None:
    anatomy = project(torso, STRAIGHT, size=128)
    pixel_cm = STRAIGHT.fov_mm / 10 / 128
    expected = torso.mineral.sum() * (SPACING_MM / 10) ** 3
    # 2 %: a rod of 16 mm is met by five or six samples 3 mm apart
    assert anatomy.bones[0].sum() * pixel_cm**2 == pytest.approx(expected, rel=0.02)
    assert anatomy.bones[1:].max() == 0


def test_the_path_through_bone_is_its_thickness(torso: Volume) -> None:
    centre = project(torso, STRAIGHT, size=256).bones[0][:, 128]
    rod_diameter_cm = 8 * SPACING_MM / 10
    # a row of the map averages over 1.4 mm of the rod's curvature, and the rod is made of voxels
    assert centre.max() == pytest.approx(rod_diameter_cm * CORTICAL_DENSITY, rel=0.1)


def test_soft_tissue_fills_the_place_of_bone(torso: Volume) -> None:
    column = project(torso, STRAIGHT, size=256).soft[:, 128]
    inside = column[column > 0.9 * column.max()]
    assert inside.std() < 0.02 * inside.mean(), "the rod still shows in the map without bone"


def test_what_is_nearer_to_the_tube_is_drawn_larger(torso: Volume) -> None:
    """The rod lies behind the middle: a tube behind the patient (PA) enlarges it, one in front does not."""
    widths = []
    for source_mm in (1000.0, np.inf, -1000.0):
        bones = project(torso, replace(STRAIGHT, source_mm=source_mm), size=128).bones[0]
        widths.append(int((bones.max(axis=0) > 0.1).sum()))
    # 40 mm behind the middle at 1 m: 4 % of a rod of 85 px
    assert widths[0] >= widths[1] + 2
    assert widths[2] <= widths[1] - 2


def test_a_deeper_breath_moves_the_base_and_leaves_the_apex() -> None:
    """Two plates, one low and one high: only the low one moves, down."""
    mineral = np.zeros((60, 40, 160), np.float32)
    mineral[20:40, 10:30, 20:24] = 1
    mineral[20:40, 10:30, 130:134] = 1
    volume = Volume(np.zeros_like(mineral), mineral, np.zeros_like(mineral), np.full(3, SPACING_MM))
    rows = []
    for inspiration_mm in (0.0, 15.0):
        bones = project(volume, replace(STRAIGHT, inspiration_mm=inspiration_mm), size=128).bones[0].sum(axis=1)
        rows.append([float(np.average(np.arange(64), weights=half)) for half in (bones[:64], bones[64:])])
    assert rows[1][0] == pytest.approx(rows[0][0], abs=0.2)  # px; the plate is 3 px thick
    assert rows[1][1] > rows[0][1] + 2


def test_another_seed_is_another_pose_and_the_same_seed_the_same(torso: Volume) -> None:
    first, again, other = (project(torso, draw_pose(np.random.default_rng(s)), size=64) for s in (3, 3, 4))
    assert np.array_equal(first.soft, again.soft)
    assert not np.array_equal(first.bones, other.bones)


def test_torch_sends_the_same_rays(torso: Volume) -> None:
    pose = draw_pose(np.random.default_rng(5))
    slow, fast = project(torso, pose, size=64), project(torso, pose, size=64, sampler=TorchSampler(torso))
    # float32 weights in two orders of summation; at the outermost voxel torch fades into the outside, SciPy cuts
    difference = np.abs(slow.soft - fast.soft)
    assert np.median(difference) < 1e-3
    assert difference.mean() < 0.01 * slow.soft.mean()
    assert np.abs(slow.bones - fast.bones).max() < 1e-3


def test_bone_is_found_with_its_marrow_but_not_a_small_calcification() -> None:
    hu = np.full((60, 60, 60), 40, np.float32)
    x, y = np.meshgrid(np.arange(60) - 30, np.arange(60) - 30, indexing="ij")
    ring = np.hypot(x, y)
    hu[(ring < 12)[:, :, None].repeat(60, 2)] = 100  # marrow
    hu[((ring >= 9) & (ring < 12))[:, :, None].repeat(60, 2)] = 900  # cortex
    hu[5:7, 5:7, 5:7] = 800
    bone, _ = find_bone(hu, np.ones(3))
    assert bone[30, 30, 30], "marrow"
    assert not bone[5, 5, 5], "calcification"


def thorax_with_contrast() -> np.ndarray:
    """2 mm voxels: a body with two lungs, a spine, an aorta full of contrast that touches it, and an electrode."""
    hu = np.full((160, 110, 60), -1000, np.float32)
    x, y = np.meshgrid(np.arange(160) - 80, np.arange(110) - 55, indexing="ij")
    hu[((x / 75) ** 2 + (y / 50) ** 2 < 1)] = 40
    for side in (-1, 1):
        hu[((x - side * 38) / 24) ** 2 + (y / 38) ** 2 < 1] = -850
    spine = (np.abs(x) < 9) & (y > -38) & (y < -18)
    hu[spine] = 180
    hu[spine & ((np.abs(x) > 7) | (y > -21) | (y < -35))] = 600
    hu[(np.abs(x) < 3) & (y > -48) & (y <= -38)] = 500  # spinous process
    hu[np.hypot(x + 18, y + 14) < 10] = 350  # the aorta beside it
    hu[78:82, 103:105, 30:33] = 3000
    return hu


def test_a_vessel_full_of_contrast_is_no_bone_and_becomes_soft_tissue() -> None:
    hu = thorax_with_contrast()
    volume = separate(hu, np.full(3, SPACING_MM))
    join = hu.shape[1] / volume.mineral.shape[1]
    aorta, spine = int((55 - 14) / join), int((55 - 28) / join)
    assert volume.mineral[80 - 18, aorta, 30] == 0
    assert volume.soft[80 - 18, aorta, 30] == pytest.approx(1.03 * 1.09, rel=0.01)  # capped at 90 HU
    assert volume.mineral[80, spine, 30] > 0.1
    assert volume.lung[80 - 38, int(55 / join), 30] == 1


def test_a_stomach_full_of_gas_is_no_lung() -> None:
    hu = np.full((100, 60, 90), 40, np.float32)
    hu[:4] = hu[-4:] = hu[:, :4] = hu[:, -4:] = -1000
    hu[10:40, 10:50, 40:85] = hu[60:90, 10:50, 40:85] = -850
    hu[50:85, 15:45, 8:30] = -1000
    volume = separate(hu, np.full(3, 3.0))
    assert volume.lung[20, 15, 60] == volume.lung[75, 15, 60] == 1
    assert volume.lung[60, 15, 20] == 0


def test_a_label_map_says_what_is_bone() -> None:
    hu = thorax_with_contrast()
    labels = np.zeros(hu.shape, np.int16)
    labels[70:92, 18:38] = 1
    volume = separate(hu, np.full(3, SPACING_MM), labels)
    outside = np.ones(volume.mineral.shape, dtype=bool)
    outside[68:94] = False
    assert volume.mineral[outside].max() == 0
    assert volume.mineral.sum() > 0


def test_a_label_map_of_another_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="label map"):
        separate(np.zeros((8, 8, 8), np.float32), np.ones(3), np.zeros((8, 8, 9), np.int16))
