"""Small synthetic chest radiographs as DICOM, for tests that need a valid object and not a real image."""

from pathlib import Path

import numpy as np
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

COMPUTED_RADIOGRAPHY = UID("1.2.840.10008.5.1.4.1.1.1")
DIGITAL_XRAY_FOR_PRESENTATION = UID("1.2.840.10008.5.1.4.1.1.1.1")

__all__ = ["COMPUTED_RADIOGRAPHY", "DIGITAL_XRAY_FOR_PRESENTATION", "radiograph", "saved"]


def radiograph(seed: int = 0, size: int = 256, sop_class: UID = COMPUTED_RADIOGRAPHY) -> Dataset:
    """A CR data set of ``size`` x ``size`` px, 12 bit MONOCHROME2, two dark lungs on a bright body with noise."""
    rows, columns = np.mgrid[0:size, 0:size] / size
    lungs = sum(np.exp(-((((columns - x) / 0.13) ** 2 + ((rows - 0.5) / 0.28) ** 2) ** 2)) for x in (0.3, 0.7))
    noise = np.random.default_rng(seed).normal(0, 20, (size, size))
    pixels = np.clip(3000 - 2200 * lungs + noise, 0, 4095).astype(np.uint16)
    ds = Dataset()
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = generate_uid(entropy_srcs=["radiograph", str(seed), str(size)])
    ds.StudyInstanceUID = generate_uid(entropy_srcs=["study", str(seed)])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=["series", str(seed)])
    ds.Modality = "CR"
    ds.PatientName = f"Synthetic^Patient{seed}"
    ds.PatientID = f"SYN{seed}"
    ds.PatientBirthDate = ""
    ds.PatientSex = "O"
    ds.StudyDate = ds.ContentDate = "20260101"
    ds.StudyTime = ds.ContentTime = "120000"
    ds.StudyID = "1"
    ds.AccessionNumber = f"A{seed}"
    ds.ReferringPhysicianName = ""
    ds.SeriesNumber = 1
    ds.InstanceNumber = 1
    ds.BodyPartExamined = "CHEST"
    ds.ViewPosition = "PA"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.Manufacturer = "Synthetic"
    ds.PatientOrientation = ["L", "F"]
    ds.PixelSpacing = [0.8, 0.8]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = size, size
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth = 2048, 4096
    ds.PixelData = pixels.tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def saved(ds: Dataset, path: Path) -> Path:
    """Write a data set as a DICOM file."""
    ds.save_as(path, enforce_file_format=True)
    return path
