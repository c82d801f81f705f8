"""Whose work a folder holds: what networks made is of use only with those networks, and only for those pairs."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from export.fingerprint import fingerprint
from training.checkpoint import CheckpointError

__all__ = ["SIMULATED", "claim"]

SIMULATED = "simulated"  # the pairs of a run that simulates them by itself
PAIRS = "pairs"


def claim(folder: Path, networks: Mapping[str, nn.Module], pairs: str) -> None:
    """Note in ``folder`` who fills it: what an earlier state of a network made would teach nonsense.

    Nor is what was made of other pairs taken for what was asked for.

    Parameters
    ----------
    networks : by name; their fingerprints are kept as `NAME.sha256`.
    pairs : identity of the pairs, `SIMULATED` where a run has its own.

    Raises
    ------
    CheckpointError
        The folder was filled by other networks, or from other pairs.
    """
    notes = {name: fingerprint(network) for name, network in networks.items()}
    for name, mark in notes.items():
        if _read(folder, name) not in (None, mark):
            raise CheckpointError(f"{folder} is from before the {name} was trained on: remove it to form it again")
    if folder.is_dir() and (_read(folder, PAIRS) or SIMULATED) != pairs:
        raise CheckpointError(f"{folder} is of other pairs than these: remove it to form it again")
    if not folder.is_dir():
        folder.mkdir(parents=True)
        for name, content in (notes | {PAIRS: pairs}).items():
            (folder / f"{name}.sha256").write_text(content, encoding="ascii")


def _read(folder: Path, name: str) -> str | None:
    note = folder / f"{name}.sha256"
    return note.read_text(encoding="ascii") if note.is_file() else None
