"""Reconstruction, nodules and seeds, on engines whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from model.bundle import ModelSpec
from pacs_node.engine import Engine
from pacs_node.errors import ConfigError
from pacs_node.records import Radiograph
from tests.unit.training.evaluate.conftest import Known, chest
from training.evaluate.reconstruction import held_out, reconstruct
from training.evaluate.stability import NODULE_SIGMAS, nodule_contrast, seed_spread


@pytest.fixture
def radiograph() -> Radiograph:
    return Radiograph(chest(160, 160)[0] * np.float32(0.8), None, 8, Dataset())


def test_a_known_error_has_its_psnr(radiograph_folder: Path, spec: ModelSpec) -> None:
    path = held_out(radiograph_folder)[0]
    # .02 of a range of 2 is 40 dB; the darkest half percent is black already and loses nothing
    assert reconstruct(Known(spec, error=-0.02), path, 128) == pytest.approx(40.0, abs=0.1)


def test_the_tiny_autoencoder_runs_at_every_size(radiograph_folder: Path, engine: Engine) -> None:
    path = held_out(radiograph_folder)[0]
    assert all(0 < reconstruct(engine, path, size) < 60 for size in (64, 128))


def test_held_out_are_the_last_thirty_by_name(tmp_path: Path) -> None:
    for number in range(33):
        (tmp_path / f"{number:02d}.png").touch()
    assert [path.stem for path in held_out(tmp_path)] == [f"{number:02d}" for number in range(3, 33)]
    with pytest.raises(ConfigError, match="holds no PNG"):
        held_out(tmp_path.parent / tmp_path.name / "..")


@pytest.mark.parametrize("sigma", NODULE_SIGMAS)
def test_a_network_that_finds_no_bone_keeps_every_nodule(radiograph: Radiograph, spec: ModelSpec, sigma: float) -> None:
    kept = nodule_contrast(radiograph, Known(spec), 1, sigma)
    assert len(kept) == 4
    assert kept == pytest.approx([1.0] * 4, abs=1e-5)


def test_a_network_that_takes_a_quarter_of_everything_takes_it_of_a_nodule(
    radiograph: Radiograph, spec: ModelSpec
) -> None:
    """The layer is a quarter of the image in the network's units, whatever lies in it."""
    kept = nodule_contrast(radiograph, Known(spec, left=0.75), 1, NODULE_SIGMAS[1])
    # the layer is cut at 0 where the image is below mid-grey, as a bone layer is: lungs lie there, nodules in part
    assert all(0.7 < share <= 1.001 for share in kept)
    assert min(kept) < 0.99


def test_no_lungs_no_nodules(spec: ModelSpec) -> None:
    flat = np.linspace(0.2, 0.8, 96 * 96, dtype=np.float32).reshape(96, 96)
    assert nodule_contrast(Radiograph(flat, None, 8, Dataset()), Known(spec), 1, NODULE_SIGMAS[0]) == ()


def test_a_network_that_ignores_its_noise_does_not_move_with_the_seed(radiograph: Radiograph, spec: ModelSpec) -> None:
    spread, size = seed_spread(radiograph, Known(spec, left=0.5), 1)
    assert spread == 0
    assert size > 0.01
