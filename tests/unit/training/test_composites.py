"""Bones move from one pair of lungs to another, and only bones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.composites import lay_over, main
from training.pairs import PairShards, write_shard
from training.simulate.pair import simulate_pair


def layer_with_a_rib(row: int, first: int, last: int) -> np.ndarray:
    layer = np.zeros((128, 128), dtype=np.float32)
    layer[row, first:last] = 1.0
    return layer


class _NoJitter(np.random.Generator):
    """Draws that do not mirror and do not move."""

    def normal(self, *_: object, **__: object) -> float:  # type: ignore[override]
        return 0.0

    def random(self, *_: object, **__: object) -> float:  # type: ignore[override]
        return 0.9


def test_a_rib_at_the_same_share_of_the_lungs_lies_there_in_the_other_lungs() -> None:
    rng = _NoJitter(np.random.PCG64(0))
    moved = lay_over(layer_with_a_rib(60, 20, 100), (20.0, 100.0, 20.0, 100.0), (40.0, 120.0, 30.0, 70.0), rng)
    rows, columns = np.nonzero(moved > 0.5)
    assert set(rows) == {80}  # half-way down 20..100 is half-way down 40..120
    # 20..100 becomes 30..70; an end may lie between two pixels
    assert (columns.min(), columns.max()) == (pytest.approx(30, abs=1), pytest.approx(69, abs=1))


def test_jitter_is_small_and_mirroring_happens() -> None:
    layer = layer_with_a_rib(64, 20, 40)
    box = (20.0, 108.0, 20.0, 108.0)
    centres = []
    for seed in range(40):
        moved = lay_over(layer, box, box, np.random.default_rng(seed))
        centres.append(float(np.average(np.arange(128), weights=moved.sum(axis=0) + 1e-9)))
    left = [centre for centre in centres if centre < 64]
    assert 8 < len(left) < 32
    # 4 % of 88 px for both edges of the box; four deviations
    assert all(abs(centre - 29.5) < 4 * 0.04 * 88 for centre in left)


def test_radiographs_without_twins_become_films_and_composites(tmp_path: Path) -> None:
    """One simulated chest with bones, and thirty pictures that are held out."""
    pair = simulate_pair(18)
    radiographs = tmp_path / "cxr"
    radiographs.mkdir()
    Image.fromarray(np.rint(pair.cxr * 255).astype(np.uint8)).save(radiographs / "a.png")
    for number in range(30):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(radiographs / f"z{number:02d}.png")
    write_shard(tmp_path / "pairs" / "0000-000.npy", [(pair.cxr, pair.soft)])
    main("default", radiographs, tmp_path / "pairs", tmp_path / "out", count=2)
    films, composites = (PairShards(tmp_path / "out" / kind) for kind in ("films", "composites"))
    assert (len(films), len(composites)) == (1, 2)
    cxr, soft = (((image + 1) / 2).numpy() for image in films[0])
    bone = pair.cxr - pair.soft
    found = float(np.sum((cxr - soft) * bone) / np.sqrt(np.sum((cxr - soft) ** 2) * np.sum(bone**2)))
    assert found > 0.5  # the bundle's own layer is that of the bones
    first, second = (composites[number] for number in range(2))
    assert torch.equal(first[1], second[1])  # one tissue, with other bones on it
    assert not torch.equal(first[0], second[0])
    remains = cxr - ((first[1] + 1) / 2).numpy()
    assert float(np.mean(remains * bone)) > 0  # the tissue has fewer bones than the film
