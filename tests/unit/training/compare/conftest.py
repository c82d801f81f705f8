"""Folders of pairs of drawn chests as `pacs-node simulate` writes them, without the time that simulating takes."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.unit.training.evaluate.conftest import chest
from training.simulation import Wish

SIDE = 128


def write_simulated(folder: Path, seed: int, people: list[tuple[int, int]], *, bone: bool = True) -> Path:
    """One pair for each (body, bones)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "simulation.json").write_text(json.dumps(asdict(Wish("procedural", (), seed, SIDE))))
    for index, (body, bones) in enumerate(people):
        name = f"procedural_{seed:04d}-{index:05d}"
        cxr, soft = chest(SIDE, SIDE, seed + index)
        for kind, image in (("cxr", cxr if bone else soft), ("soft", soft)):
            Image.fromarray(np.rint(image * 65535).astype(np.uint16)).save(folder / f"{name}_{kind}.png")
        facts = {"body": ["person", body], "bones": ["person", bones]}
        (folder / f"{name}.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture
def simulated(tmp_path: Path) -> Path:
    """Thirty pairs of twenty people; a third of them with the bones of somebody else."""
    people = [(n % 20, (n + 7) % 20 if n % 3 == 0 else n % 20) for n in range(30)]
    return write_simulated(tmp_path / "simulated", 7, people)
