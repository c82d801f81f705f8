"""A folder appears whole or not at all, and nobody's files are lost."""

from pathlib import Path

import pytest

from export.folder import appearing_folder
from model.bundle import BUNDLE_FILE
from pacs_node.errors import ConfigError


def make_bundle(folder: Path, mark: str) -> None:
    """What `appearing_folder` takes for a bundle: a description that names every file."""
    folder.mkdir(exist_ok=True)
    (folder / "weights").write_text(mark)
    (folder / BUNDLE_FILE).write_text('{"files": {"weights": {}}}')


def fill(target: Path, mark: str, *, force: bool = False) -> None:
    with appearing_folder(target, force=force) as folder:
        make_bundle(folder, mark)


def fail_half_way(target: Path) -> None:
    with appearing_folder(target) as folder:
        make_bundle(folder, "half")
        raise ZeroDivisionError


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_new_folder_appears_with_its_parents_and_nothing_else_stays(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    fill(target, "new")
    assert (target / "weights").read_text() == "new"
    assert names(target.parent) == {"b"}


def test_nothing_appears_when_the_work_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_half_way(tmp_path / "bundle")
    assert names(tmp_path) == set()


def test_an_older_bundle_stays_when_the_work_fails(tmp_path: Path) -> None:
    fill(tmp_path / "bundle", "old")
    with pytest.raises(ZeroDivisionError):
        fail_half_way(tmp_path / "bundle")
    assert (tmp_path / "bundle" / "weights").read_text() == "old"
    assert names(tmp_path) == {"bundle"}


def test_an_older_bundle_is_replaced(tmp_path: Path) -> None:
    fill(tmp_path / "bundle", "old")
    fill(tmp_path / "bundle", "new")
    assert (tmp_path / "bundle" / "weights").read_text() == "new"
    assert names(tmp_path) == {"bundle"}


def test_a_folder_with_other_files_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    with pytest.raises(ConfigError, match="--force"):
        fill(tmp_path / "home", "new")
    assert names(tmp_path / "home") == {"letter"}
    assert names(tmp_path) == {"home"}


def test_a_bundle_with_a_strangers_file_in_it_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "bundle", "old")
    (tmp_path / "bundle" / "notes").write_text("mine")
    with pytest.raises(ConfigError, match="--force"):
        fill(tmp_path / "bundle", "new")
    assert (tmp_path / "bundle" / "notes").read_text() == "mine"


def test_force_keeps_other_files_beside(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    fill(tmp_path / "home", "new", force=True)
    assert (tmp_path / "home" / "weights").read_text() == "new"
    assert (tmp_path / "home.replaced" / "letter").read_text() == "dear"


def test_force_does_not_lose_what_an_earlier_force_kept(tmp_path: Path) -> None:
    for name in ("home", "home.replaced"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "letter").write_text(name)
    with pytest.raises(ConfigError, match="in the way"):
        fill(tmp_path / "home", "new", force=True)
    assert (tmp_path / "home.replaced" / "letter").read_text() == "home.replaced"


def test_a_file_under_the_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_text("a file")
    with pytest.raises(ConfigError, match="is a file"):
        fill(tmp_path / "bundle", "new", force=True)


def test_another_account_can_read_what_was_exported(tmp_path: Path) -> None:
    with appearing_folder(tmp_path / "bundle") as folder:
        make_bundle(folder, "new")
        (folder / "weights").chmod(0o600)  # as safetensors leaves it
    assert (tmp_path / "bundle").stat().st_mode & 0o055 == 0o055
    assert (tmp_path / "bundle" / "weights").stat().st_mode & 0o044 == 0o044
