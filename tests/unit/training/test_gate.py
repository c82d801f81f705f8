"""How the gate's classifier is trained: the films, the folds, the classes, and that the service computes the same."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pacs_node.imaging.gate_network import CLASSES, load_network
from pacs_node.imaging.gate_thumbnail import SIDE, with_ranks
from pacs_node.records import FloatImage
from training.gate.augment import CROPPED, thumbnails
from training.gate.chests import cartoons
from training.gate.drawings import PARTS, draw_part, drawings
from training.gate.elsewhere import patterns
from training.gate.evaluate import confusion, markdown, shown
from training.gate.film import FOLDS, KINDS, Film, Pool
from training.gate.network import GateNetwork
from training.gate.train import Plan, batch, fit, write_weights


@pytest.fixture(scope="module")
def pool() -> Pool:
    """Cartoons of chests, patterns, and two kinds that are only there to be drawn."""
    films = [*cartoons(10), *patterns(2)]
    still = np.random.default_rng(0).random((90, 90)).astype(np.float32)
    films += [Film(still, kind, kind, "1", fold) for kind in ("lateral", "bone") for fold in range(FOLDS)]
    parts = [thumbnails(film, 2, seed) for seed, film in enumerate(films)]
    return Pool.join([*parts, *(thumbnails(film, 1, 9, useless_crop=True) for film in cartoons(10))])


def test_numpy_computes_what_was_trained(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = GateNetwork()
    with torch.no_grad():
        network(torch.randn(64, 2, SIDE, SIDE))  # so that there are means and variances to fold in
    network.eval()
    write_weights(network, tmp_path / "weights.npz", "a test")
    images = with_ranks(np.random.default_rng(1).random((5, SIDE, SIDE)).astype(np.float32))
    with torch.no_grad():
        expected = torch.softmax(network(torch.from_numpy(images)), dim=1).numpy()
    # the weights are stored in half precision: 11 bits
    np.testing.assert_allclose(load_network(tmp_path / "weights.npz").probabilities(images), expected, atol=5e-3)


def test_a_network_learns_cartoons_from_patterns_and_their_rotations(pool: Pool) -> None:
    torch.set_num_threads(1)
    plan = Plan(steps=60, batch=64)
    first, again = (fit(pool, 1, plan) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)), "a fixed seed"
    rows = [np.flatnonzero((pool.fold == 1) & (pool.kind == kind)) for kind in range(CROPPED + 1)]
    tones, wanted = batch(pool, rows, 300, np.random.default_rng(2))
    with torch.no_grad():
        found = first(torch.from_numpy(with_ranks(tones))).argmax(dim=1).numpy()
    known = np.isin(wanted, [CLASSES.index(name) for name in ("frontal", "inverted", "rotated", "other")])
    assert (found[known] == wanted[known]).mean() > 0.6  # four of seven classes; by chance a third


def test_a_fold_is_not_seen_by_the_network_that_judges_it(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[NDArray[np.int64]] = []

    def noted(
        of: Pool, rows: list[NDArray[np.int64]], count: int, rng: np.random.Generator
    ) -> tuple[FloatImage, NDArray[np.int64]]:
        seen.append(np.concatenate(rows))
        return batch(of, rows, count, rng)

    monkeypatch.setattr("training.gate.train.batch", noted)
    fit(pool, 2, Plan(steps=2, batch=8))
    assert 2 not in pool.fold[seen[0]]
    assert set(pool.fold[seen[0]]) == set(range(FOLDS)) - {2}


def test_every_class_has_its_own_handling(pool: Pool) -> None:
    rows = [np.flatnonzero(pool.kind == kind) for kind in range(CROPPED + 1)]
    tones, wanted = batch(pool, rows, 200, np.random.default_rng(5))
    assert tones.shape == (200, SIDE, SIDE)
    assert set(wanted) == set(range(len(CLASSES)))
    frontal, inverted = (tones[wanted == CLASSES.index(name)].mean(axis=0) for name in ("frontal", "inverted"))
    lung = (slice(24, 40), slice(14, 24))
    assert frontal[lung].mean() < frontal.mean(), "lungs are dark"
    assert inverted[lung].mean() > inverted.mean(), "and bright in a negative"


@pytest.mark.parametrize("part", PARTS)
def test_drawn_films_are_pictures_with_structure(part: str) -> None:
    film = draw_part(part, np.random.default_rng(4))
    assert film.dtype == np.float32
    assert 0 <= film.min() < 0.2
    assert 0.8 < film.max() <= 1
    assert film.std() > 0.05


def test_parts_of_the_body_are_kept_apart_by_fold() -> None:
    folds: dict[str, set[int]] = {}
    for film in drawings(3):
        folds.setdefault(film.source, set()).add(film.fold)
    assert len(folds) == len(PARTS)
    assert all(len(of_part) == 1 for of_part in folds.values())


def test_a_pool_comes_back_from_its_file(pool: Pool, tmp_path: Path) -> None:
    pool.save(tmp_path / "pool.npz")
    back = Pool.load(tmp_path / "pool.npz")
    for name in ("tones", "kind", "fold"):
        np.testing.assert_array_equal(getattr(back, name), getattr(pool, name))


def test_the_table_counts_every_way_a_chest_is_shown() -> None:
    [chest] = cartoons(1)
    film = Film(chest.picture, "frontal", "cxr", "1", 0)
    table = markdown(confusion(shown([film, Film(np.full((99, 99), 0.5, np.float32), "other", "even", "1", 0)])))
    rows = {line.split("|")[1].strip(): line for line in table.splitlines()[2:]}
    assert set(rows) == {
        "cxr",
        "cxr, turned by 90",
        "cxr, turned by 180",
        "cxr, negative",
        "cxr, a fifth to a half of each side",
        "even",
    }
    assert "| 2 |" in rows["cxr, turned by 90"]
    assert "blank 1" in rows["even"]
    assert len(KINDS) == CROPPED
