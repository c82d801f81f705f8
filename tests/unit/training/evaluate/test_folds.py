"""Which bundle measures which pair when pairs are left out."""

from pathlib import Path

import pytest

from model.bundle import Bundle
from pacs_node.engine import Engine
from pacs_node.errors import ConfigError
from training.evaluate.cases import Case, Twins
from training.evaluate.folds import Folds


def unread() -> Twins:
    raise AssertionError("to choose a bundle no pair is read")


def cases(*names: str) -> list[Case]:
    return [Case(name, name.split("_")[0], not name.startswith("jsrt"), unread) for name in names]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a_", "a_2", "b_1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bundle.json").touch()
    return tmp_path


class Opened:
    """Notes what was opened; the bundle and engine themselves do not matter here."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self.pair, self.names = (bundle, engine), list[str]()

    def __call__(self, place: Path) -> tuple[Bundle, Engine]:
        self.names.append(place.name)
        return self.pair


def test_a_pair_is_measured_by_the_bundle_that_left_it_out(folder: Path, bundle: Bundle, engine: Engine) -> None:
    names = ("a_1", "a_2", "a_3", "b_1", "jsrt_1")
    opened = Opened(bundle, engine)
    fold = Folds(folder, cases(*names), opened)
    for name in names:
        assert fold(name) == (bundle, engine)
    # b_1 and jsrt_1: a computed truth was in no training, the last bundle does
    assert opened.names[:4] == ["a_", "a_2", "a_", "b_1"]


def test_a_bundle_is_opened_once_for_pairs_that_follow_each_other(folder: Path, bundle: Bundle, engine: Engine) -> None:
    opened = Opened(bundle, engine)
    fold = Folds(folder, cases("a_1", "a_3"), opened)
    for name in ("a_1", "a_3", "a_3"):
        fold(name)
    assert opened.names == ["a_"]


def test_a_pair_that_no_bundle_leaves_out_is_named(folder: Path, bundle: Bundle, engine: Engine) -> None:
    with pytest.raises(ConfigError, match="leaves c_1 out"):
        Folds(folder, cases("a_1", "c_1"), Opened(bundle, engine))
