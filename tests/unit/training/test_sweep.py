"""Sampling one bundle in many ways: every combination, the same noise, the best first."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.bundle import Bundle
from pacs_node.cli import main
from pacs_node.commands.sweep import _rank, parse_values
from pacs_node.config import Device
from pacs_node.engine.load import open_engine
from pacs_node.errors import ConfigError
from tests.bundles import tiny_bundle
from training.evaluate.cases import open_cases
from training.evaluate.scores import Judge
from training.ingest.manifest import Manifest, PairRecord, SourceFacts
from training.ingest.split import SPLITS
from training.sweep import Ground, plan, sweep


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("sweep") / "bundle")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bodies with dark lungs and stripes of bone."""
    folder = tmp_path_factory.mktemp("pairs")
    rows, columns = np.mgrid[0:256, 0:256] / 256
    for index in range(2):
        lungs = sum(np.exp(-(((columns - x) / 0.14) ** 2 + ((rows - 0.5) / 0.3) ** 2) * 2) for x in (0.3, 0.7))
        soft = 0.75 - 0.5 * lungs - 0.1 * index * rows
        bone = 0.12 * ((rows * 8 + columns) % 1 < 0.4)
        for kind, image in (("cxr", soft + bone), ("soft", soft)):
            Image.fromarray(np.rint(255 * image.clip(0, 1)).astype(np.uint8)).save(folder / f"made_{index}_{kind}.png")
    return folder


def test_every_combination_is_a_way(bundle: Bundle) -> None:
    trials = plan(bundle.spec, {"clipping.omega": [0, 3], "offset_noise": [0.0, 0.1, 0.2]})
    assert len({(trial.spec.clipping.omega, trial.spec.offset_noise) for trial in trials}) == 6
    assert all(trial.spec.clipping.b == bundle.spec.clipping.b for trial in trials)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"prediction": ["v"]}, "prediction cannot be varied"),
        ({"process": ["flow"]}, "process cannot be varied"),
        ({"clipping.omeg": [3]}, "omeg"),
        ({"eta": [2]}, "eta"),
        ({"sampler": ["dpmpp_2m"], "eta": [1]}, "draws no noise"),
    ],
)
def test_what_cannot_be_varied_is_said_before_the_work(
    bundle: Bundle, values: dict[str, list[object]], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        plan(bundle.spec, values)


def test_values_are_numbers_or_words_and_a_key_comes_once() -> None:
    assert parse_values(["clipping.omega=0,3.5", "sampler=ddim,ddpm"]) == {
        "clipping.omega": [0, 3.5],
        "sampler": ["ddim", "ddpm"],
    }
    for wrong in (["steps"], ["steps="], ["steps=1,,2"], ["steps=1", "steps=2"], ["=3"]):
        with pytest.raises(ConfigError, match="--vary"):
            parse_values(wrong)


def test_equal_ways_score_equally_and_other_ways_do_not(bundle: Bundle, pairs: Path) -> None:
    trials = plan(bundle.spec, {"steps": [1, 3], "clipping.omega": [12.0, 12.0]})
    seen: list[None] = []
    ground = Ground(bundle, open_engine(bundle, Device.CPU, 1), open_cases(pairs), Judge(None))
    sweep(ground, trials, lambda: seen.append(None))
    assert len(seen) == 8
    scores = [trial.scores["psnr"] for trial in trials]
    assert scores[0] == scores[1]
    assert scores[2] == scores[3]
    assert scores[0] != scores[2]


def test_the_command_ranks_and_says_how_to_keep_the_first(
    bundle: Bundle, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order = ["sweep", "--bundle", str(bundle.folder), "--pairs", str(pairs), "--threads", "1"]
    assert main([*order, "--vary", "fusion.strength=0.5,1", "--vary", "sampler=ddim,ddpm", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 4
    assert [row["bsr_tone"] for row in rows] == sorted((row["bsr_tone"] for row in rows), reverse=True)
    assert len({row["psnr"] for row in rows}) == 4
    assert main([*order, "--vary", "steps=1", "--by", "mse"]) == 0
    told = capsys.readouterr()
    assert "mse *" in told.out
    assert "--set steps=1" in told.err
    assert main([*order, "--vary", "steps=1", "--by", "ribs_left"]) == 2
    assert "--by ribs_left: one of" in capsys.readouterr().err


@pytest.fixture
def without_lungs(tmp_path: Path) -> Path:
    """Three slopes with stripes as `pacs-node ingest` leaves pairs, one in each split."""
    (tmp_path / "pairs").mkdir()
    soft = np.tile(np.linspace(0.2, 0.7, 256), (256, 1))
    records = []
    for name, split in zip("abc", SPLITS, strict=True):
        for kind, image in (("cxr", soft + 0.1 * (soft > 0.4)), ("soft", soft)):
            grey = Image.fromarray(np.rint(65535 * image).astype(np.uint16))
            grey.save(tmp_path / "pairs" / f"{name}_{kind}.png")
        facts = {"pair_id": name, "patient": name, "source": "own", "split": split, "recipe": "r"}
        records.append(PairRecord.model_validate(facts | {"source_sha256": ("0", "1"), "picture": (256, 256)}))
    own = {"own": SourceFacts(title="drawn", layout="test", licence=None)}
    Manifest(size=256, sources=own, pairs=tuple(records)).write(tmp_path)
    return tmp_path


def test_what_is_chosen_has_not_seen_the_test_split_and_json_knows_no_nan(
    bundle: Bundle, without_lungs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order = ["sweep", "--bundle", str(bundle.folder), "--pairs", str(without_lungs), "--threads", "1"]
    assert main([*order, "--vary", "steps=1", "--json"]) == 0
    told = capsys.readouterr()
    assert "1 ways on 1 pairs" in told.err
    (row,) = json.loads(told.out, parse_constant=pytest.fail)
    assert row["ribs_left"] is None


def test_what_has_no_figure_is_neither_first_nor_kept(
    bundle: Bundle, without_lungs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ranks = [_rank(value, best_is_high=True) for value in (float("nan"), 0.2, 0.9)]
    assert sorted(ranks) == [ranks[2], ranks[1], ranks[0]]
    order = ["sweep", "--bundle", str(bundle.folder), "--pairs", str(without_lungs), "--threads", "1"]
    assert main([*order, "--vary", "steps=1,2", "--by", "bsr_tone_lungs"]) == 0
    told = capsys.readouterr().err
    assert "no way has a bsr_tone_lungs on these pairs" in told
    assert "to keep the first" not in told
