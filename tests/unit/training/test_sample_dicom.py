"""The sample is a valid radiograph of nobody, the same every time."""

import subprocess
from pathlib import Path

import pydicom
import pytest

from pacs_node.imaging.read import read_radiograph
from training.sample_dicom import sample_dataset, write_sample


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "phantom.dcm"
    write_sample(path, seed=3, size=(320, 264))
    return path


@pytest.mark.peer("dicom3tools")
def test_the_sample_is_valid_dicom(sample: Path) -> None:
    said = subprocess.run(["dciodvfy", str(sample)], capture_output=True, text=True, check=False)
    assert "Error" not in said.stderr + said.stdout


def test_the_sample_is_read_as_a_frontal_chest(sample: Path) -> None:
    radiograph = read_radiograph(sample)
    assert radiograph.pixels.shape == (320, 264)
    assert radiograph.bits_stored == 12
    assert 0.1 < radiograph.pixels.mean() < 0.9


def test_the_sample_is_the_same_twice(sample: Path, tmp_path: Path) -> None:
    write_sample(tmp_path / "again.dcm", seed=3, size=(320, 264))
    assert (tmp_path / "again.dcm").read_bytes() == sample.read_bytes()


def test_the_sample_names_no_patient(sample: Path) -> None:
    ds = pydicom.dcmread(sample)
    assert ds.PatientName == "DEMO^PHANTOM"
    assert ds.PatientBirthDate == ""
    assert "research" in ds.StudyDescription


def test_a_tiny_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="64 px"):
        sample_dataset(size=(10, 10))
