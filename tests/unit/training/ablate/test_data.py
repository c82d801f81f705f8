"""Whom the networks learn from, nobody measures on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pacs_node.cli import main
from pacs_node.errors import ConfigError
from training.ablate.data import Amounts, given, simulated

GRID = 64


def nobody(_what: str, _done: int, _total: int) -> None:
    """No bar."""


def people(folder: Path, names: list[str]) -> set[int]:
    """Of bodies and bones."""
    facts = [json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in names]
    return {int(each[part][1]) for each in facts for part in ("body", "bones")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    data = simulated(folder, Amounts(3, 2), 7, GRID, nobody)
    assert (len(data.pairs), len(data.tested)) == (3, 2)
    assert all(pair.cxr.shape == (GRID, GRID) for pair in data.tested)
    return folder


def test_simulated_people_are_trained_on_or_tested_on(made: Path) -> None:
    train, test = (
        people(made / name, [path.name.removesuffix("_cxr.png") for path in (made / name).glob("*_cxr.png")])
        for name in ("train", "test")
    )
    assert train
    assert test
    assert not train & test


def test_the_simulated_pairs_are_those_of_the_simulate_command(made: Path, tmp_path: Path) -> None:
    order = ["simulate", "-n", "2", "-o", str(tmp_path), "--source", "procedural", "--seed", "8", "--size", str(GRID)]
    assert main([*order, "--json"]) == 0
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    assert names == sorted(path.name for path in (made / "test").glob("*.png"))
    assert all((tmp_path / name).read_bytes() == (made / "test" / name).read_bytes() for name in names)


def test_what_was_simulated_is_not_simulated_again(made: Path) -> None:
    told: list[str] = []
    again = simulated(made, Amounts(3, 2), 7, GRID, lambda what, _done, _total: told.append(what))
    assert told == []
    assert len(again.pairs) == 3


def test_a_folder_is_split_by_person(simulated_folder: Path, tmp_path: Path) -> None:
    data = given(simulated_folder, tmp_path, 100, GRID)
    tested = [pair.name for pair in data.tested]
    assert tested
    everybody = [path.name.removesuffix("_cxr.png") for path in simulated_folder.glob("*_cxr.png")]
    strangers = [name for name in everybody if not people(simulated_folder, [name]) & people(simulated_folder, tested)]
    assert len(data.pairs) == len(strangers)  # every pair without a tested person, and no other


def test_test_pairs_are_stretched_together_with_their_truth(simulated_folder: Path, tmp_path: Path) -> None:
    pair = given(simulated_folder, tmp_path, 1, GRID).tested[0]
    bone = pair.cxr - pair.soft
    assert np.quantile(bone, 0.05) == pytest.approx(0, abs=1e-3)  # where there is none, the twins agree
    assert bone.max() > 0.15


def test_another_amount_of_pairs_is_another_identity(simulated_folder: Path, made: Path, tmp_path: Path) -> None:
    one = given(simulated_folder, tmp_path / "a", 100, GRID).identity
    assert one == given(simulated_folder, tmp_path / "b", 100, GRID).identity
    assert one != simulated(made, Amounts(3, 2), 7, GRID, nobody).identity


def test_a_folder_of_neither_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither pairs of `pacs-node ingest` nor of `pacs-node simulate`"):
        given(tmp_path, tmp_path / "into", 3, GRID)


def test_a_folder_without_anybody_to_test_on_says_how_to_get_more(tmp_path: Path) -> None:
    (tmp_path / "simulation.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"0 pairs to train on.*simulate -n"):
        given(tmp_path, tmp_path / "into", 3, GRID)


def test_pairs_without_bone_are_not_measured_on(made: Path, tmp_path: Path) -> None:
    """A share of nothing is no number, and one of next to nothing outweighs a mean."""
    shutil.copytree(made, tmp_path / "made")
    test = tmp_path / "made" / "test"
    first = sorted(path.name.removesuffix("_cxr.png") for path in test.glob("*_cxr.png"))[0]
    shutil.copy(test / f"{first}_soft.png", test / f"{first}_cxr.png")
    data = simulated(tmp_path / "made", Amounts(3, 2), 7, GRID, nobody)
    assert first not in [pair.name for pair in data.tested]
    assert len(data.tested) == 1
    assert "1 with next to no bone left out" in data.facts["measured on"]


def test_a_folder_whose_test_pairs_have_no_bone_is_refused(simulated_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "boneless"
    shutil.copytree(simulated_folder, folder)
    for path in folder.glob("*_cxr.png"):
        shutil.copy(path.with_name(path.name.replace("_cxr", "_soft")), path)
    with pytest.raises(ConfigError, match="0 of other people, with bone, to test on"):
        given(folder, tmp_path / "into", 24, GRID)
