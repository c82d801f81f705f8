"""CT in a folder of any kind: the same matter from NIfTI and from DICOM, and a reason for what cannot be used."""

import itertools
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from training.simulate.ct import STRAIGHT, project, separate
from training.simulate.ct.files import Found, find_scans, read_scan
from training.simulate.ct.scan import Refused

SPACING = np.array([4.0, 4.0, 4.5])
Change = Callable[[int, Dataset], None]


def hounsfield() -> np.ndarray:
    """A block of soft tissue with a bone that lies to the right, to the front and high: no axis can be exchanged."""
    hu = np.full((44, 34, 36), -1000, np.int16)
    hu[4:40, 4:30] = 40
    hu[26:36, 20:26, 22:32] = 1500
    return hu


def write_nifti(path: Path, hu: np.ndarray, affine: np.ndarray | None = None) -> None:
    nibabel.save(nibabel.Nifti1Image(hu, np.diag([*SPACING, 1.0]) if affine is None else affine), path)


def write_series(folder: Path, hu: np.ndarray, change: Change | None = None) -> None:
    """Axial slices in the order of the scanner: rows to the patient's left, columns to the back, shuffled names."""
    folder.mkdir(parents=True, exist_ok=True)
    series, study = generate_uid(), generate_uid()
    for k in range(hu.shape[2]):
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, generate_uid()
        ds.SeriesInstanceUID, ds.StudyInstanceUID = series, study
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        plane = hu[::-1, ::-1, k].T
        ds.Rows, ds.Columns = plane.shape
        ds.PixelSpacing, ds.SliceThickness = [SPACING[1], SPACING[0]], 4.5
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.ImagePositionPatient = [-80.0, -60.0, 100.0 + SPACING[2] * k]
        ds.RescaleSlope, ds.RescaleIntercept = 2, -1024 - k  # each slice has its own
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
        if change is not None:
            change(k, ds)
        if "SkipMe" in ds.get("ImageComments", ""):
            continue
        stored = (plane.astype(int) - int(ds.RescaleIntercept)) // int(ds.RescaleSlope)
        ds.PixelData = stored.astype("<u2").tobytes()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(folder / f"{(k * 17) % hu.shape[2]:03d}", enforce_file_format=True)


def only(folder: Path) -> Found:
    found = list(find_scans(folder))
    assert len(found) == 1
    return found[0]


def test_a_nifti_file_in_any_orientation_comes_right_front_up(tmp_path: Path) -> None:
    hu = hounsfield()
    for number, signs in enumerate(itertools.product((1, -1), repeat=3)):
        folder = tmp_path / str(number)
        folder.mkdir()
        stored = hu[tuple(slice(None, None, sign) for sign in signs)]
        write_nifti(folder / "ct.nii.gz", stored.transpose(2, 0, 1), _affine(signs))
        scan = read_scan(only(folder))
        assert np.array_equal(scan.hu, hu)
        assert scan.spacing_mm == pytest.approx(SPACING)


def _affine(signs: tuple[int, ...]) -> np.ndarray:
    """Of a file whose first axis runs along z, the second along x, the third along y."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[0, 1], affine[1, 2], affine[3, 3] = signs[2] * 4.5, signs[0] * 4.0, signs[1] * 4.0, 1
    return affine


def test_a_series_is_sorted_by_geometry_and_equals_the_nifti_file(tmp_path: Path) -> None:
    write_series(tmp_path / "series", hounsfield())
    (tmp_path / "series" / "notes.txt").write_text("not DICOM")
    scan = read_scan(only(tmp_path))
    assert np.abs(scan.hu - hounsfield()).max() <= 1  # a slope of 2 halves the grey levels
    assert scan.spacing_mm == pytest.approx(SPACING)
    assert scan.notes == ()


def test_the_path_through_bone_is_the_one_that_was_written(tmp_path: Path) -> None:
    write_series(tmp_path, hounsfield())
    scan = read_scan(only(tmp_path))
    bone = project(separate(scan.hu, scan.spacing_mm), STRAIGHT, size=64).bones[0]
    # 6 voxels of 4 mm of cortical bone, 1.92 g/cm3; steps of 3 mm meet 24 mm eight times
    assert np.percentile(bone[bone > 0.5], 90) == pytest.approx(2.4 * 1.92, rel=0.06)
    rows, columns = np.nonzero(bone > 1)
    assert rows.mean() < 31, "high"
    assert columns.mean() < 29, "the patient's right is on the left of the picture"


def test_two_series_in_a_folder_are_two_scans_and_a_scout_is_none(tmp_path: Path) -> None:
    write_series(tmp_path / "both", hounsfield())
    write_series(tmp_path / "other", hounsfield())

    def scout(_: int, ds: Dataset) -> None:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    def resonance(_: int, ds: Dataset) -> None:
        ds.SOPClassUID = MRImageStorage

    write_series(tmp_path / "scout", hounsfield(), scout)
    write_series(tmp_path / "mr", hounsfield(), resonance)
    assert [found.name for found in find_scans(tmp_path)] == ["both", "other"]


def test_missing_slices_are_noticed_and_interpolated(tmp_path: Path) -> None:
    def lost(k: int, ds: Dataset) -> None:
        ds.ImageComments = "SkipMe" if k in (7, 15) else ""

    write_series(tmp_path, hounsfield(), lost)
    scan = read_scan(only(tmp_path))
    assert scan.hu.shape == hounsfield().shape
    assert np.abs(scan.hu - hounsfield()).max() <= 1
    assert scan.notes == ("2 slices are missing and were interpolated",)


def test_slices_that_come_twice_count_once(tmp_path: Path) -> None:
    hu = hounsfield()

    def doubled(k: int, ds: Dataset) -> None:
        ds.ImagePositionPatient = [-80.0, -60.0, 100.0 + 4.5 * (k - (k == 1))]

    write_series(tmp_path, hu, doubled)
    scan = read_scan(only(tmp_path))
    assert "1 slices lie where another one lies and were left out" in scan.notes


def _oblique(_: int, ds: Dataset) -> None:
    ds.ImageOrientationPatient = [1, 0, 0, 0, np.cos(0.3), np.sin(0.3)]


def _sheared(k: int, ds: Dataset) -> None:
    ds.ImagePositionPatient = [-80.0, -60.0 + 1.2 * k, 100.0 + 4.5 * k]


def _tilted(_: int, ds: Dataset) -> None:
    ds.GantryDetectorTilt = 12


def _uneven(k: int, ds: Dataset) -> None:
    ds.ImagePositionPatient = [-80.0, -60.0, 100.0 + 4.5 * k + 0.2 * k * k]


def _gap(k: int, ds: Dataset) -> None:
    ds.ImageComments = "SkipMe" if 8 <= k < 15 else ""


def _short(k: int, ds: Dataset) -> None:
    ds.ImagePositionPatient = [-80.0, -60.0, 100.0 + 1.0 * k]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_oblique, "oblique"),
        (_sheared, "shifted against each other"),
        (_tilted, "tilted by 12 degrees"),
        (_uneven, "distance of slices changes"),
        (_gap, "7 slices in a row are missing"),
        (_short, "too small for a thorax"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(tmp_path: Path, change: Change, reason: str) -> None:
    write_series(tmp_path, hounsfield(), change)
    with pytest.raises(Refused, match=reason):
        read_scan(only(tmp_path))


def test_an_oblique_nifti_file_is_refused(tmp_path: Path) -> None:
    c, s = np.cos(0.2), np.sin(0.2)
    affine = np.array([[4 * c, -4 * s, 0, 0], [4 * s, 4 * c, 0, 0], [0, 0, 4.5, 0], [0, 0, 0, 1]])
    write_nifti(tmp_path / "ct.nii", hounsfield(), affine)
    with pytest.raises(Refused, match="turned by 11 degrees"):
        read_scan(only(tmp_path))


def test_a_damaged_nifti_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ct.nii.gz").write_bytes(b"no scan")
    with pytest.raises(Refused, match="no readable NIfTI"):
        read_scan(only(tmp_path))


def test_a_label_map_beside_a_scan_is_its_own_and_no_scan(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz", hounsfield())
    write_nifti(tmp_path / "a_mask.nii.gz", (hounsfield() > 1000).astype(np.int16))
    scan = read_scan(only(tmp_path))
    assert scan.labels is not None
    assert (scan.labels == 1).sum() == 600


def test_a_table_a_blanket_and_a_cable_are_not_the_patient(tmp_path: Path) -> None:
    hu = np.full((120, 90, 50), -1000, np.float32)
    hu[15:105, 20:75] = 40
    hu[10:110, 10:13] = 300  # the table
    hu[10:110, 17] = 100  # a blanket that touches the back: one voxel thick and joined by a fold
    hu[60, 17:20] = 100
    hu[30:32, 75:88] = 2500  # a cable that stands on the chest
    volume = separate(hu, np.full(3, 3.0))
    join = hu.shape[1] / volume.soft.shape[1]
    assert volume.soft[:, : int(16 / join)].max() < 0.1
    assert volume.soft[:, int(80 / join) :].max() < 0.1
    assert volume.mineral.max() == 0
