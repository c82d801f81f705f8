"""DICOM radiographs made for a test: every attribute that the reader looks at is open to be set or left out."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from pacs_node.records import Radiograph

__all__ = ["dataset", "lut_item", "radiograph", "ramp", "saved", "scene"]

ROWS, COLUMNS = 300, 260


def ramp(low: int = 0, high: int = 4095, rows: int = ROWS, columns: int = COLUMNS) -> NDArray[np.int64]:
    """Every stored value from low to high at least once (as far as there are pixels), low first."""
    return np.rint(np.linspace(low, high, rows * columns)).astype(np.int64).reshape(rows, columns)


def scene(rows: int, columns: int) -> NDArray[np.float32]:
    """A smooth picture in [0, 1] with two lungs, some ribs and no symmetry."""
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32) / max(rows, columns)
    lungs = np.exp(-(((x - 0.3) / 0.12) ** 2 + ((y - 0.45) / 0.25) ** 2)) + 0.9 * np.exp(
        -(((x - 0.65) / 0.13) ** 2 + ((y - 0.5) / 0.25) ** 2)
    )
    ribs = 0.08 * np.sin(40 * y + 6 * x) * lungs
    picture: NDArray[np.float32] = np.clip(0.85 - 0.6 * lungs + ribs, 0.02, 0.98).astype(np.float32)
    return picture


def dataset(stored: NDArray[np.int64] | NDArray[np.uint16], **attributes: Any) -> Dataset:
    """A DX image of these stored values, 12 bit unsigned MONOCHROME2 unless ``attributes`` say otherwise.

    An attribute of None is left out. Stored values are written as they are, so that bits beyond BitsStored can be set.
    """
    defaults = {
        "SOPClassUID": DigitalXRayImageStorageForPresentation,
        "SOPInstanceUID": generate_uid(entropy_srcs=["instance"]),
        "StudyInstanceUID": generate_uid(entropy_srcs=["study"]),
        "SeriesInstanceUID": generate_uid(entropy_srcs=["series"]),
        "Modality": "DX",
        "PatientID": "SYNTHETIC",
        "PatientName": "Synthetic^Image",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "BitsAllocated": 16,
        "BitsStored": 12,
        "PixelRepresentation": 0,
    }
    values = defaults | attributes
    values.setdefault("HighBit", values["BitsStored"] - 1)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(values.pop("TransferSyntaxUID", ExplicitVRLittleEndian))
    dtype = np.dtype(f"u{values['BitsAllocated'] // 8}")
    words = (stored.astype(np.int64) % 2 ** values["BitsAllocated"]).astype(dtype)
    values.setdefault("PixelData", words.tobytes() + b"\0" * (words.nbytes % 2))
    for keyword, value in values.items():
        if value is not None:
            setattr(ds, keyword, value)
    if "PixelData" in ds:
        ds["PixelData"].VR = "OW" if values["BitsAllocated"] > 8 else "OB"
    return ds


def lut_item(entries: NDArray[np.int64], first: int = 0, bits: int = 12, *, count: int | None = None) -> Dataset:
    """Item of a Modality or VOI LUT Sequence with word entries; ``count`` is what its descriptor states."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [entries.size if count is None else count, first, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return item


def saved(ds: Dataset, path: Path) -> Path:
    ds.save_as(path, enforce_file_format=True)
    return path


def radiograph(pixels: NDArray[np.float32], padding: NDArray[np.bool_] | None = None, bits: int = 12) -> Radiograph:
    return Radiograph(pixels.astype(np.float32), padding, bits, Dataset())
