"""Reading pairs: shape, depth, which way round, and what belongs to the mean."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from pacs_node.errors import ConfigError
from tests.unit.training.evaluate.conftest import chest, save
from training.evaluate.cases import measured, open_cases, with_bone
from training.validate import RealPairs


def test_pairs_come_in_order_with_their_source(pair_folder: Path) -> None:
    cases = open_cases(pair_folder)
    assert [case.name for case in cases] == ["jsrt_7", "scanner_0", "scanner_1"]
    assert [case.source for case in cases] == ["jsrt", "scanner", "scanner"]
    assert [case.dual_energy for case in cases] == [False, True, True]


def test_a_pair_keeps_its_shape_and_its_depth(pair_folder: Path) -> None:
    shallow, deep = (case.load() for case in open_cases(pair_folder)[1:])
    assert (shallow.radiograph.pixels.shape, shallow.radiograph.bits_stored) == ((256, 288), 8)
    assert (deep.truth.shape, deep.radiograph.bits_stored) == ((256, 256), 16)
    cxr, soft = chest(256, 256, 1)
    assert np.abs(deep.radiograph.pixels - cxr).max() < 1e-4  # 16 bit
    assert np.abs(deep.truth - soft).max() < 1e-4


def test_a_negative_is_turned_around(pair_folder: Path) -> None:
    twins = open_cases(pair_folder)[0].load()
    cxr, soft = chest(256, 256, 7)
    assert np.abs(twins.radiograph.pixels - cxr).max() < 0.005  # 8 bit
    assert np.abs(twins.truth - soft).max() < 0.005


def test_a_truth_with_a_row_less_is_stretched(tmp_path: Path) -> None:
    cxr, soft = chest(300, 300)
    save(tmp_path / "a_cxr.png", cxr)
    save(tmp_path / "a_soft.png", soft[:299])
    assert open_cases(tmp_path)[0].load().truth.shape == (300, 300)


def test_twins_of_unlike_form_are_refused(tmp_path: Path) -> None:
    cxr, soft = chest(300, 300)
    save(tmp_path / "a_cxr.png", cxr)
    save(tmp_path / "a_soft.png", soft[:260])
    with pytest.raises(ConfigError, match="pacs-node ingest"):
        open_cases(tmp_path)[0].load()


def test_a_radiograph_without_a_twin_is_named(tmp_path: Path, pair_folder: Path) -> None:
    shutil.copy(pair_folder / "scanner_0_cxr.png", tmp_path / "alone_cxr.png")
    with pytest.raises(ConfigError, match=r"alone_soft"):
        open_cases(tmp_path)


def test_a_name_with_brackets_finds_its_twin_and_what_macos_leaves_beside_it_is_no_pair(tmp_path: Path) -> None:
    for kind, image in zip(("cxr", "soft"), chest(300, 300), strict=True):
        save(tmp_path / f"scan[1]_{kind}.png", image)
    (tmp_path / "._scan[1]_cxr.png").write_bytes(b"resource fork")
    assert [case.name for case in open_cases(tmp_path)] == ["scan[1]"]


def test_a_pair_without_anything_to_take_out_is_not_measured(tmp_path: Path) -> None:
    for kind in ("cxr", "soft"):
        save(tmp_path / f"a_{kind}.png", chest(300, 300)[0])
    assert open_cases(tmp_path)[0].load().same
    with pytest.raises(ConfigError, match="every radiograph and its twin are the same picture"):
        with_bone(open_cases(tmp_path))
    for kind, image in zip(("cxr", "soft"), chest(300, 300), strict=True):
        save(tmp_path / f"b_{kind}.png", image)
    kept, left_out = with_bone(open_cases(tmp_path))
    assert ([case.name for case in kept], left_out) == (["b"], ["a"])
    assert RealPairs(tmp_path, 64).names == ["b"]


def test_a_folder_without_pairs_and_a_split_of_plain_pairs_are_refused(tmp_path: Path, pair_folder: Path) -> None:
    with pytest.raises(ConfigError, match="neither"):
        open_cases(tmp_path)
    with pytest.raises(ConfigError, match="was not ingested"):
        open_cases(pair_folder, "test")


def test_only_what_is_larger_than_1024_is_averaged_down() -> None:
    small = np.random.default_rng(0).random((60, 1024)).astype(np.float32)
    assert measured(small) is small
    large = np.zeros((1024, 2048), dtype=np.float32)
    large[::2] = 1.0
    averaged = measured(large)
    assert averaged.shape == (512, 1024)
    assert np.abs(averaged - 0.5).max() < 1e-6  # two rows each: one of 0, one of 1


@pytest.mark.parametrize(
    ("second", "told"), [("a_cxr.jpg", "second radiograph of the name a"), ("a_soft.jpg", "2 twins")]
)
def test_two_pictures_of_one_name_are_a_question_for_a_person(tmp_path: Path, second: str, told: str) -> None:
    """Figures are kept by the name: one pair would pass for two."""
    for kind, image in zip(("cxr", "soft"), chest(256, 256), strict=True):
        save(tmp_path / f"a_{kind}.png", image)
    shutil.copy(tmp_path / "a_cxr.png", tmp_path / second)
    with pytest.raises(ConfigError, match=told):
        open_cases(tmp_path)
