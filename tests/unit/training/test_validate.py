"""Looking at real pairs while training: what is taken, and what a checkpoint is chosen by."""

from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.evaluate.conftest import chest, save
from training.ingest.manifest import Manifest, PairRecord, SourceFacts, Split
from training.validate import RealPairs, choice_score, score_pairs

GRID = 128
EXTREMES = {"input": 0.7, "truth": 0.1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dual-energy pairs and a computed one."""
    folder = tmp_path_factory.mktemp("real")
    for number, name in enumerate(("a_0", "a_1", "jsrt_2")):
        for kind, image in zip(("cxr", "soft"), chest(256, 320, number), strict=True):
            save(folder / f"{name}_{kind}.png", image)
    return folder


def test_computed_truths_choose_no_checkpoint(folder: Path) -> None:
    assert RealPairs(folder, GRID).names == ["a_0", "a_1"]
    assert RealPairs(folder, GRID, ("jsrt",)).names == ["jsrt_2"]
    assert RealPairs(folder, GRID, ("a_1_",)).names == ["a_1"]


def test_no_layer_scores_nothing_and_the_true_layer_nearly_all(folder: Path) -> None:
    pairs = RealPairs(folder, GRID)
    assert pairs.images().shape == (2, 1, GRID, GRID)
    true = np.stack([cxr - soft for cxr, soft in zip(pairs.cxr, pairs.soft, strict=True)])
    nothing, everything = score_pairs(pairs, np.zeros_like(true)), score_pairs(pairs, true)
    assert nothing["bsr_tone/1.00/hp0"] == pytest.approx(0, abs=1e-6)
    assert nothing["ribs_left/1.00/hp0"] == pytest.approx(nothing["ribs_left/input"], abs=1e-6)
    # not 1: the layer is cut at 0, and radiograph and truth are stretched to their own ranges
    assert everything["bsr_tone/1.00/hp0"] > 0.5
    assert everything["score"] > nothing["score"] + 0.5
    assert everything["score"] == max(value for key, value in everything.items() if key.startswith("choice/"))


def test_a_checkpoint_is_chosen_by_tone_whole_and_in_the_lungs() -> None:
    good = {"bsr_tone": 0.4, "lungs": 0.6, "ribs_left": 0.2}
    assert choice_score(good, EXTREMES) == pytest.approx(0.5)
    assert choice_score(good | {"lungs": float("nan")}, EXTREMES) == 0.4


def test_ribs_that_are_left_and_vessels_that_are_taken_cost_score() -> None:
    means = {"bsr_tone": 0.4, "lungs": 0.6}
    # .3 is a third of the way from .1 to .7; .05 is .05 below the truth: both are still free
    assert choice_score(means | {"ribs_left": 0.3}, EXTREMES) == pytest.approx(0.5)
    assert choice_score(means | {"ribs_left": 0.05}, EXTREMES) == pytest.approx(0.5)
    assert choice_score(means | {"ribs_left": 0.5}, EXTREMES) == pytest.approx(0.4)
    assert choice_score(means | {"ribs_left": -0.15}, EXTREMES) == pytest.approx(0.4)


def test_of_an_ingested_folder_the_validation_pairs_are_looked_at(tmp_path: Path) -> None:
    cxr, soft = chest(GRID, GRID)
    facts = {"own": SourceFacts(title="drawn", layout="test", licence=None)}
    (tmp_path / "pairs").mkdir()
    records = []
    splits: tuple[Split, ...] = ("train", "validation")
    for name, split in zip(("1" * 16, "2" * 16), splits, strict=True):
        for kind, image in (("cxr", cxr), ("soft", soft)):
            save(tmp_path / "pairs" / f"{name}_{kind}.png", image, 16)
        known = {"pair_id": name, "patient": name, "source": "own", "split": split, "recipe": "r"}
        record = known | {"source_sha256": ("0" * 64, "1" * 64), "picture": (GRID, GRID)}
        records.append(PairRecord.model_validate(record))
    Manifest(size=GRID, sources=facts, pairs=tuple(records)).write(tmp_path)
    assert RealPairs(tmp_path, GRID).names == ["2" * 16]


def test_a_folder_without_pairs_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no real pair"):
        RealPairs(tmp_path, GRID)
