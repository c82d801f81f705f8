"""The twins differ in bone and in nothing else."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from pacs_node.errors import ConfigError
from training.simulate.anatomy import Anatomy, draw_anatomy
from training.simulate.cache import AnatomyCache, write_cache
from training.simulate.imaging import DISPLACED, Exposure, expose
from training.simulate.pair import Studio, form_pair, simulate_pair
from training.simulate.sheet import preview_sheet

SHOT = Exposure(kvp=100, scatter=0.2, scatter_px=20, blur_px=0.3, noise=0.002, noise_grain_px=0)


def test_a_seed_gives_the_same_pair_twice() -> None:
    one, two = simulate_pair(4, 128), simulate_pair(4, 128)
    assert (one.cxr == two.cxr).all()
    assert (one.soft == two.soft).all()


def test_pixels_are_p_values(phantom: Anatomy) -> None:
    pair = form_pair(phantom, phantom, np.random.default_rng(0), 256)
    for image in (pair.cxr, pair.soft):
        assert image.dtype == np.float32
        assert image.shape == (256, 256)
        assert image.min() >= 0
        assert image.max() <= 1
    assert pair.cxr.std() > 0.05


@pytest.mark.parametrize("seed", range(4))
def test_without_bone_the_twins_are_equal(phantom: Anatomy, seed: int) -> None:
    boneless = replace(phantom, bones=np.zeros_like(phantom.bones))
    pair = form_pair(boneless, boneless, np.random.default_rng(seed), 256)
    # Rounding: the stored error of the radiograph is added to its twin in float32.
    assert np.abs(pair.cxr - pair.soft).max() < 1e-6


def test_twins_are_equal_far_from_bone() -> None:
    soft = np.full((256, 256), 15.0, np.float32)
    bone = np.zeros_like(soft)
    bone[100:120, 40:200] = 0.6
    with_bone, without = expose(soft, bone, SHOT, np.random.default_rng(0))
    far = ~ndimage.binary_dilation(bone > 0, iterations=4)  # blur of 0.3 px, cut at 3 sigma
    assert (with_bone[far] == without[far]).all()
    assert (with_bone > without)[102:118, 42:198].all()


def test_bone_is_replaced_by_soft_tissue_and_not_deleted() -> None:
    """The twin of a bone within soft tissue is as bright as that tissue, not darker."""
    soft = np.full((128, 128), 15.0, np.float32)
    bone = np.zeros_like(soft)
    bone[50:70] = 0.8
    quiet = Exposure(kvp=100, scatter=0.0, scatter_px=20, blur_px=0.3, noise=0.0, noise_grain_px=0)
    with_bone, without = expose(soft, bone, quiet, np.random.default_rng(0))
    assert without[55:65].mean() == pytest.approx(without[5:40].mean(), abs=1e-5)  # float32 exponentials
    # The excess of the bone is that of bone less the soft tissue that had its place.
    assert with_bone[60, 0] - without[60, 0] < 0.8 * (0.424 - 0.205 * DISPLACED)


def test_noise_is_the_same_in_both_twins(phantom: Anatomy) -> None:
    soft, bone = phantom.soft, phantom.bones.sum(axis=0)
    noisy = Exposure(kvp=100, scatter=0.2, scatter_px=20, blur_px=0.3, noise=0.05, noise_grain_px=0)
    silent = Exposure(kvp=100, scatter=0.2, scatter_px=20, blur_px=0.3, noise=0.0, noise_grain_px=0)
    a, b = expose(soft, bone, noisy, np.random.default_rng(0))
    c, d = expose(soft, bone, silent, np.random.default_rng(0))
    assert np.abs((a - c) - (b - d)).max() < 1e-5  # float32 subtraction
    assert np.abs(a - c).mean() > 0.01


def test_another_persons_bones_are_laid_where_the_lungs_are(phantom: Anatomy) -> None:
    other = draw_anatomy(12, 256)
    own = form_pair(phantom, phantom, np.random.default_rng(3), 256)
    mixed = form_pair(phantom, other, np.random.default_rng(3), 256)
    difference = mixed.cxr - mixed.soft
    assert not np.array_equal(mixed.cxr, own.cxr)
    assert (np.abs(difference) > 0.01)[mixed.lungs].mean() > 0.1


def test_a_cache_is_resumed_and_read(tmp_path: Path) -> None:
    assert write_cache(tmp_path, range(2), 64) == 2
    assert write_cache(tmp_path, range(3), 64) == 1
    cache = AnatomyCache(tmp_path)
    assert len(cache) == 3
    one, two = (cache.pair(np.random.default_rng(9), 64) for _ in range(2))
    assert (one.cxr == two.cxr).all()


@pytest.mark.parametrize("content", [b"", b"PK", b"nothing of ours"])
def test_a_damaged_anatomy_is_named(content: bytes, tmp_path: Path) -> None:
    write_cache(tmp_path, range(1), 64)
    cache = AnatomyCache(tmp_path)
    cache.paths[0].write_bytes(content)
    with pytest.raises(ConfigError, match=r"anatomy-000000-64.npz is damaged: remove it"):
        cache.pick(np.random.default_rng(0))


def test_an_empty_cache_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="write_cache"):
        AnatomyCache(tmp_path)


def test_a_sheet_is_written(tmp_path: Path) -> None:
    """Three pairs, two a row: radiograph, twin, bone over grey."""
    pairs = [(np.full((8, 8), 0.5, np.float32), np.full((8, 8), 0.4, np.float32))] * 3
    preview_sheet(pairs, tmp_path / "sheet.png", 16)
    page = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert page.shape == (32, 96)
    assert [int(page[20, column]) for column in (8, 24, 40, 56)] == [128, 102, 153, 0]


def test_a_beating_heart_moves_the_twin_within_the_chest_only(phantom: Anatomy) -> None:
    still, moved = (form_pair(phantom, phantom, np.random.default_rng(2), 256, Studio(m)) for m in (0.0, 0.012))
    assert np.array_equal(still.cxr, moved.cxr)
    difference = np.abs(moved.soft - still.soft)
    assert difference.max() > 0.05
    rows, columns = np.nonzero(still.lungs)
    edge = difference[: int(np.quantile(rows, 0.02))]  # above the lungs nothing beats
    assert edge.mean() < 0.1 * difference[rows, columns].mean()


def test_the_simulator_runs_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from training.simulate.pair import simulate_pair; import training.sample_dicom\n"
        "assert simulate_pair(1, 64).cxr.shape == (64, 64)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
