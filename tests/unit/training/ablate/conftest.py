"""A folder as `pacs-node simulate` leaves it, drawn in no time; results with figures that are known."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.ablate.compare import Seen
from training.ablate.measure import Measured
from training.ablate.plan import STUDIES, Cell, Values, trainings_of
from training.ablate.results import Results
from training.preset import Preset, load_preset

SIZE, PAIRS, PEOPLE = 64, 60, 20


@pytest.fixture(scope="session")
def ablation() -> Preset:
    return load_preset("ablation")


@pytest.fixture(scope="session")
def simulated_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty pairs of twenty people: stripes of bone over a smooth body; every third has another's bones."""
    folder = tmp_path_factory.mktemp("simulated")
    (folder / "simulation.json").write_text("{}", encoding="utf-8")
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    for index in range(PAIRS):
        name = f"procedural_0001-{index:05d}"
        soft = 0.3 + 0.4 * columns * rng.uniform(0.5, 1) + 0.1 * np.sin(6 * rows + rng.uniform(0, 6))
        bone = 0.15 * ((rows * rng.uniform(6, 9)) % 1 < 0.4)
        for kind, image in (("cxr", soft + bone), ("soft", soft)):
            Image.fromarray(np.rint(65535 * image.clip(0, 1)).astype(np.uint16)).save(folder / f"{name}_{kind}.png")
        body = 100_000 + index % PEOPLE
        bones = 100_000 + int(rng.integers(PEOPLE)) if index % 3 == 0 else body
        facts = {"body": ["person", body], "bones": ["person", bones]}
        (folder / f"{name}.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


class Unwritten(Results):
    """In memory: a file synced for each of a hundred cells takes its time."""

    def write(self) -> None:
        """Nothing."""


Psnr = Callable[[Cell, int], float]


@pytest.fixture
def told_by(ablation: Preset, tmp_path: Path) -> Callable[[Psnr], Seen]:
    """Results of two seeds and four pairs whose PSNR a test says; the input has 26 dB."""
    values = Values.of(ablation)

    def rows(psnr: float) -> list[dict[str, float]]:
        figures = [psnr + shift for shift in (-0.02, 0.01, 0.02, -0.01)]
        return [
            {"bsr_tone": (each - 26) / 10, "bsr_strict": 0.1, "psnr": each, "mse": 1 / each, "lpips": 1 / each}
            for each in figures
        ]

    def build(psnr: Psnr) -> Seen:
        results = Unwritten(tmp_path / "results", {"anything": 1})
        results.note("references", {"identity": rows(26.0), "tone": rows(27.0), "bound": rows(36.0)})
        results.note("autoencoder", {"latent_std": [1.8, 4.7], "step": 6, "ending": "finished", "cpu_seconds": 60.0})
        for cells in trainings_of(STUDIES, values).values():
            for seed in (0, 1):
                for cell in cells:
                    results.add_cell(cell, seed, Measured(rows(psnr(cell, seed)), 1.0))
        return Seen(results, values)

    return build
