"""A simulated chest radiograph as a Computed Radiography file: what the demonstration sends, about nobody."""

import uuid
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian
from scipy import ndimage

from training.simulate.pair import SimulatedPair, simulate_pair

__all__ = ["sample_dataset", "sample_soft", "write_sample"]

BITS_STORED = 12
GRID = 1024  # px at most, on which the image is formed before it is brought to the size of a detector
FIELD_CM = 35.0
NAMESPACE = uuid.UUID("8d0a4a0e-5d2c-5a57-9f0d-2f4f9b6f6c11")


def write_sample(path: Path, seed: int = 18, size: tuple[int, int] = (2140, 1760)) -> Dataset:
    """Write a phantom radiograph to ``path`` and return its data set.

    Parameters
    ----------
    path : file to write, DICOM Part 10, Explicit VR Little Endian.
    seed : which phantom; the same seed and size give the same bytes, UIDs included.
    size : rows and columns, px.

    Raises
    ------
    ValueError : rows or columns are below 64.
    OSError : the file cannot be written.
    """
    ds = sample_dataset(seed, size)
    ds.save_as(path, enforce_file_format=True)
    return ds


def sample_dataset(seed: int = 18, size: tuple[int, int] = (2140, 1760)) -> Dataset:
    """The data set of `write_sample`, with its file meta information."""
    rows, columns = size
    if min(rows, columns) < 64:
        raise ValueError(f"a sample of {rows} x {columns} px is too small: 64 px at least")
    ds = Dataset()
    _patient_and_study(ds, seed, size)
    _series_and_equipment(ds, seed)
    _image(ds, _pixels(seed, rows, columns))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def _uid(*parts: object) -> str:
    """A UID under 2.25 that is a function of what it names (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid5(NAMESPACE, '/'.join(map(str, parts))).int}"


def sample_soft(seed: int = 18, size: tuple[int, int] = (2140, 1760)) -> NDArray[np.float32]:
    """The truth beside `sample_dataset`: the same image without bone, (rows, columns) P-values in [0, 1]."""
    return _framed(_pair(seed, size).soft, size)


def _pixels(seed: int, rows: int, columns: int) -> NDArray[np.uint16]:
    """P-values at 12 bits (rows, columns)."""
    fine = _framed(_pair(seed, (rows, columns)).cxr, (rows, columns))
    top = 2**BITS_STORED - 1
    return np.asarray(np.rint(np.clip(fine, 0, 1) * top), dtype=np.uint16)


@lru_cache(maxsize=1)  # both twins are asked for one after the other, and take seconds to form
def _pair(seed: int, size: tuple[int, int]) -> SimulatedPair:
    return simulate_pair(seed, min(GRID, -(-max(size) // 64) * 64))


def _framed(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """The middle of the simulated square, at the size of a detector."""
    rows, columns = size
    grid = image.shape[0]
    trim = int(grid * (1 - min(size) / max(size)) / 2)
    part = image[:, trim : grid - trim] if rows >= columns else image[trim : grid - trim, :]
    zoom = (rows / part.shape[0], columns / part.shape[1])
    return np.asarray(ndimage.zoom(part, zoom, order=1, grid_mode=True, mode="nearest"), dtype=np.float32)


def _patient_and_study(ds: Dataset, seed: int, size: tuple[int, int]) -> None:
    ds.PatientName = "DEMO^PHANTOM"
    ds.PatientID = f"PHANTOM-{seed:04d}"
    ds.PatientBirthDate = ""
    ds.PatientSex = "O"
    ds.StudyInstanceUID = _uid("study", seed, size)
    ds.SeriesInstanceUID = _uid("series", seed, size)
    ds.SOPInstanceUID = _uid("image", seed, size)
    ds.SOPClassUID = ComputedRadiographyImageStorage
    ds.StudyID = f"{seed:04d}"
    ds.StudyDate, ds.StudyTime = "20260101", "120000"
    ds.ReferringPhysicianName = ""
    ds.AccessionNumber = ""
    ds.StudyDescription = "Simulated chest, for research"


def _series_and_equipment(ds: Dataset, seed: int) -> None:
    ds.Modality = "CR"
    ds.SeriesNumber = 1
    ds.SeriesDescription = "Phantom"
    ds.BodyPartExamined = "CHEST"
    ds.ViewPosition = "PA"
    ds.PatientOrientation = ["L", "F"]
    ds.Manufacturer = "Simulation"  # not the name that companions bear: those are refused
    ds.ManufacturerModelName = "Procedural phantom"
    ds.DeviceSerialNumber = f"{seed:04d}"
    ds.SoftwareVersions = "1"


def _image(ds: Dataset, pixels: NDArray[np.uint16]) -> None:
    spacing = f"{FIELD_CM * 10 / max(pixels.shape):.6f}"
    ds.InstanceNumber = 1
    ds.ContentDate, ds.ContentTime = "20260101", "120000"
    ds.AcquisitionDate, ds.AcquisitionTime = "20260101", "120000"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.ImageComments = "Simulated by a procedural phantom: no patient. For research."
    ds.BurnedInAnnotation = "NO"
    ds.ImagerPixelSpacing = [spacing, spacing]
    ds.PixelSpacing = [spacing, spacing]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, BITS_STORED, BITS_STORED - 1
    ds.PixelRepresentation = 0
    ds.WindowCenter, ds.WindowWidth = 2**BITS_STORED // 2, 2**BITS_STORED
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    ds.PixelData = pixels.astype("<u2").tobytes()
