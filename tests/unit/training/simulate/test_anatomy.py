"""The phantom is a chest: air where lungs are, shells around bones, the same person every time."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from training.simulate.anatomy import BONE_LAYERS, Anatomy, draw_anatomy, load_anatomy, save_anatomy
from training.simulate.canvas import Canvas, Cloud
from training.simulate.solids import BONE_DENSITY, Section, tube

DIGEST = (
    "import hashlib; from training.simulate.anatomy import draw_anatomy; a = draw_anatomy(5, 128);"
    "print(hashlib.sha256(a.soft.tobytes() + a.bones.tobytes()).hexdigest())"
)


def test_a_seed_gives_the_same_person_in_another_process() -> None:
    here = draw_anatomy(5, 128)
    expected = hashlib.sha256(here.soft.tobytes() + here.bones.tobytes()).hexdigest()
    other = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == expected


def test_two_seeds_are_two_people() -> None:
    assert np.abs(draw_anatomy(5, 128).soft - draw_anatomy(6, 128).soft).mean() > 0.1


def test_no_bone_is_negative_or_outside_the_skin(phantom: Anatomy) -> None:
    assert phantom.bones.shape[0] == len(BONE_LAYERS)
    assert phantom.bones.min() >= 0
    assert phantom.bones[:, phantom.soft <= 0].sum() == 0


def test_lungs_hold_less_matter_than_the_mediastinum(phantom: Anatomy) -> None:
    rows = np.nonzero(phantom.lungs.any(axis=1))[0]
    middle_rows = slice(int(rows[len(rows) // 3]), int(rows[2 * len(rows) // 3]))
    columns = np.nonzero(phantom.lungs.any(axis=0))[0]
    middle = int((columns[0] + columns[-1]) / 2)
    mediastinum = phantom.soft[middle_rows, middle - 4 : middle + 4].mean()
    # Inflated lung has a quarter of the density of soft tissue, with the chest wall about half in all.
    assert phantom.soft[phantom.lungs].mean() < 0.8 * mediastinum


def test_the_lungs_are_a_plausible_part_of_the_image(phantom: Anatomy) -> None:
    assert 0.08 < phantom.lungs.mean() < 0.5


def test_the_cortex_of_a_bone_is_brighter_than_its_marrow() -> None:
    curve = np.stack([np.linspace(-4, 4, 50), np.zeros(50), np.zeros(50)], axis=1).astype(np.float32)
    section = Section(0.7, 0.4, 0.1, np.array([0, 0, 1], np.float32))
    bone = tube(np.random.default_rng(0), curve, section, spacing_cm=0.02)
    density = Canvas(256, 8.0, (0.0, 0.0), source_cm=1e9).splat(bone)
    profile = density[:, 100:156].mean(axis=1)
    marrow = profile[126:130].mean()
    rim = profile.max()
    assert rim > 1.3 * marrow
    # Two walls of a millimetre and the core, straight through.
    assert marrow == pytest.approx(BONE_DENSITY * (2 * 0.1 + 0.12 * 0.6), rel=0.15)  # 15 %: rings stand for the core


def test_a_projection_keeps_the_mass() -> None:
    rng = np.random.default_rng(1)
    cloud = Cloud(rng.uniform(-3, 3, (5000, 3)).astype(np.float32), np.full(5000, 0.01, np.float32))
    canvas = Canvas(128, 10.0, (0.0, 0.0), source_cm=1e9)
    total = canvas.splat(cloud).sum() * canvas.pixel_cm**2
    assert total == pytest.approx(50.0, rel=1e-4)  # float32 sums of 5,000 points


def test_a_thin_vessel_has_the_depth_of_a_cylinder() -> None:
    canvas = Canvas(256, 10.0, (0.0, 0.0), source_cm=1e9)
    x = np.linspace(-4, 4, 4000, dtype=np.float32)
    points = np.stack([x, np.zeros_like(x), np.zeros_like(x)], axis=1)
    path = canvas.tubes(points, np.full(4000, 0.3, np.float32), np.full(4000, 8 / 4000, np.float32), buckets=1)
    across = path[:, 128].astype(np.float64)
    assert across.sum() * canvas.pixel_cm == pytest.approx(np.pi * 0.3**2, rel=0.01)  # the disc's area
    assert across.max() == pytest.approx(0.6, rel=0.06)  # its diameter, less half a pixel of blur


def test_a_stored_person_is_read_back(phantom: Anatomy, tmp_path: Path) -> None:
    save_anatomy(phantom, tmp_path / "a.npz")
    read = load_anatomy(tmp_path / "a.npz")
    # 16 bits over the range of the map: half a step at most.
    assert np.abs(read.soft - phantom.soft).max() <= phantom.soft.max() / 65535
    assert np.abs(read.bones - phantom.bones).max() <= phantom.bones.max() / 65535
    assert (read.lungs == phantom.lungs).all()
    assert read.seed == phantom.seed
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
