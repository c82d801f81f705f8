"""A folder that appears whole or not at all."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.bundle import BUNDLE_FILE
from pacs_node.errors import ConfigError

__all__ = ["RIVAL_FILE", "appearing_folder", "check_target"]

RIVAL_FILE = (
    "rival.json"  # what `bundle.json` is to a bundle: of the networks of the comparison, see training.baselines
)


def check_target(target: Path, force: bool) -> None:
    """See that ``target`` may be written: absent, empty, a bundle and nothing else, or anything with ``force``.

    Raises
    ------
    ConfigError
        It may not; nothing was touched.
    """
    if not target.exists() or _is_only_a_bundle(target):
        return
    if not target.is_dir():
        raise ConfigError(f"{target} is a file: name another folder")
    if any(target.iterdir()) and not force:
        raise ConfigError(f"{target} holds files that are not a bundle's: name another folder, or use --force")
    if _aside(target).exists():
        raise ConfigError(f"{_aside(target)} is in the way: remove it, or name another folder")


@contextmanager
def appearing_folder(target: Path, *, force: bool = False) -> Iterator[Path]:
    """Give an empty folder beside ``target``; when the block ends well it takes the place of ``target``.

    An old bundle there is removed. With ``force``, other files are kept in a folder named `TARGET.replaced`.

    Raises
    ------
    ConfigError
        See `check_target`.
    """
    target = target.resolve()
    check_target(target, force)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The same parent is the same file system: only there is a rename atomic.
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield work
        _make_readable(work)
        _fsync_all(work)
        _take_place(work, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _make_readable(folder: Path) -> None:
    """A service account must read what somebody else exported; temporary files start private."""
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)


def _take_place(work: Path, target: Path) -> None:
    if target.exists():
        disposable = _is_only_a_bundle(target)
        aside = work.with_suffix(".old") if disposable else _aside(target)
        target.rename(aside)
        work.rename(target)
        if disposable:
            shutil.rmtree(aside)
    else:
        work.rename(target)
    _fsync(target.parent)


def _aside(target: Path) -> Path:
    return target.with_name(f"{target.name}.replaced")


def _is_only_a_bundle(folder: Path) -> bool:
    """True for an empty folder, and for one whose every file is named in its own `bundle.json`, or `rival.json`."""
    if not folder.is_dir():
        return False
    present = {path.name for path in folder.iterdir()}
    if not present:
        return True
    description = RIVAL_FILE if RIVAL_FILE in present else BUNDLE_FILE
    try:
        named = set(json.loads((folder / description).read_bytes())["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return present <= named | {description}


def _fsync_all(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        _fsync(path)
    _fsync(folder)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
