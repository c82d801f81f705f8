"""A real, tiny bundle for tests: the shipped modules at their smallest, random weights, exported as any other."""

import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from model.bundle import Bundle, open_bundle

__all__ = ["TINY_GRID", "tiny_bundle"]

TINY_GRID = 64


def tiny_bundle(folder: Path) -> Bundle:
    """Copy the tiny bundle into ``folder``, which must not exist yet, and open it; exported once per test process."""
    shutil.copytree(_exported(), folder)
    return open_bundle(folder)


@cache
def _exported() -> Path:
    from export.to_bundle import export_network
    from tests.networks import tiny_network

    folder = Path(mkdtemp(prefix="pacs-node-tiny-")) / "tiny"
    facts = {"name": "tiny", "version": "0", "grid": TINY_GRID, "steps": 2}
    export_network(tiny_network(), folder, facts)
    return folder
